"""Reading the HDF5 files that the writer made, and only these; see `opened`."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.errors import EmbeddingsError
from geoembed.fits.hdf5 import headers, seals
from geoembed.fits.hdf5.headers import remedy
from geoembed.fits.hdf5.seals import SEAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

BLOCK = 2**23
"""Bytes that are read at a time, about."""

_CHECKSUM = 4
"""Bytes of the Fletcher-32 that ends a chunk."""


@contextmanager
def opened(path: Path) -> Iterator[Reader]:
    """Yield the reader of a file that `creating` wrote.

    Raises EmbeddingsError where it is another file, or damaged, and for OSError, RuntimeError, KeyError, ValueError and
    TypeError, as HDF5 has them, in the body.
    """
    import h5py

    try:
        size = headers.check(path)
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
        if self._seal != seals.of_file(self.attributes, self.digests):
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
        values = self.array(name)
        try:
            return values.astype(np.str_)  # ASCII alone, at once
        except UnicodeDecodeError:
            return np.char.decode(values, "utf-8")

    def rows(
        self,
        name: str,
        numbers: NDArray[np.int64],
        dtype: Any,
        *,
        digest: str | None = None,
        has_checksums: bool = True,
    ) -> NDArray[Any]:
        """Read some rows, whose numbers ascend, as a type.

        digest: what the whole dataset is compared with, ValueError is raised where it is another; None: no look at
            other rows.
        has_checksums: whether HDF5 compares its own checksums of chunks; with a digest there is no need to.
        """
        dataset = self._datasets[name]
        found = np.empty((len(numbers), *dataset.shape[1:]), dtype)
        seen = seals.of_dataset(dataset.dtype, dataset.shape)
        read = dataset.read_direct if has_checksums or dataset.chunks is None else _bare(dataset)
        with ThreadPoolExecutor(1) as pool:  # a block is hashed while the next one is read
            hashed: Future[None] | None = None
            for block in self._blocks(dataset):
                first, last = np.searchsorted(numbers, [block.start, block.stop])
                if digest is None and first == last:
                    continue
                wanted = numbers[first:last] - block.start
                length = block.stop - block.start
                is_whole = dtype == dataset.dtype and np.array_equal(wanted, np.arange(length))
                values = found[first:last] if is_whole else np.empty((length, *dataset.shape[1:]), dataset.dtype)
                read(values, block)
                if not is_whole:
                    found[first:last] = values[wanted]
                if hashed:
                    hashed.result()
                hashed = pool.submit(seen.update, values.data) if digest is not None else None
        if digest is not None and seen.hexdigest() != digest:
            raise ValueError(f"was edited or damaged: {name} is not what its digest says")
        return found

    def in_blocks(self, name: str, *, digest: str | None = None) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield all rows some at a time, in fresh arrays that are not to be changed, with where they are.

        digest: as in `rows`, but ValueError is raised after the last block; None: HDF5 compares its own checksums.
        """
        dataset = self._datasets[name]
        seen = seals.of_dataset(dataset.dtype, dataset.shape)
        read = dataset.read_direct if digest is None or dataset.chunks is None else _bare(dataset)
        with ThreadPoolExecutor(1) as pool:
            hashed: Future[None] | None = None
            for block in self._blocks(dataset):
                values = np.empty((block.stop - block.start, *dataset.shape[1:]), dataset.dtype)
                read(values, block)
                if hashed:
                    hashed.result()
                hashed = pool.submit(seen.update, values.data) if digest is not None else None
                yield block, values
        if digest is not None and seen.hexdigest() != digest:
            raise ValueError(f"was edited or damaged: {name} is not what its digest says")

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
            if link.type != h5l.TYPE_HARD or headers.VIRTUAL in headers.layouts(self._path, link.u):
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


def _bare(dataset: Any) -> Callable[[NDArray[Any], slice], None]:
    """Return what reads a slice of rows as they lie in their chunks, whose checksums nobody compares."""
    rows, *others = dataset.chunks
    if rows > dataset.shape[0] or others != list(dataset.shape[1:]):
        raise ValueError(f"{dataset.name[1:]} is stored in a way that geoembed does not write")
    size = rows * int(np.prod(others)) * dataset.dtype.itemsize
    spare = np.empty(size + _CHECKSUM, np.uint8)

    def read(values: NDArray[Any], block: slice) -> None:
        data = values.reshape(-1).view(np.uint8)
        for number in range(-(-len(values) // rows)):
            place = data[number * size :][: len(spare)]  # its checksum goes where the next chunk begins
            whole = place if len(place) == len(spare) else spare
            where = block.start + number * rows, *(0 for _ in others)
            mask, chunk = dataset.id.read_direct_chunk(where, out=whole)
            if mask or len(chunk) != len(spare):
                raise ValueError(f"{dataset.name[1:]} has a chunk that geoembed does not write")
            if whole is spare:
                place[:] = spare[: len(place)]

    return read


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
