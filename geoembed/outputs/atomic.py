"""Writing files whole: under another name first, renamed when they are complete and on the disk."""

import glob
import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geoembed.outputs import disk

log = logging.getLogger(__name__)

_PART = ".part-"

BLANK = b"\0 \r\n\t"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to, in a new private folder beside `path`; it becomes `path` where no error is raised.

    Nobody else can plant a file or a link there, and what libraries write beside a file goes with the folder. The
    file's mode is that of the user's umask, as SQLite makes files that a group cannot write, and safetensors files that
    it cannot read. A link stays, and its target is replaced. A process killed before the end leaves `path` as it was,
    and a part that `sweep` removes.
    """
    path = target(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with private(path) as part:
        with disk.create(part.parent / "mode") as file:
            mode = os.fstat(file.fileno()).st_mode
        yield part
        if part.stat().st_mode != mode:
            part.chmod(mode)
        disk.sync(part)
        disk.rename(part, path)
    disk.sync_folder(path.parent)


@contextmanager
def private(path: Path) -> Iterator[Path]:
    """Yield a path to write to, in a new private folder beside `path`, which goes in the end with what is in it."""
    folder = _part(path)
    folder.mkdir(mode=0o700)
    try:
        yield folder / path.name
    finally:
        _discard(folder, path.name)


def _discard(folder: Path, name: str) -> None:
    """Delete a private folder: known names first, as no folder can be listed once too many files are open."""
    for known in ("mode", name, *(f"{name}-{ending}" for ending in ("journal", "wal", "shm"))):
        with suppress(OSError):
            (folder / known).unlink()
    try:
        folder.rmdir()
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)


def write_bytes(path: Path, data: bytes | memoryview, *, synced: bool = True) -> None:
    """Write a file whole. One that is not `synced` may be named by nothing before `disk.sync_all` was called."""
    path = target(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    try:
        with disk.create(part) as file:
            file.write(data)
        if synced:
            disk.sync(part)
        disk.rename(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if synced:
        disk.sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole."""
    write_bytes(path, text.encode("utf-8"))


def _part(path: Path) -> Path:
    """Return a path beside another that nobody can guess."""
    return path.with_name(f"{_PART}{secrets.token_hex(8)}-{path.name}")


def target(path: Path) -> Path:
    """Return the path that a link leads to, whether anything is there or not; other paths as they are."""
    return path.resolve() if path.is_symlink() else path


def remove(path: Path) -> None:
    """Delete a file if it is there; a link stays, and its target is deleted."""
    target(path).unlink(missing_ok=True)


def is_blank(path: Path) -> bool:
    """Tell whether a file holds nothing but zeros and blanks, as one whose writing a power cut ended."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return not any(block.strip(BLANK) for block in iter(lambda: file.read(2**20), b""))


def touch(*paths: Path) -> None:
    """Set the modification time of kept files to now, so that Make takes them for newer than their inputs.

    Files of another user keep theirs, aloud.
    """
    for path in paths:
        try:
            os.utime(path)
        except PermissionError:
            log.warning("%s: belongs to another user, so its time stamp stays; make may run this step again", path)


def sweep(folder: Path, name: str = "*", *, deep: bool = False, older: float = 0.0) -> None:
    """Remove the parts that killed processes left of files called `name` in a folder, with `deep` also further below.

    The caller holds the lock of the output (`locks.hold`), so that no live process is writing there. Where several may
    write at once, as in a cache, only parts that did not change for `older` seconds are removed.
    """
    if (folder / name).is_symlink():
        there = target(folder / name)
        folder, name = there.parent, there.name
    pattern = f"{_PART}{'[0-9a-f]' * 16}-{name if name == '*' else glob.escape(name)}"
    for part in list(folder.rglob(pattern) if deep else folder.glob(pattern)):
        with suppress(OSError):
            if older and time.time() - part.stat().st_mtime < older:
                continue
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part, ignore_errors=True)
        else:
            with suppress(FileNotFoundError):
                part.unlink()
