"""A journal of finished pieces of work, so that a killed step goes on where it was: one JSON object a line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from geoembed import record
from geoembed.errors import StaleError

if TYPE_CHECKING:
    from pathlib import Path


class Journal:
    """Lines of JSON, of which the first tells what they were made from."""

    def __init__(self, path: Path, made_from: dict[str, Any], *, overwrite: bool = False) -> None:
        """Take up a journal, or begin one.

        `lines` are those that an earlier run finished; one half written does not count. Raises StaleError where they
        were made from something else, unless they may be overwritten.
        """
        self.path = path
        found = self._read() if path.exists() and not overwrite else []
        if found:
            record.require_same(path.parent, found[0], made_from)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(made_from) + "\n", encoding="utf-8")
        self.lines = found[1:]
        self._file = path.open("a", encoding="utf-8")
        self._file.write("\n")  # ends a line that was half written

    def _read(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if not isinstance(value, dict):
                raise StaleError(f"{self.path}: was not made by geoembed; move it away")
            found.append(value)
        return found

    def write(self, line: dict[str, Any]) -> None:
        """Add a finished piece of work."""
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file; it stays for a run that goes on."""
        self._file.close()

    def remove(self) -> None:
        """Delete it, as all work is done."""
        self.close()
        self.path.unlink()
