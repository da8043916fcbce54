"""What an output was made from, and what follows: it is kept, gone on with, made again, or refused.

One rule for all steps. An output of the same inputs and options is kept, and what is missing of it is made. One of
older versions of the inputs is refused, and made again with `update`. One of other options is refused; `overwrite`
makes it again. What geoembed did not make is never replaced.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from geoembed.errors import StaleError
from geoembed.outputs import digests


@dataclass(frozen=True)
class Record:
    """What an output was made from; it travels inside the output, as JSON.

    step: the command that made it.
    inputs: digests of the content of its inputs, by their role, JSON-ready.
    options: what decides about its content besides, file names on the command line among it, JSON-ready.
    stamps: digests of input files by name, size and modification time; see `digests.Files`.
    """

    step: str
    inputs: dict[str, Any]
    options: dict[str, Any]
    stamps: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def digest(self) -> str:
        """Return the SHA-256, in hexadecimal, of all but the stamps."""
        return digests.of_value([self.step, self.inputs, self.options])

    def to_json(self) -> dict[str, Any]:
        """Return the record as a JSON-ready dict."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Record | None:
        """Return the record that `to_json` told, None where the value is none."""
        if not (isinstance(value, dict) and {"step", "inputs", "options"} <= set(value)):
            return None
        stamps = value.get("stamps", {})
        parts = (value["inputs"], value["options"], stamps)
        if not (isinstance(value["step"], str) and all(isinstance(part, dict) for part in parts)):
            return None
        return cls(value["step"], *parts)


class Standing(Enum):
    """What stands in an output's place once `settle` has looked: nothing, an unfinished output, or the finished one."""

    ABSENT = "absent"
    BEGUN = "begun"
    KEPT = "kept"


def settle(
    output: Path,
    wanted: Record,
    found: Record | None,
    *,
    finished: bool,
    remove: Callable[[], object] = lambda: None,
    update: bool = False,
    overwrite: bool = False,
) -> Standing:
    """Decide about an output that may be there.

    found: the record of what is there, finished or not; None where nothing of ours is.
    remove: deletes what has to go before work on a new one begins; what the new one replaces can stay until then.
    Raises StaleError where what is there must stay.
    """
    if found is None:
        return Standing.ABSENT
    if found.step != wanted.step:
        raise StaleError(f"{output}: was made by geoembed {found.step}; choose another -o")
    options = differences(found.options, wanted.options)
    inputs = differences(found.inputs, wanted.inputs)
    if overwrite or (update and inputs and not options):
        remove()
        return Standing.ABSENT
    if options:
        told = ", ".join(options + inputs)
        raise StaleError(f"{output}: made with other options ({told}); choose another -o or pass --overwrite")
    if inputs:
        told = ", ".join(inputs)
        raise StaleError(
            f"{output}: made from other inputs ({told}); pass --update to make it again, or choose another -o"
        )
    return Standing.KEPT if finished else Standing.BEGUN


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return in words what differs between two JSON-ready mappings."""
    found, wanted = json.loads(json.dumps(found)), json.loads(json.dumps(wanted))
    keys = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    return [_difference(key, found.get(key), wanted.get(key)) for key in keys]


def _difference(key: str, found: Any, wanted: Any) -> str:
    short = all(len(json.dumps(value)) <= 40 for value in (found, wanted))
    if short and not isinstance(found, dict | list):
        return f"{key} was {json.dumps(found)}, now {json.dumps(wanted)}"
    return f"{key} differs"


def read_json(path: Path, *, key: str = "made_from") -> Record | None:
    """Return the record that a JSON file of ours holds under a key, None where the file is missing or holds none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return Record.from_json(value.get(key)) if isinstance(value, dict) else None


def require_free(output: Path, names: Iterable[str]) -> None:
    """Raise StaleError where a folder without our record holds a file that would be replaced."""
    for name in names:
        if (output / name).exists():
            raise StaleError(f"{output / name}: exists and was not made by geoembed; choose another -o")
