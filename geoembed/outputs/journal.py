"""A journal of finished pieces of work, so that a killed step goes on where it was: one JSON object a line."""

from __future__ import annotations

import fcntl
import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from geoembed.errors import StaleError
from geoembed.outputs import record

if TYPE_CHECKING:
    from pathlib import Path


_BEGINS = b'{"step":'
"""How every journal begins, a half written one as well."""


class Journal:
    """Lines of JSON, of which the first tells what they were made from. One process at a time writes to it."""

    def __init__(self, path: Path, made_from: dict[str, Any], *, overwrite: bool = False) -> None:
        """Take up a journal, or begin one.

        `lines` are those that an earlier run from the same finished, a killed one that overwrote among them; one half
        written does not count. Raises StaleError where they were made from something else, unless those may be
        overwritten, where another process is at work, or where the file is none of ours.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as refused:
            self._file = refused.enter_context(path.open("a+b"))
            self._lock()
            head, self.lines = self._read()
            if head is not None and not overwrite:
                record.require_same(path.parent, head, made_from)
            if head is None or json.loads(json.dumps(made_from)) != head:
                self._file.truncate(0)
                self.lines = []
                self.write(made_from)
            else:
                self._file.write(b"\n")  # ends a line that was half written
            self._holds_work = bool(self.lines)
            refused.pop_all()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StaleError(
                f"{self.path.parent}: another run writes there; wait for it, or choose another -o"
            ) from None

    def _read(self) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """Return what was made from what, and the finished lines; nothing where the file is new."""
        self._file.seek(0)
        found: list[dict[str, Any]] = []
        for line in self._file.read().split(b"\n"):
            try:
                found += [json.loads(line)] if line.strip() else []
            except ValueError:
                if not found and not line.startswith(_BEGINS):
                    raise StaleError(f"{self.path}: was not made by geoembed; move it away") from None
        if found and not (isinstance(found[0], dict) and "step" in found[0]):
            raise StaleError(f"{self.path}: was not made by geoembed; move it away")
        return (found[0], found[1:]) if found else (None, [])

    def write(self, line: dict[str, Any]) -> None:
        """Add a finished piece of work."""
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        self._holds_work = True

    def close(self) -> None:
        """Close the file, which stays for a run that goes on; one that holds no work goes."""
        if not self._file.closed:
            if not self._holds_work:
                self.path.unlink(missing_ok=True)
            self._file.close()

    def remove(self) -> None:
        """Delete it, as all work is done."""
        self.path.unlink(missing_ok=True)
        self._file.close()
