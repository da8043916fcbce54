"""Journals: finished pieces of a step's work, one JSON object a line, so that a killed step goes on where it was.

Each line begins with the CRC-32 of its object, in eight hexadecimal digits; a line that is damaged does not count.
"""

import json
import re
import zlib
from pathlib import Path
from typing import Any, TypeVar

from geoembed.errors import StaleError
from geoembed.outputs import atomic, documents
from geoembed.outputs.records import Record

T = TypeVar("T")

_LINE = re.compile(rb"[0-9a-f]{8} \{")
_CUT = re.compile(rb"[0-9a-f]{1,8} ?")
"""A first line of which a fault of the disk has left no more than its checksum."""


class Journal:
    """An open journal. Its first line is the record of what the work was made from.

    The caller holds the lock of the output (`locks.hold`). A line that names files is written once they are synced.

    lines: the pieces that an earlier run of the same record finished; a line half written does not count.
    """

    def __init__(self, path: Path, record: Record) -> None:
        """Go on with the journal of this record, or begin one in place of another record's."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        earlier, self.lines = read(path)
        if earlier is None or earlier.digest != record.digest:
            atomic.write_bytes(path, _line(record.to_json()))  # whole, as what begins otherwise is a stranger's
            self.lines = []
        self._file = path.open("ab")
        self._file.write(b"\n")  # ends a line that was half written
        self._holds_work = bool(self.lines)

    def write(self, line: dict[str, Any]) -> None:
        """Add a finished piece of work."""
        self._file.write(_line(line))
        self._file.flush()
        self._holds_work = True

    def of(self, form: type[T]) -> list[T]:
        """Return the finished pieces as objects of a form, without those that it does not fit."""
        return fitting(self.lines, form)

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

    There is neither where the file is missing, empty, or damaged in its first line.
    """
    if not path.exists():
        return None, []
    data = path.read_bytes()
    texts = [line for line in data.split(b"\n") if line.strip(b"\0 \r\t")]
    if texts and not any(map(_LINE.match, texts)) and not _CUT.fullmatch(data):
        raise StaleError(f"{path}: was not made by geoembed; move it away")
    lines = list(map(_parsed, texts))
    record = Record.from_json(lines[0]) if lines else None
    return record, [line for line in lines[1:] if line is not None] if record else []


def fitting(lines: list[dict[str, Any]], form: type[T]) -> list[T]:
    """Return lines as objects of a form, without those that it does not fit."""
    found = []
    for line in lines:
        try:
            found.append(documents.parsed(line, form))
        except ValueError:
            continue
    return found


def _line(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, separators=(",", ":")).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _parsed(text: bytes) -> dict[str, Any] | None:
    """Return the object of a line, None where the line is damaged."""
    if not _LINE.match(text) or int(text[:8], 16) != zlib.crc32(text[9:]):
        return None
    try:
        value = json.loads(text[9:])
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
