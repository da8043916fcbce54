"""One process at a time writes an output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from geoembed.errors import StaleError

NAME = ".lock"
"""A folder's lock file; a file's is called after it."""


@contextmanager
def hold(output: Path, *, folder: bool) -> Iterator[None]:
    """Hold the lock of an output, a file or a `folder`, which is made where it is not there yet.

    Raises StaleError where another process holds it, or where something stands in the folder's place.
    """
    inside = output if folder else output.parent
    require_folder(inside)
    made = [path for path in (inside, *inside.parents) if not path.exists()]
    inside.mkdir(parents=True, exist_ok=True)
    path = inside / (NAME if folder else f".{output.name}{NAME}")
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise StaleError(f"{output}: another run writes there; wait for it, or choose another -o") from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows does not delete an open file; the next run then finds it and locks it
            path.unlink()
        lock.release()
        for empty in made:
            with suppress(OSError):  # a folder that holds something stays
                empty.rmdir()


def require_folder(output: Path) -> None:
    """Raise StaleError where `output` cannot be a folder, as it or a folder above it is a file."""
    for path in (output, *output.parents):
        if path.exists() and not path.is_dir():
            raise StaleError(f"{path}: is a file, and {output} has to be a folder; choose another -o")
