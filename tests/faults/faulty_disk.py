"""A disk that fails at the n-th call, or whose power goes out there.

It stands in for the calls of `geoembed.outputs.disk`, for lines of journals, and for libraries that write files.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import pyogrio
import pytest
import rasterio

from geoembed.outputs import disk
from geoembed.outputs.journal import Journal

Hook = Callable[[int, str, tuple[Path, ...]], None]
"""Is told the number of a call, its name, and its paths, of which the last is what it makes."""


def nothing(number: int, name: str, paths: tuple[Path, ...]) -> None:
    """Let a call be."""


class Calls:
    """The calls that change the disk, numbered from 1; `before` and `after` are called around each."""

    def __init__(self, before: Hook = nothing, after: Hook = nothing) -> None:
        self.names: list[str] = []
        self._before, self._after, self._lock = before, after, threading.RLock()

    def around(self, name: str, call: Callable[[], Any], *paths: Path) -> Any:
        """Do a call; its number is that of the order in which calls come."""
        with self._lock:
            self.names.append(f"{name} {paths[-1].name}")
            number = len(self.names)
            self._before(number, name, paths)
            done = call()
            self._after(number, name, paths)
            return done


class Written:
    """A new file whose writing is a call of its own, of which only the first half is done where it fails."""

    def __init__(self, calls: Calls, path: Path, file: Any) -> None:
        self._calls, self._path, self._file = calls, path, file

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        half = len(data) // 2
        self._file.write(data[:half])
        return half + int(self._calls.around("write", lambda: self._file.write(data[half:]), self._path))


@contextmanager
def installed(calls: Calls) -> Iterator[Calls]:
    """Put a disk in place of the real one, for as long as the context lasts."""
    with pytest.MonkeyPatch.context() as patch:
        real = {name: getattr(disk, name) for name in ("create", "sync", "sync_folder", "sync_all", "rename")}

        def create(path: Path) -> Any:
            return Written(calls, path, calls.around("create", lambda: real["create"](path), path))

        patch.setattr(disk, "create", create)
        for name in ("sync", "sync_folder", "sync_all"):
            patch.setattr(disk, name, _one_path(calls, name, real[name]))
        patch.setattr(
            disk, "rename", lambda path, to: calls.around("rename", lambda: real["rename"](path, to), path, to)
        )
        patch.setattr(Journal, "write", _journal_line(calls, Journal.write))
        vectors = pyogrio.write_dataframe
        patch.setattr(
            pyogrio,
            "write_dataframe",
            lambda table, path, **options: calls.around("vectors", lambda: vectors(table, path, **options), Path(path)),
        )
        opened = rasterio.open

        def open_raster(path: Any, mode: str = "r", **options: Any) -> Any:
            if mode != "w":
                return opened(path, mode, **options)
            return calls.around("raster", lambda: opened(path, mode, **options), Path(path))

        patch.setattr(rasterio, "open", open_raster)
        patch.setattr(h5py, "File", _hdf5(calls))
        yield calls


def _one_path(calls: Calls, name: str, real: Callable[..., None]) -> Callable[..., None]:
    return lambda path, *others: calls.around(name, lambda: real(path, *others), path)


def _journal_line(calls: Calls, real: Callable[[Journal, Any], None]) -> Callable[[Journal, Any], None]:
    def write(self: Journal, line: Any) -> None:
        calls.around("line", lambda: real(self, line), self.path)

    return write


def _hdf5(calls: Calls) -> type[Any]:
    class File(h5py.File):  # type: ignore[misc]  # h5py has no types
        """An HDF5 file whose making is a call."""

        def __init__(self, name: Any, mode: str = "r", **options: Any) -> None:
            if mode == "r" or not isinstance(name, str | os.PathLike):
                super().__init__(name, mode, **options)
            else:
                calls.around("hdf5", lambda: super(File, self).__init__(name, mode, **options), Path(name))

    return File


def full(path: Path) -> OSError:
    """Return the error of a full disk."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def broken(path: Path) -> OSError:
    """Return the error of a disk that breaks."""
    return OSError(errno.EIO, os.strerror(errno.EIO), str(path))


def interrupt(path: Path) -> KeyboardInterrupt:
    """Return what Ctrl-C raises."""
    return KeyboardInterrupt()


def failing(at: int, fault: Callable[[Path], BaseException]) -> Calls:
    """Return a disk whose n-th call raises a fault; a full or broken disk stays so for three calls more."""
    lasts = 0 if fault is interrupt else 3

    def before(number: int, name: str, paths: tuple[Path, ...]) -> None:
        if at <= number <= at + lasts:
            raise fault(paths[-1])

    return Calls(before)


@dataclass
class Shadow:
    """What is surely on the disk of a folder, kept while a program writes there.

    root: the folder.
    contents: what was synced, by the file's number on the file system.
    renames: names that may be lost: the new path, the former content there (None: nothing), and the old path.
    """

    root: Path
    contents: dict[int, bytes] = field(default_factory=dict)
    renames: list[tuple[Path, bytes | None, Path]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """What is there before the program begins is on the disk."""
        self._sync_all()

    def _sync_all(self) -> None:
        for path in self.root.rglob("*"):
            if path.is_file():
                self._sync(path)
        self.renames.clear()

    def _sync(self, path: Path) -> None:
        self.contents[path.stat().st_ino] = path.read_bytes()

    def before(self, number: int, name: str, paths: tuple[Path, ...]) -> None:
        """Note a rename that is about to be done."""
        if name == "rename":
            path, to = paths
            self.renames.append((to, to.read_bytes() if to.exists() else None, path))

    def after(self, number: int, name: str, paths: tuple[Path, ...]) -> None:
        """Note what a call made sure of."""
        (path,) = paths[-1:]
        if name == "sync":
            self._sync(path)
        elif name == "sync_all":
            self._sync_all()
        elif name == "sync_folder":
            self.renames = [entry for entry in self.renames if entry[0].parent != path]
        elif name == "create":  # maybe under the number of a file that is gone
            self.contents.pop(path.stat().st_ino, None)

    def without_contents(self, copy: Path) -> None:
        """Copy the folder as a power cut leaves it at worst that keeps all names: what was not synced is empty."""
        shutil.copytree(self.root, copy, symlinks=True)
        for path in self.root.rglob("*"):
            if path.is_file():
                sure, now = self.contents.get(path.stat().st_ino, b""), path.read_bytes()
                if sure != now:
                    (copy / path.relative_to(self.root)).write_bytes(sure if now.startswith(sure) else b"")

    def without_names(self, copy: Path) -> None:
        """Copy the folder as a power cut leaves it at worst that keeps all contents: what was renamed is not."""
        shutil.copytree(self.root, copy, symlinks=True)
        for to, former, path in reversed(self.renames):
            new, old = copy / to.relative_to(self.root), copy / path.relative_to(self.root)
            if new.exists():
                old.parent.mkdir(parents=True, exist_ok=True)
                new.replace(old)
            if former is not None and new.parent.is_dir():
                new.write_bytes(former)
