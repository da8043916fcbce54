"""Writing HDF5 files: rows at a time, each dataset and the file with a digest; see `creating`."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed import interrupts
from geoembed.fits.hdf5 import seals
from geoembed.fits.hdf5.seals import SEAL
from geoembed.outputs import disk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

CHUNK = 2**20
"""Bytes of a chunk, about."""

_LIBVER = ("v110", "v110")
_TAKEN = 4096 * 16
"""Bytes that HDF5 takes besides content, at most, for a file of few datasets."""


@contextmanager
def creating(path: Path, size: int, *, output: Path) -> Iterator[Writer]:
    """Yield the writer of a new file; it is sealed where no error is raised.

    size: bytes of content and attributes, an upper bound. Space for it is reserved first, so that a full disk is told
        at once. HDF5 never meets a fault of the disk, or an interrupt: it ends the process where it cannot write.
    output: the path that faults name.

    Raises OSError where the disk is full or fails.
    """
    import h5py

    with closing(_Output(path, size + size // 64 + _TAKEN, output)) as sink:
        with sink.calling():
            file = h5py.File(sink, "w", libver=_LIBVER, rdcc_nbytes=4 * CHUNK)
        try:
            writer = Writer(file, sink)
            yield writer
            writer.seal()
        finally:
            with sink.calling():
                file.close()


class Writer:
    """An HDF5 file that is being written; see `creating`."""

    def __init__(self, file: Any, output: _Output) -> None:
        self._file, self._output = file, output
        self._attributes: dict[str, str] = {}
        self._digests: dict[str, str] = {}

    def attributes(self, values: Mapping[str, str]) -> None:
        """Write attributes of the file, texts of any length.

        They go to the disk here: of more than eight, HDF5 makes a heap, which else lies last, and a file that was cut
        would not tell whose it is.
        """
        for name, text in values.items():
            self._attribute(self._file, name, text)
            self._attributes[name] = text
        with self._output.calling():
            self._file.flush()

    def rows(self, name: str, shape: tuple[int, ...], dtype: Any) -> Rows:
        """Begin a dataset that is written some rows at a time."""
        import h5py

        kind = np.dtype(dtype)
        if kind.kind == "S":
            kind = h5py.string_dtype("utf-8", kind.itemsize)
        chunks = (_chunk(shape, kind), *shape[1:])
        layout = {"chunks": chunks, "fletcher32": True} if all(chunks) else {}
        with self._output.calling():
            dataset = self._file.create_dataset(name, shape, kind, **layout)
        return Rows(self, name, dataset)

    def array(self, name: str, values: NDArray[Any]) -> str:
        """Write a dataset and return its digest."""
        rows = self.rows(name, values.shape, values.dtype)
        rows.write(values)
        return rows.end()

    def seal(self) -> None:
        """Write the file's digest, after all else."""
        self._attribute(self._file, SEAL, seals.of_file(self._attributes, self._digests))

    def _attribute(self, where: Any, name: str, text: str) -> None:
        import h5py

        data = text.encode()
        kind = h5py.string_dtype("utf-8", max(1, len(data)))
        with self._output.calling():
            where.attrs.create(name, np.array(data, kind), dtype=kind)


class Rows:
    """A dataset that is being written, some rows at a time."""

    def __init__(self, writer: Writer, name: str, dataset: Any) -> None:
        self._writer, self._name, self._dataset = writer, name, dataset
        self._seen = seals.of_dataset(dataset.dtype, dataset.shape)
        self._stop = 0

    @property
    def width(self) -> int:
        """Return how many values a row has."""
        return int(np.prod(self._dataset.shape[1:]))

    def write(self, values: NDArray[Any]) -> None:
        """Write the rows that follow those written."""
        values = np.ascontiguousarray(values, self._dataset.dtype)
        start, self._stop = self._stop, self._stop + len(values)
        with ThreadPoolExecutor(1) as pool:
            hashed = pool.submit(self._seen.update, values.data)
            with self._writer._output.calling():
                self._dataset[start : self._stop] = values
            hashed.result()

    def end(self) -> str:
        """Write the dataset's digest, and return it."""
        digest: str = self._seen.hexdigest()
        self._writer._attribute(self._dataset, SEAL, digest)
        self._writer._digests[self._name] = digest
        return digest


def encoded(texts: NDArray[np.str_]) -> NDArray[np.bytes_]:
    """Return texts as a dataset has them: UTF-8 of one length."""
    try:
        values = texts.astype(np.bytes_)  # ASCII alone, at once
    except UnicodeEncodeError:
        values = np.char.encode(texts, "utf-8")
    return values.astype(f"S{max(1, np.char.str_len(values).max(initial=0))}")


def size_of(shape: tuple[int, ...], dtype: Any) -> int:
    """Return how many bytes a dataset takes in a file, of which the last chunk is as long as the others."""
    kind = np.dtype(dtype)
    whole = -(-shape[0] // max(1, _chunk(shape, kind))) * _chunk(shape, kind)
    return int(whole * np.prod(shape[1:], dtype=np.int64) * kind.itemsize)


def _chunk(shape: tuple[int, ...], kind: np.dtype[Any]) -> int:
    """Return the rows of a chunk."""
    return min(shape[0], max(1, CHUNK // max(1, int(np.prod(shape[1:])) * kind.itemsize)))


class _Output:
    """The file that HDF5 writes to. It keeps the first fault to itself, and behaves as if all went well.

    fault: what went wrong first; from then on, what is written is held in memory, for HDF5 to read again.
    """

    def __init__(self, path: Path, size: int, output: Path) -> None:
        self.fault: BaseException | None = None
        self._path = output
        self._at = self._end = 0
        self._lost: list[tuple[int, bytes]] = []
        self._file = disk.create(path)
        try:
            disk.reserve(self._file, size)
            self._reading = path.open("rb", buffering=0)
        except BaseException as fault:
            self._file.close()
            raise self._named(fault) from None

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Call HDF5 in the body: interrupts wait for its end, and so does the fault of the disk, which is raised."""
        try:
            with interrupts.deferred():
                yield
        finally:
            if self.fault:
                raise self._named(self.fault) from None

    def seek(self, at: int, whence: int = os.SEEK_SET) -> int:
        self._at = at + (self._end if whence == os.SEEK_END else 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytes:
        buffer = bytearray(size)
        self.readinto(memoryview(buffer))
        return bytes(buffer)

    def readinto(self, buffer: memoryview) -> int:
        self._try(self._read, buffer)
        stop = self._at + len(buffer)
        for at, data in self._lost:
            first, last = max(self._at, at), min(stop, at + len(data))
            if first < last:
                buffer[first - self._at : last - self._at] = data[first - at : last - at]
        self._at = stop
        return len(buffer)

    def write(self, data: memoryview) -> int:
        if self.fault is None:
            self._try(self._write, data)
        if self.fault is not None:
            self._lost.append((self._at, bytes(data)))
        self._at += len(data)
        self._end = max(self._end, self._at)
        return len(data)

    def flush(self) -> None:
        self._try(self._file.flush)

    def truncate(self, size: int) -> None:
        self._end = size
        self._try(self._file.truncate, size)

    def close(self) -> None:
        self._reading.close()
        with suppress(OSError):  # what it could not write was told already
            self._file.close()

    def _read(self, buffer: memoryview) -> None:
        self._reading.seek(self._at)
        done = 0
        while done < len(buffer):
            n = self._reading.readinto(buffer[done:])
            if not n:
                break
            done += n
        buffer[done:] = bytes(len(buffer) - done)

    def _write(self, data: memoryview) -> None:
        self._file.seek(self._at)
        self._file.write(data)
        self._file.flush()

    def _try(self, call: Any, *words: Any) -> None:
        if self.fault is None:
            try:
                call(*words)
            except BaseException as fault:
                self.fault = fault

    def _named(self, fault: BaseException) -> BaseException:
        if isinstance(fault, OSError) and fault.errno is not None:
            return OSError(fault.errno, os.strerror(fault.errno), str(self._path))
        return fault
