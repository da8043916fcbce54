"""Writing files whole: under another name first, renamed when they are complete."""

import json
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

_PART = ".part-"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to, beside `path` and with its suffix; rename it to `path` where no error is raised.

    The file's mode is that of the user's umask, as SQLite makes files that a group cannot write, and safetensors files
    that it cannot read. A link stays, and its target is replaced. A process killed before the end leaves `path` as it
    was, and a part that `sweep` removes.
    """
    path = target(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{_PART}{secrets.token_hex(4)}-{path.name}")
    part.touch()
    mode = part.stat().st_mode
    part.unlink()
    try:
        yield part
        if part.stat().st_mode != mode:
            part.chmod(mode)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def target(path: Path) -> Path:
    """Return the path that a link leads to, whether anything is there or not; other paths as they are."""
    return path.resolve() if path.is_symlink() else path


def remove(path: Path) -> None:
    """Delete a file if it is there; a link stays, and its target is deleted."""
    target(path).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole; raises ValueError for NaN, which JSON does not have."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def touch(*paths: Path) -> None:
    """Set the modification time of kept files to now, so that Make takes them for newer than their inputs.

    Files of another user keep theirs, aloud.
    """
    for path in paths:
        try:
            os.utime(path)
        except PermissionError:
            log.warning("%s: belongs to another user, so its time stamp stays; make may run this step again", path)


def sweep(folder: Path, name: str = "*", *, deep: bool = False) -> None:
    """Remove the parts that killed processes left of files called `name` in a folder, with `deep` also further below.

    The caller holds the lock of the output (`locks.hold`), so that no live process is writing there.
    """
    if (folder / name).is_symlink():
        there = target(folder / name)
        folder, name = there.parent, there.name
    pattern = f"{_PART}{'[0-9a-f]' * 8}-{name}"
    for part in folder.rglob(pattern) if deep else folder.glob(pattern):
        part.unlink(missing_ok=True)
