"""Journals: finished pieces of a step's work, one JSON object a line, so that a killed step goes on where it was."""

import json
from pathlib import Path
from typing import Any

from geoembed.errors import StaleError
from geoembed.outputs.records import Record

_BEGINNING = b'{"step":'
"""The first bytes of every journal."""


class Journal:
    """An open journal. Its first line is the record of what the work was made from.

    The caller holds the lock of the output (`locks.hold`).

    lines: the pieces that an earlier run of the same record finished; a line half written does not count.
    """

    def __init__(self, path: Path, record: Record) -> None:
        """Go on with the journal of this record, or begin one in place of another record's."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        earlier, self.lines = read(path)
        self._file = path.open("ab")
        if earlier is None or earlier.digest != record.digest:
            self._file.truncate(0)
            self.lines = []
            self.write(record.to_json())
        else:
            self._file.write(b"\n")  # ends a line that was half written
        self._holds_work = bool(self.lines)

    def write(self, line: dict[str, Any]) -> None:
        """Add a finished piece of work."""
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        self._holds_work = True

    def close(self) -> None:
        """Close the file, which stays for a run that goes on; delete it where it holds no work."""
        if not self._file.closed:
            self._file.close()
            if not self._holds_work:
                self.path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Close and delete the file, as all work is done."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def read(path: Path) -> tuple[Record | None, list[dict[str, Any]]]:
    """Return the record and the finished pieces of a journal; raises StaleError for a file that is none.

    There is neither where the file is missing, empty or ends in its first line.
    """
    if not path.exists():
        return None, []
    lines: list[Any] = []
    stranger = StaleError(f"{path}: was not made by geoembed; move it away")
    for line in filter(bytes.strip, path.read_bytes().split(b"\n")):
        try:
            lines.append(json.loads(line))
        except ValueError:
            if not lines and not line.startswith(_BEGINNING):
                raise stranger from None
    record = Record.from_json(lines[0]) if lines else None
    if lines and record is None:
        raise stranger
    return record, lines[1:]
