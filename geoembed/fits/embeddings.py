"""Embeddings files: HDF5 with one row per chip, readable with nothing but h5py."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, field, fields
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed import names
from geoembed.errors import EmbeddingsError
from geoembed.fits.hdf5 import headers, reader, writer
from geoembed.fits.hdf5.reader import Reader
from geoembed.fits.hdf5.seals import MARK
from geoembed.fits.hdf5.writer import Rows, Writer
from geoembed.names import Channel, Modality
from geoembed.outputs import atomic, digests, documents
from geoembed.outputs.records import Record
from geoembed.project import remedies
from geoembed.project.kinds import Kind
from geoembed.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import xarray
    from numpy.typing import NDArray

    from geoembed.chips.folder import ChipSet
    from geoembed.ground.grid import Grid

FUSED = "fused"
_TEXTS = ("chip_id", "aoi", "split")
_NUMBERS = {"lonlat": (np.float64, 2), "bounds": (np.float64, 4), "present": (np.bool_, None), "broken": (np.int64, 2)}
"""Type and columns of the datasets of numbers; presence has a column per modality."""


@dataclass(frozen=True)
class _About:
    """What an embeddings file says of itself: forms of its attributes."""

    geoembed_version: str
    created: str
    modalities: tuple[Modality, ...]
    grids: list[dict[str, Any]]
    digest: str
    space: str = ""
    model_sha256: str = ""
    model_config: dict[str, Any] = field(default_factory=dict)
    channels: dict[Modality, tuple[Channel, ...]] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    made_from: Record | None = None


@dataclass(frozen=True)
class Chunk:
    """Embeddings of some consecutive chips.

    present: (n, M) bool, which modalities each chip has.
    vectors: per modality and for 'fused', (n, D) float; NaN rows where a chip lacks the modality.
    broken: (k, 2) int, row of the whole file and column of `present`, where a chip's file could not be read.
    """

    present: NDArray[np.bool_]
    vectors: dict[str, NDArray[Any]]
    broken: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))


@dataclass(frozen=True)
class Embeddings:
    """An embeddings file without its vectors, which `vectors` reads when they are asked for.

    chip_id, aoi, split: (N,) strings.
    lonlat: (N, 2) centres, degrees east and north (EPSG:4326).
    bounds: (N, 4) west, south, east, north in degrees; west > east over 180 degrees.
    present: (N, M) bool, columns in the order of `modalities`.
    broken: (k, 2) rows, and columns of `present`, of the chip files that could not be read.
    grids: the grids that the chips lie on; `grid.cells(grids, chip_id).outlines` are their outlines.
    attributes: everything else that the file says of itself, JSON parsed.
    digest: SHA-256 of rows and vectors, the same for the same content whenever it was written.
    widths: D of each of `names`.
    digests: SHA-256 of the file's datasets by name.
    """

    path: Path
    chip_id: NDArray[np.str_]
    lonlat: NDArray[np.float64]
    bounds: NDArray[np.float64]
    aoi: NDArray[np.str_]
    split: NDArray[np.str_]
    present: NDArray[np.bool_]
    broken: NDArray[np.int64]
    modalities: tuple[str, ...]
    grids: tuple[Grid, ...]
    attributes: dict[str, Any]
    digest: str
    widths: dict[str, int]
    digests: dict[str, str]
    _intact: dict[str, tuple[int, ...]] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.chip_id)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names that `vectors` takes: the modalities, then 'fused'."""
        return (*self.modalities, FUSED)

    @property
    def transductive(self) -> bool:
        """Return whether the model learned from the chips of all splits, test chips among them."""
        return bool(self.attributes.get("training", {}).get("transductive"))

    def vectors(self, name: str, rows: slice | NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Read the vectors of a modality or of 'fused': (N, D) float32, NaN rows where absent.

        `rows` picks some: a slice, or numbers in ascending order. At the first call for a name, and once the file has
        changed, all its vectors are read and compared with their digest.

        Raises EmbeddingsError for a name that the file does not hold, and where it is damaged.
        """
        stamp = _stamp(self.path)
        is_intact = self._intact.get(name) == stamp
        found = self._read(name, rows, is_compared=not is_intact, has_checksums=is_intact)
        self._intact[name] = stamp
        return found

    def glimpse(self, name: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read some vectors as `vectors` does, without a look at the others: only chunks' checksums are compared."""
        return self._read(name, rows)

    def in_blocks(self, name: str) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield all vectors, some consecutive rows at a time and with where they are, as `vectors` reads them.

        They are not to be changed, and are known to be intact only after the last block, so that they are read once.
        """
        stamp, dataset = _stamp(self.path), f"embeddings/{name}"
        with self._opened(name) as file:
            digest = None if self._intact.get(name) == stamp else self.digests[dataset]
            for where, values in file.in_blocks(dataset, digest=digest):
                yield where, values.astype(np.float32, copy=False)
        self._intact[name] = stamp

    def compare(self, name: str) -> None:
        """Compare all vectors of a name with their digest and with chunks' checksums, by which others read them.

        Raises EmbeddingsError as `vectors` does.
        """
        self._read(name, slice(0, 0), is_compared=True)

    def _read(
        self,
        name: str,
        rows: slice | NDArray[np.int64] | None,
        *,
        is_compared: bool = False,
        has_checksums: bool = True,
    ) -> NDArray[np.float32]:
        numbers = np.arange(len(self))[slice(None) if rows is None else rows]
        assert np.all(np.diff(numbers) >= 0), "rows ascend"
        dataset = f"embeddings/{name}"
        with self._opened(name) as file:
            digest = self.digests[dataset] if is_compared else None
            return file.rows(dataset, numbers, np.float32, digest=digest, has_checksums=has_checksums)

    @contextmanager
    def _opened(self, name: str) -> Iterator[Reader]:
        """Open the file, which is as `read` found it, to read the vectors of a name."""
        if name not in self.names:
            raise EmbeddingsError(f"{self.path}: has no embeddings {name!r}; it holds {', '.join(self.names)}")
        with reader.opened(self.path) as file:
            file.require(_datasets(self.modalities))
            if file.digests != self.digests:
                raise ValueError("has changed since it was read")
            yield file

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Read all vectors: per modality and for 'fused' (N, D) float32, NaN rows where absent."""
        return {name: self.vectors(name) for name in self.names}

    def block(self, rows: slice) -> Chunk:
        """Read some consecutive rows whole."""
        inside = (self.broken[:, 0] >= rows.start) & (self.broken[:, 0] < rows.stop)
        return Chunk(
            self.present[rows].copy(), {name: self.vectors(name, rows) for name in self.names}, self.broken[inside]
        )


def read(path: Path) -> Embeddings:
    """Read an embeddings file's rows and attributes, and compare them with their digests.

    Raises EmbeddingsError when it is missing, something else or damaged; vectors are compared when they are read.
    """
    if not path.exists():
        raise EmbeddingsError(f"{path}: no embeddings here; {remedies.embeddings(path)}")
    stranger = remedies.of_another_kind(path, Kind.EMBEDDINGS)
    if stranger:
        raise EmbeddingsError(f"{path}: {stranger}; {remedies.embeddings(path)}")
    with reader.opened(path) as file:
        from geoembed.ground.grid import Grid

        about, attributes = _about(file)
        file.require(_datasets(about.modalities))
        n, columns = _rows(file), len(about.modalities)
        for name, (dtype, width) in _NUMBERS.items():
            shape = (None if name == "broken" else n, columns if width is None else width)
            _require_layout(file, name, np.dtype(dtype), shape)
        found = Embeddings(
            path=path,
            chip_id=file.texts("chip_id"),
            lonlat=file.array("lonlat"),
            bounds=file.array("bounds"),
            aoi=file.texts("aoi"),
            split=file.texts("split"),
            present=file.array("present"),
            broken=file.array("broken"),
            modalities=about.modalities,
            grids=documents.parsed(about.grids, tuple[Grid, ...]),
            digest=about.digest,
            attributes=attributes,
            widths={name: _width(file, name, n) for name in (*about.modalities, FUSED)},
            digests=file.digests,
        )
        _check_rows(found)
    return found


def faults(file: Embeddings, *, whole: bool) -> list[str]:
    """Return in a line each which vectors of an embeddings file are damaged; none where not `whole`.

    Rows and attributes were compared when the file was read.
    """
    lines = []
    for name in file.names if whole else ():
        try:
            file.compare(name)
        except EmbeddingsError as error:
            lines.append(str(error))
    return lines


def is_ours(path: Path) -> bool:
    """Tell whether a file, however damaged, is an embeddings file that geoembed made or began."""
    return headers.is_ours(path)


def number_type(path: Path) -> str:
    """Return the type in which an embeddings file stores its vectors: float32 or float16."""
    with reader.opened(path) as file:
        name = f"embeddings/{FUSED}"
        file.require(_datasets(_about(file)[0].modalities))
        return str(file.layout(name)[0].name)


def names_in(path: Path) -> list[str]:
    """Return the names of the vectors that an embeddings file holds, in no time: the modalities and 'fused'."""
    with reader.opened(path) as file:
        return [*_about(file)[0].modalities, FUSED]


def _about(file: Reader) -> tuple[_About, dict[str, Any]]:
    """Return a file's attributes as a form, and those that `Embeddings.attributes` has; raises ValueError."""
    values = {name: _parsed(name, text) for name, text in file.attributes.items()}
    lacking = [one.name for one in fields(_About) if one.default is MISSING and one.default_factory is MISSING]
    lacking = [name for name in lacking if name not in values]
    if lacking:
        raise ValueError(f"lacks the attributes {', '.join(lacking)}")
    about = documents.parsed(values, _About)
    if not about.modalities or len(set(about.modalities)) < len(about.modalities):
        raise ValueError("its attribute modalities names none, or one twice")
    return about, {name: value for name, value in values.items() if name not in ("modalities", "grids", "digest")}


def _datasets(modalities: Iterable[str]) -> list[str]:
    return [*_TEXTS, *_NUMBERS, *(f"embeddings/{name}" for name in (*modalities, FUSED))]


def _rows(file: Reader) -> int:
    """Return the number of chips; raises ValueError where columns of text have another form."""
    n = (*file.layout("chip_id")[1], 0)[0]
    for name in _TEXTS:
        dtype, _ = file.layout(name)
        _require_layout(file, name, dtype if dtype.kind == "S" else np.dtype("S1"), (n,))
    return n


def _width(file: Reader, name: str, n: int) -> int:
    """Return the length of a name's vectors; raises ValueError where these are of another form."""
    dtype, shape = file.layout(f"embeddings/{name}")
    wanted = dtype if dtype in (np.float32, np.float16) else np.dtype(np.float32)
    _require_layout(file, f"embeddings/{name}", wanted, (n, None))
    return shape[1]


def _require_layout(file: Reader, name: str, dtype: np.dtype[Any], shape: tuple[int | None, ...]) -> None:
    """Raise ValueError where a dataset has another type or shape; None stands for any length."""
    found, lengths = file.layout(name)
    fits = len(lengths) == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, lengths, strict=True)
    )
    if not fits or found.str != dtype.str:
        wanted = " x ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{name} is {found} {lengths}, and should be {dtype}, {wanted}")


def _check_rows(file: Embeddings) -> None:
    """Raise ValueError where rows are not what rows can be."""
    from geoembed.chips.folder import SPLITS

    n, known = len(file), {one.name for one in file.grids}
    chip_ids = file.chip_id.tolist()
    for chip_id, parts in zip(chip_ids, map(names.CHIP_ID.match, chip_ids), strict=True):
        if parts is None or parts["name"] not in known:
            raise ValueError(f"{chip_id[:60]!r} is no chip id on a grid that it describes")
    if len(set(chip_ids)) < n:
        raise ValueError("names a chip twice")
    for area in sorted(set(file.aoi.tolist())):
        names.text(area)
    unknown = set(file.split.tolist()) - set(SPLITS)
    if unknown:
        raise ValueError(f"has chips of the split {sorted(unknown)[0][:60]!r}; there are {', '.join(SPLITS)}")
    for one in file.grids:
        if not (np.isfinite([one.x, one.y, one.dx, one.dy]).all() and min(one.dx, one.dy, one.size) > 0):
            raise ValueError(f"describes a grid {one.name[:60]!r} that can be none")
    if not (np.isfinite(file.lonlat).all() and np.isfinite(file.bounds).all()):
        raise ValueError("has chips whose places are no numbers")
    if ((file.broken < 0) | (file.broken >= (n, len(file.modalities)))).any():
        raise ValueError("names broken chip files that are none of its chips'")


def _stamp(path: Path) -> tuple[int, ...]:
    """Return what tells that a file was changed or replaced."""
    try:
        status = path.stat()
    except OSError as error:
        raise EmbeddingsError(f"{path}: {error.strerror}; {headers.remedy(path)}") from None
    return status.st_ino, status.st_size, status.st_mtime_ns


def open_embeddings(path: str | Path = "embeddings.h5") -> xarray.Dataset:
    """Return an embeddings file as an xarray Dataset in memory: a variable per modality and `fused`, (chip, dimension).

    Coordinates along `chip` are chip_id, lon, lat (degrees east and north), aoi and split; `present` is (chip,
    modality). Vectors of another width than `fused` have a dimension of their own, such as `s1_dimension`. Raises
    EmbeddingsError where the file cannot be read or xarray is not installed.
    """
    try:
        import xarray
    except ImportError:
        raise EmbeddingsError(f"{path}: to open it as a Dataset, install xarray (pip install xarray)") from None
    found = read(Path(path))
    arrays = found.arrays()
    along = {
        name: "dimension" if values.shape[1] == arrays[FUSED].shape[1] else f"{name}_dimension"
        for name, values in arrays.items()
    }
    lon, lat = found.lonlat.T
    rows = {"chip_id": found.chip_id, "lon": lon, "lat": lat, "aoi": found.aoi, "split": found.split}
    return xarray.Dataset(
        {name: (("chip", along[name]), values) for name, values in arrays.items()}
        | {"present": (("chip", "modality"), found.present)},
        coords={name: ("chip", values) for name, values in rows.items()} | {"modality": list(found.modalities)},
        attrs={name: str(value) for name, value in found.attributes.items()},
    )


def record_of(path: Path) -> Record | None:
    """Return the record of what an embeddings file was made from; None where the file has none.

    Its content may be damaged, which `faults` tells. Raises EmbeddingsError where the file itself cannot be read.
    """
    with reader.opened(path) as file:
        about = _about(file)[0]
        file.require(_datasets(about.modalities))
        return about.made_from


def write(
    path: Path,
    chip_ids: NDArray[Any],
    aoi: NDArray[Any],
    split: NDArray[Any],
    *,
    grids: tuple[Grid, ...],
    modalities: tuple[str, ...],
    blocks: Iterable[Chunk],
    attributes: Mapping[str, Any],
    dtype: str = "float32",
) -> str:
    """Write an embeddings file whole and return its digest.

    `blocks` follow each other in the order of `chip_ids` and are held one at a time. `attributes` are JSON-ready;
    strings stay as they are and everything else becomes JSON; `created` among them is that of a file that is restored,
    else it is now. Raises ValueError when the blocks do not add up, and
    OSError where the disk is full, before the first block is written where the system can tell.
    """
    from geoembed.ground import grid

    cells, n = grid.cells(grids, chip_ids), len(chip_ids)
    described = {
        MARK: __version__,
        "created": str(attributes.get("created") or datetime.now(UTC).isoformat(timespec="seconds")),
        "modalities": _text(list(modalities)),
        "grids": _text([asdict(lattice) for lattice in grids]),
    }
    described = {**described, **{name: _text(value) for name, value in attributes.items() if name not in described}}
    columns: dict[str, NDArray[Any]] = {
        name: writer.encoded(np.asarray(column, np.str_))
        for name, column in zip(_TEXTS, (chip_ids, aoi, split), strict=True)
    }
    columns |= {"lonlat": cells.lonlat(), "bounds": cells.bounds()}
    blocks = iter(blocks)
    begun = list(islice(blocks, 1))
    size = _size(n, columns, described, begun, np.dtype(dtype))
    with atomic.replacing(path) as part, writer.creating(part, size, output=path) as file:
        file.attributes(described)
        written = {name: file.array(name, column) for name, column in columns.items()}
        seen = [written[name] for name in _TEXTS]  # places follow from chip ids, to PROJ's last bits
        seen += _write_blocks(file, chain(begun, blocks), n, modalities, dtype)
        digest = digests.of_value(seen)
        file.attributes({"digest": digest})
    return digest


def write_of(
    path: Path,
    chipset: ChipSet,
    *,
    modalities: tuple[str, ...],
    blocks: Iterable[Chunk],
    attributes: Mapping[str, Any],
    dtype: str = "float32",
) -> str:
    """Write the embeddings of all chips of a folder, in the order of its index, as `write` does."""
    columns = [chipset.index[name].to_numpy(str) for name in ("chip_id", "aoi", "split")]
    return write(
        path, *columns, grids=chipset.grids, modalities=modalities, blocks=blocks, attributes=attributes, dtype=dtype
    )


def _size(
    n: int, columns: dict[str, NDArray[Any]], attributes: dict[str, str], begun: list[Chunk], dtype: np.dtype[Any]
) -> int:
    """Return how many bytes an embeddings file has at most, besides what HDF5 adds; `begun` has its first block."""
    kinds = [(column.shape, column.dtype) for column in columns.values()]
    for block in begun:
        kinds += [((n, values.shape[1]), dtype) for values in block.vectors.values()]
        kinds += [((n, block.present.shape[1]), np.dtype(bool)), ((n * block.present.shape[1], 2), np.dtype(np.int64))]
    return sum(writer.size_of(*kind) for kind in kinds) + 2 * sum(len(text.encode()) for text in attributes.values())


def _write_blocks(file: Writer, blocks: Iterable[Chunk], n: int, modalities: tuple[str, ...], dtype: str) -> list[str]:
    """Write presence and vectors block by block; return their digests, which do not depend on the blocks' sizes."""
    present = file.rows("present", (n, len(modalities)), np.bool_)
    vectors: dict[str, Rows] = {}
    broken = [np.empty((0, 2), np.int64)]
    start = 0
    for block in blocks:
        start += len(block.present)
        if start > n:
            break
        for name in (*modalities, FUSED):
            values = block.vectors[name]
            if name not in vectors:
                vectors[name] = file.rows(f"embeddings/{name}", (n, values.shape[1]), dtype)
            if values.shape != (len(block.present), vectors[name].width):
                raise ValueError(f"{values.shape} embeddings {name} for {len(block.present)} chips")
            vectors[name].write(values)
        present.write(block.present)
        broken.append(block.broken)
    if start != n:
        raise ValueError(f"{start} rows of embeddings for {n} chips")
    file.array("broken", np.concatenate(broken).astype(np.int64))
    return [rows.end() for rows in (*vectors.values(), present)]


def slices(n: int, size: int) -> Iterator[slice]:
    """Yield slices that cut n rows into blocks of `size`, the last one shorter."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _parsed(name: str, value: str) -> Any:
    """Return an attribute as JSON where it is an object or a list, else as it is; raises ValueError."""
    if value[:1] not in ("{", "["):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its attribute {name} is no JSON ({error})") from None
