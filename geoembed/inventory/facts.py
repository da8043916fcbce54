"""Facts of a file or folder, JSON-ready, and how they become tables for people."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from geoembed.outputs.records import Record
from geoembed.progress import Table

Rows: TypeAlias = list[dict[str, Any]]


@dataclass(frozen=True)
class Facts:
    """What is told of a file or folder.

    kind: what it is.
    checked: what was read to find whether it is intact.
    facts: by name with underscores, JSON-ready.
    tables: by title, rows of the same keys.
    faults: what is damaged, a line each, with its remedy.
    """

    kind: str
    checked: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, Rows] = field(default_factory=dict)
    faults: tuple[str, ...] = ()

    def to_json(self, path: str) -> dict[str, Any]:
        """Return all but the faults; tables stand under their titles with underscores."""
        tables = {title.replace(" ", "_"): rows for title, rows in self.tables.items()}
        return {"path": path, "kind": self.kind, "intact": not self.faults, "checked": self.checked,
                **self.facts, **tables}  # fmt: skip

    def shown(self, path: str) -> Iterator[Table]:
        """Yield a table of the single facts, and the tables."""
        lines = [("intact", "yes")]  # faults are raised, not shown
        for name, value in self.facts.items():
            words = name.replace("_", " ")
            if isinstance(value, list) and any(" " in str(part) for part in value):  # sentences
                lines += [(words if part is value[0] else "", str(part)) for part in value]
            elif value not in (None, [], {}):
                lines.append((words, text(value)))
        yield Table(f"{path}: {self.kind}", [*lines, ("checked", self.checked)])
        for title, rows in self.tables.items():
            if rows:
                head = [name.replace("_", " ") for name in rows[0]]
                yield Table(title, [head, *([text(value, digits=4) for value in row.values()] for row in rows)])


def text(value: Any, digits: int = 6) -> str:
    """Return a JSON-ready value as people read it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text(part, digits)}" for name, part in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(text(part, digits) for part in value)
    return str(value)


def of_record(record: Record | None, version: str | None = None) -> dict[str, Any]:
    """Return what an output was made from: the step, its version, digests of inputs (their beginnings), and options."""
    if record is None:
        return {"made_by": None}
    options = {name: value for name, value in record.options.items() if _is_plain(value)}
    inputs = {name: _beginning(value) for name, value in record.inputs.items() if value}
    return {
        "made_by": f"geoembed {record.step}" + (f", version {version}" if version else ""),
        "options": options,
        "inputs": inputs,
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(part, str | int | float) for part in value)
    return value is not None and value is not False and not isinstance(value, dict)


def _beginning(value: Any) -> Any:
    """Return digests short: the first eight digits, and of many inputs of one kind their number."""
    if isinstance(value, str):
        return value[:8]
    if isinstance(value, Mapping):
        return {name: _beginning(part) for name, part in value.items()}
    if not isinstance(value, list):
        return str(value)[:8]
    if len(value) != 1:
        return f"{len(value)} files"
    (single,) = value
    return _beginning(single[-1] if isinstance(single, list) and single else single)  # a name and a digest
