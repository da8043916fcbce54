"""The calls that change a disk, and that make changes last. Everything that geoembed writes passes here.

A file's content lasts through a power cut once it is synced, and its name once the folder is. So a file is written,
synced and renamed, and its folder synced, before anything names it.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO


def create(path: Path) -> BinaryIO:
    """Open a new file for writing; raises FileExistsError where anything is there, a link included.

    Its mode is that of the user's umask.
    """
    return path.open("xb")


def reserve(file: BinaryIO, size: int) -> None:
    """Take room on the disk for a new file, where the system can; raises OSError where there is less.

    The file is as long as that until it is truncated.
    """
    with suppress(AttributeError):  # systems without the call, as macOS and Windows
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):  # disks that cannot
                raise


def sync(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    _sync(path, os.O_RDWR)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; does nothing where folders cannot be synced, as on Windows."""
    if sys.platform != "win32":
        _sync(folder, os.O_RDONLY)


def sync_all(folder: Path, files: Collection[Path]) -> None:
    """Wait until files in a folder and their names are on the disk.

    Linux does that for a whole file system in one call, which costs about as much as syncing one file.
    """
    call = _syncfs()
    if call is None:
        for path in files:
            sync(path)
        for parent in {parent for path in files for parent in path.parents if parent.is_relative_to(folder)}:
            sync_folder(parent)
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        if call(number) != 0:
            fault = ctypes.get_errno()
            raise OSError(fault, os.strerror(fault), str(folder))
    finally:
        os.close(number)


def rename(path: Path, to: Path) -> None:
    """Give a file another name on the same file system, in place of what bears it."""
    path.replace(to)


def _sync(path: Path, flags: int) -> None:
    number = os.open(path, flags)
    try:
        os.fsync(number)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(number)


@cache
def _syncfs() -> Callable[[int], int] | None:
    """Return the system's call `syncfs` (Linux, since 2.6.39), None where it has none."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
