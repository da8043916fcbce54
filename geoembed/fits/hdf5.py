"""HDF5 files in which damage is told, and whose reading ends.

All metadata is that of HDF5 1.10, which has a checksum throughout, and datasets lie in chunks with a Fletcher-32 each.
Texts have fixed lengths: HDF5's heap for texts of any length has no checksum. Every dataset has an attribute `sha256`,
of its type, shape and bytes. The file's own is of its other attributes and of all datasets' digests.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed import interrupts
from geoembed.errors import EmbeddingsError
from geoembed.outputs import digests, disk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

SEAL = "sha256"

CHUNK = 2**20
"""Bytes of a chunk, about."""

BLOCK = 2**23
"""Bytes that are read at a time, about."""

MARK = "geoembed_version"
"""The attribute that is written first, by which a damaged file is known as one that geoembed made."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK, _VERSION, _NOWHERE = 48, bytes((3, 8, 8)), b"\xff" * 8
_LIBVER = ("v110", "v110")
_LAYOUT, _CONTINUED, _VIRTUAL, _MOST, _FARTHEST = 8, 16, 3, 2**16, 2**62
"""Kinds of messages in an object header, the class of a virtual layout, bytes of the longest header, a far address."""

_TAKEN = 4096 * 16
"""Bytes that HDF5 takes besides content, at most, for a file of few datasets."""


class Writer:
    """An HDF5 file that is being written; see `creating`."""

    def __init__(self, file: Any, output: _Output) -> None:
        self._file, self._output = file, output
        self._attributes: dict[str, str] = {}
        self._digests: dict[str, str] = {}

    def attributes(self, values: Mapping[str, str]) -> None:
        """Write attributes of the file, texts of any length."""
        for name, text in values.items():
            self._attribute(self._file, name, text)
            self._attributes[name] = text
        with self._output.calling():
            self._file.flush()  # so that they have their place before what follows, and outlast a cut

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
        self._attribute(self._file, SEAL, _seal(self._attributes, self._digests))

    def _attribute(self, where: Any, name: str, text: str) -> None:
        import h5py

        data = text.encode()
        kind = h5py.string_dtype("utf-8", max(1, len(data)))
        with self._output.calling():
            where.attrs.create(name, np.array(data, kind), dtype=kind)


def encoded(texts: Iterable[str]) -> NDArray[np.bytes_]:
    """Return texts as a dataset has them: UTF-8 of one length."""
    values = [text.encode() for text in texts]
    return np.array(values, f"S{max([1, *map(len, values)])}")


def size_of(shape: tuple[int, ...], dtype: Any) -> int:
    """Return how many bytes a dataset takes in a file, of which the last chunk is as long as the others."""
    kind = np.dtype(dtype)
    whole = -(-shape[0] // max(1, _chunk(shape, kind))) * _chunk(shape, kind)
    return int(whole * np.prod(shape[1:], dtype=np.int64) * kind.itemsize)


def _chunk(shape: tuple[int, ...], kind: np.dtype[Any]) -> int:
    """Return the rows of a chunk."""
    return min(shape[0], max(1, CHUNK // max(1, int(np.prod(shape[1:])) * kind.itemsize)))


class Rows:
    """A dataset that is being written, some rows at a time."""

    def __init__(self, writer: Writer, name: str, dataset: Any) -> None:
        self._writer, self._name, self._dataset = writer, name, dataset
        self._seen = _digest(dataset.dtype, dataset.shape)
        self._stop = 0

    @property
    def width(self) -> int:
        """Return how many values a row has."""
        return int(np.prod(self._dataset.shape[1:]))

    def write(self, values: NDArray[Any]) -> None:
        """Write the rows that follow those written."""
        values = np.ascontiguousarray(values, self._dataset.dtype)
        start, self._stop = self._stop, self._stop + len(values)
        with self._writer._output.calling():
            self._dataset[start : self._stop] = values
        self._seen.update(values.data)

    def end(self) -> str:
        """Write the dataset's digest, and return it."""
        digest: str = self._seen.hexdigest()
        self._writer._attribute(self._dataset, SEAL, digest)
        self._writer._digests[self._name] = digest
        return digest


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


class Reader:
    """An HDF5 file that `creating` wrote, open for reading; see `opened`.

    attributes: the texts of its attributes, without its digest.
    digests: those of the datasets that were asked for by `require`.
    """

    def __init__(self, file: Any, path: Path, size: int) -> None:
        self._file, self._path, self._size = file, path, size
        self._datasets: dict[str, Any] = {}
        self.attributes = _texts(file.id, size)
        self._seal = self.attributes.pop(SEAL, None)
        self.digests: dict[str, str] = {}

    def require(self, names: Iterable[str]) -> None:
        """Find datasets and compare the file's digest; raises ValueError where one lacks, or something is damaged."""
        for name in names:
            self._datasets[name] = dataset = self._find(name)
            digest = _texts(dataset.id, self._size).get(SEAL)
            if digest is None:
                raise ValueError(f"{name} has no digest, so this version of geoembed did not write it")
            self.digests[name] = digest
        if sum(dataset.size * dataset.dtype.itemsize for dataset in self._datasets.values()) > self._size:
            raise ValueError("is shorter than what it says it holds")
        if self._seal != _seal(self.attributes, self.digests):
            raise ValueError("was edited or damaged: its attributes are not what its digest says")

    def layout(self, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
        """Return a dataset's type and shape."""
        return self._datasets[name].dtype, self._datasets[name].shape

    def array(self, name: str) -> NDArray[Any]:
        """Read a dataset; raises ValueError where it is not what its digest says."""
        dtype, shape = self.layout(name)
        return self.rows(name, np.arange(shape[0] if shape else 0), dtype, digest=self.digests[name])

    def texts(self, name: str) -> NDArray[np.str_]:
        """Read a dataset of texts, as `array` does."""
        return np.char.decode(self.array(name), "utf-8")

    def rows(self, name: str, numbers: NDArray[np.int64], dtype: Any, *, digest: str | None = None) -> NDArray[Any]:
        """Read some rows, whose numbers ascend, as a type.

        digest: what the whole dataset is compared with, ValueError is raised where it is another; None: no look at
            other rows.
        """
        dataset = self._datasets[name]
        found = np.empty((len(numbers), *dataset.shape[1:]), dtype)
        seen = _digest(dataset.dtype, dataset.shape)
        for block in self._blocks(dataset):
            first, last = np.searchsorted(numbers, [block.start, block.stop])
            if digest is None and first == last:
                continue
            values = np.ascontiguousarray(dataset[block])
            found[first:last] = values[numbers[first:last] - block.start]
            seen.update(values.data)
        if digest is not None and seen.hexdigest() != digest:
            raise ValueError(f"was edited or damaged: {name} is not what its digest says")
        return found

    @staticmethod
    def _blocks(dataset: Any) -> Iterator[slice]:
        """Yield slices of rows, each some whole chunks."""
        n, chunk = dataset.shape[0], (dataset.chunks or (1,))[0]
        row = max(1, int(np.prod(dataset.shape[1:])) * dataset.dtype.itemsize)
        step = chunk * max(1, BLOCK // (row * chunk))
        return (slice(start, min(start + step, n)) for start in range(0, n, step))

    def _find(self, name: str) -> Any:
        """Open a dataset; raises ValueError where it lacks, lies elsewhere, or is none that `creating` writes."""
        import h5py
        from h5py import h5d, h5g, h5l, h5o, h5z

        where = h5g.open(self._file.id, b"/")
        for part in name.encode().split(b"/"):
            if not (isinstance(where, h5g.GroupID) and where.links.exists(part)):
                raise ValueError(f"lacks {name}")
            link = where.links.get_info(part)
            # HDF5 must not open a virtual dataset: it looks for the files in a heap without checksum, perhaps for ever.
            if link.type != h5l.TYPE_HARD or _VIRTUAL in _layouts(self._path, link.u):
                raise ValueError(f"{name} lies elsewhere, which geoembed does not write")
            where = h5o.open(where, part)
        if not isinstance(where, h5d.DatasetID):
            raise ValueError(f"lacks {name}")
        made = where.get_create_plist()
        filters = [made.get_filter(number)[0] for number in range(made.get_nfilters())]
        chunked = made.get_layout() == h5d.CHUNKED
        if made.get_layout() not in (h5d.CHUNKED, h5d.CONTIGUOUS) or made.get_external_count():
            raise ValueError(f"{name} lies elsewhere, which geoembed does not write")
        if filters != ([h5z.FILTER_FLETCHER32] if chunked else []):
            raise ValueError(f"{name} is stored in a way that geoembed does not write")
        return h5py.Dataset(where)


@contextmanager
def opened(path: Path) -> Iterator[Reader]:
    """Yield the reader of a file that `creating` wrote.

    Raises EmbeddingsError where it is another file, or damaged, and for OSError, RuntimeError, KeyError, ValueError and
    TypeError, as HDF5 has them, in the body.
    """
    import h5py

    try:
        size = _check_header(path)
        with h5py.File(path, "r") as file:
            yield Reader(file, path, size)
    except FileNotFoundError:
        raise EmbeddingsError(f"{path}: missing; {remedy(path)}") from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        said = error.args[0] if isinstance(error, KeyError) and error.args else error
        fault = str(said).partition("\n")[0]  # HDF5 writes its whole stack of errors
        if "unable to lock file" in fault:
            raise EmbeddingsError(
                f"{path}: is in use by another program; close it there, or wait; where the disk knows no locks, set"
                " HDF5_USE_FILE_LOCKING=FALSE"
            ) from None
        if type(error) is not ValueError:
            fault = f"cannot be read ({fault})"
        raise EmbeddingsError(f"{path}: {fault}; {remedy(path)}") from None


def is_blank(path: Path) -> bool:
    """Tell whether a file is empty or all zeros, as a machine that lost power leaves it."""
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            if block.strip(b"\0"):
                return False
    return True


def is_ours(path: Path) -> bool:
    """Tell whether a file, however damaged, is one that geoembed made, so that a new one may replace it."""
    if is_blank(path):
        return True
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(MARK.encode()) >= 0


def remedy(path: Path) -> str:
    """Return what to do about a file that is missing or cannot be used."""
    with suppress(OSError):
        if is_ours(path):
            return f"make it again with geoembed embed{'' if is_blank(path) else ' --overwrite'}"
        return "move it away and make it again with geoembed embed"
    return "make it again with geoembed embed"


def _check_header(path: Path) -> int:
    """Return a file's size; raises ValueError where its first bytes are not those that `creating` writes.

    So HDF5 meets no file of another layout, of which some have no checksums.
    """
    with path.open("rb") as file:
        first, size = file.read(_SUPERBLOCK), os.fstat(file.fileno()).st_size
    if not first.strip(b"\0") and is_blank(path):
        raise ValueError("is empty, as a run that ended too early left it")
    if first[:8] != _SIGNATURE:
        raise ValueError("is no HDF5 file, or its beginning is damaged")
    # Version, sizes of offsets and lengths; (flags of who has it open;) base address, address of an extension.
    if len(first) < _SUPERBLOCK or first[8:11] != _VERSION or first[12:28] != bytes(8) + _NOWHERE:
        raise ValueError("was made by another version of geoembed or another program")
    if int.from_bytes(first[28:36], "little") > size:
        raise ValueError("was cut: it is shorter than it says")
    return size


def _layouts(path: Path, address: int) -> list[int]:
    """Return the classes of the layouts in an object's header: one for a dataset, none for a group.

    See the HDF5 file format, IV.A.1.b: headers of version 2, which may go on elsewhere. HDF5 compares their checksums.
    """
    classes: list[int] = []
    with path.open("rb") as file:
        file.seek(address)
        flags = (file.read(6)[5:] or b"\0")[0]
        file.seek((16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0), os.SEEK_CUR)
        length = int.from_bytes(file.read(1 << (flags & 3)), "little")
        places, before = [(file.tell(), length)], 4 + (2 if flags & 4 else 0)
        for at, length in places:
            if length > _MOST or len(places) > _MOST:
                raise ValueError("has a header that geoembed does not write")
            file.seek(at)
            block, start = file.read(length), 0
            while start + before <= len(block):
                kind, size = block[start], int.from_bytes(block[start + 1 : start + 3], "little")
                body = block[start + before :][:size]
                start += before + size
                if kind == _LAYOUT:
                    classes += body[1:2]
                if kind == _CONTINUED and len(body) >= 16:  # four bytes of signature first, and a checksum last
                    there, length = (int.from_bytes(body[i : i + 8], "little") for i in (0, 8))
                    places.append((min(there, _FARTHEST) + 4, max(length, 8) - 8))
    return classes


def _texts(where: Any, size: int) -> dict[str, str]:
    """Return the attributes of a file or a dataset; raises ValueError for what is no text of fixed length."""
    from h5py import h5a, h5t

    texts = {}
    for number in range(h5a.get_num_attrs(where)):
        attribute = h5a.open(where, index=number)
        kind = attribute.get_type()
        name = attribute.name.decode()
        if not isinstance(kind, h5t.TypeStringID) or kind.is_variable_str() or attribute.shape != ():
            raise ValueError(f"its attribute {name[:60]!r} is none that geoembed writes")
        if kind.get_size() > size:
            raise ValueError("is shorter than what it says it holds")
        value = np.empty((), attribute.dtype)
        attribute.read(value)
        texts[name] = value.item().decode()
    return texts


def _digest(dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    """Begin the digest of a dataset."""
    return hashlib.sha256(f"{np.dtype(dtype).str} {list(map(int, shape))} ".encode())


def _seal(attributes: Mapping[str, str], found: Mapping[str, str]) -> str:
    return digests.of_value([sorted(attributes.items()), sorted(found.items())])
