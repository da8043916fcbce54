"""Records of what outputs were made from, and the one rule of all steps for an output that is already there.

An output of the same inputs and options is kept; an unfinished one is finished. An output of older versions of the
inputs is refused, or made again with `update`. An output of other options is refused, or made again with `overwrite`.
What geoembed did not make is never replaced.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Self

import pydantic

from geoembed.errors import StaleError
from geoembed.outputs import atomic, digests, documents


@dataclass(frozen=True)
class Record:
    """What an output was made from; the output holds it, as JSON.

    step: the command that made it.
    inputs: digests of the content of its inputs, by their role, JSON-ready.
    options: the other settings that its content depends on, among them the input files' names, JSON-ready.
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
    def from_json(cls, value: Any) -> Self | None:
        """Return the record that `to_json` made this value of, None where the value is no record."""
        try:
            return pydantic.TypeAdapter(cls).validate_python(value)
        except pydantic.ValidationError:
            return None


class Standing(Enum):
    """What `settle` leaves in an output's place.

    ABSENT: nothing; all work is to be done.
    BEGUN: an unfinished output of the same record, to go on with.
    KEPT: the finished output of the same record.
    """

    ABSENT = "absent"
    BEGUN = "begun"
    KEPT = "kept"


def settle(
    output: Path,
    wanted: Record,
    existing: Record | None,
    *,
    finished: bool,
    remove: Callable[[], object] = lambda: None,
    update: bool = False,
    overwrite: bool = False,
) -> Standing:
    """Decide whether an output is kept, made again or refused.

    wanted: the record of the output to make.
    existing: the record of the output that is there, finished or not; None where geoembed made none there.
    remove: deletes the existing output where it is made again; not needed where the new one replaces its files.

    Raises StaleError where the existing output is refused.
    """
    if existing is None:
        return Standing.ABSENT
    if existing.step != wanted.step:
        raise StaleError(f"{output}: was made by geoembed {existing.step}; choose another -o")
    options = _differences(existing.options, wanted.options)
    inputs = _differences(existing.inputs, wanted.inputs)
    if overwrite or (update and inputs and not options):
        remove()
        return Standing.ABSENT
    changes = ", ".join(options + inputs)
    if options:
        raise StaleError(f"{output}: made with other options ({changes}); choose another -o or pass --overwrite")
    if inputs:
        remedy = "pass --update to make it again, or choose another -o"
        raise StaleError(f"{output}: made from other inputs ({changes}); {remedy}")
    return Standing.KEPT if finished else Standing.BEGUN


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words what differs between two JSON-ready mappings."""
    before, now = json.loads(json.dumps(before)), json.loads(json.dumps(now))  # JSON has lists for tuples
    keys = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    return [_difference(key, before.get(key), now.get(key)) for key in keys]


def _difference(key: str, before: Any, now: Any) -> str:
    texts = json.dumps(before), json.dumps(now)
    if max(map(len, texts)) > 40 or isinstance(before, dict | list):
        return f"{key} differs"
    return f"{key} was {texts[0]}, now {texts[1]}"


def read_json(path: Path) -> Record | None:
    """Return the record that a document holds under `made_from`; None where it is missing, damaged, or holds none."""
    try:
        return Record.from_json(documents.load(path).get("made_from"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def require_free(output: Path, names: Iterable[str]) -> None:
    """Raise StaleError where a folder that geoembed did not make holds a file of one of these names."""
    for name in names:
        require_ours(output / name, lambda _: False)


def require_ours(path: Path, is_ours: Callable[[Path], bool], *, overwrite: bool = False) -> None:
    """Raise StaleError where a file whose record cannot be read may not be replaced.

    What geoembed made may, with `overwrite`; an empty file may always, as a run that ended too early left it.
    """
    if not path.exists() or atomic.is_blank(path):
        return
    if not is_ours(path):
        raise StaleError(f"{path}: exists and was not made by geoembed; choose another -o, or move it away")
    if not overwrite:
        raise StaleError(f"{path}: is damaged, or what belongs to it is; pass --overwrite to make it again")
