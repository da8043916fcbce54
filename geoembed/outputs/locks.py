"""Locks: only one process at a time writes an output."""

import errno
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from geoembed.errors import StaleError
from geoembed.outputs import atomic

NAME = ".lock"
"""Name of a folder's lock file; a file's lock is called after the file."""


TRIES, WAIT = 20, 0.05
"""How often, and for how many seconds, a lock is tried for while another run takes away its file and folders."""


@contextmanager
def hold(output: Path, *, folder: bool) -> Iterator[None]:
    """Hold the lock of an output, a file or a `folder`; folders that do not exist are made.

    Raises StaleError where another process holds the lock, a file stands where a folder has to be, a link leads
    nowhere, or the user may not write.
    """
    inside = output if folder else output.parent
    path = inside / (NAME if folder else f".{output.name}{NAME}")
    lock = filelock.FileLock(path)
    new_folders = _acquire(output, inside, lock)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows does not delete an open file; the next run locks the one that stays
            path.unlink()
        lock.release()
        for new_folder in new_folders:
            with suppress(OSError):  # a folder that holds something stays
                new_folder.rmdir()


def _acquire(output: Path, inside: Path, lock: filelock.FileLock) -> list[Path]:
    """Take the lock of an output, and return the folders that were made for it, the innermost first."""
    new_folders: list[Path] = []
    for _ in range(TRIES):
        require_folder(inside)
        _require_target(output)
        there = atomic.target(inside)
        new_folders += [path for path in (there, *there.parents) if not path.exists() and path not in new_folders]
        try:
            there.mkdir(parents=True, exist_ok=True)
        except (FileNotFoundError, FileExistsError):  # another run ends, and takes its folders away
            continue
        except PermissionError:
            above = next(path for path in there.parents if path.exists())
            raise StaleError(f"{output}: {_whose(above)}; choose another -o, or ask for the right to write") from None
        try:
            # A run that ends unlinks the file that it locked, and a file without a name is no lock: so wait a little.
            lock.acquire(timeout=WAIT, poll_interval=WAIT / 5)
        except FileNotFoundError:
            continue
        except filelock.Timeout:
            break
        except PermissionError:
            raise StaleError(f"{output}: {_whose(inside)}; choose another -o, or ask for the right to write") from None
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EISDIR):
                raise
            raise StaleError(f"{lock.lock_file}: is no lock that geoembed made; remove it") from None
        return new_folders
    raise StaleError(f"{output}: another run writes there; wait for it, or write elsewhere")


def _whose(folder: Path) -> str:
    """Say that a folder cannot be written, and whose it is."""
    try:
        owner = f", which belongs to {folder.owner()}"
    except (KeyError, NotImplementedError):  # a user whose name this machine does not know, or a system without owners
        owner = ""
    return f"the folder {folder}{owner} cannot be written"


def require_folder(output: Path) -> None:
    """Raise StaleError where `output` cannot be a folder, as it or a folder above it is a file."""
    for path in (output, *output.parents):
        if _is_file(path):
            raise StaleError(f"{path}: is a file, and {output} has to be a folder; choose another -o")


def _is_file(path: Path) -> bool:
    """Tell whether something that is no folder is there; one look, as another run may take it away between two."""
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _require_target(output: Path) -> None:
    """Raise StaleError where `output` is a pipe or a device, or a link into a folder that is not there.

    Such a folder may be on a disk that is not mounted; a pipe would be read for ever.
    """
    there = atomic.target(output)
    if there != output and not there.parent.is_dir():
        raise StaleError(f"{output}: is a link to {there}, whose folder is not there; make it, or choose another -o")
    if there.exists() and not (there.is_file() or there.is_dir()):
        raise StaleError(f"{output}: is a pipe or a device; choose another -o")
