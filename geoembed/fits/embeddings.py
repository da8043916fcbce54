"""Embeddings files: HDF5 with one row per chip, readable with nothing but h5py."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.errors import EmbeddingsError
from geoembed.outputs import atomic
from geoembed.project import remedies
from geoembed.project.kinds import Kind
from geoembed.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import xarray
    from numpy.typing import NDArray

    from geoembed.chips.folder import ChipSet
    from geoembed.ground import grid
    from geoembed.outputs.records import Record

FUSED = "fused"
_DATASETS = ("chip_id", "lonlat", "bounds", "aoi", "split", "present", "broken", f"embeddings/{FUSED}")


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
    grids: tuple[grid.Grid, ...]
    attributes: dict[str, Any]
    digest: str

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

        `rows` picks some: a slice, or numbers in ascending order.

        Raises EmbeddingsError for a name that the file does not hold.
        """
        import h5py

        if name not in self.names:
            raise EmbeddingsError(f"{self.path}: has no embeddings {name!r}; it holds {', '.join(self.names)}")
        with h5py.File(self.path, "r") as file:
            picked = slice(None) if rows is None else rows
            values: NDArray[np.float32] = file[f"embeddings/{name}"].astype(np.float32)[picked]
        return values

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
    """Read an embeddings file's rows and attributes; raises EmbeddingsError when it is missing or something else."""
    import h5py

    from geoembed.ground import grid

    again = "move it away and make it again with geoembed embed"
    if not path.exists():
        raise EmbeddingsError(f"{path}: no embeddings here; {remedies.embeddings(path)}")
    stranger = remedies.of_another_kind(path, Kind.EMBEDDINGS)
    if stranger:
        raise EmbeddingsError(f"{path}: {stranger}; {remedies.embeddings(path)}")
    try:
        with h5py.File(path, "r") as file:
            missing = [name for name in _DATASETS if name not in file]
            if missing:
                raise EmbeddingsError(f"{path}: lacks {', '.join(missing)}; {again}")
            text = {name: file[name].asstr()[:].astype(np.str_) for name in ("chip_id", "aoi", "split")}
            numbers = {name: file[name][:] for name in ("lonlat", "bounds", "present", "broken")}
            attributes = {name: _parsed(value) for name, value in file.attrs.items()}
    except (OSError, ValueError) as error:
        fault = str(error).partition("\n")[0]  # HDF5 writes its whole stack of errors
        if "unable to lock file" in fault:
            raise EmbeddingsError(
                f"{path}: is in use by another program; close it there, or wait; where the disk knows no locks, set"
                " HDF5_USE_FILE_LOCKING=FALSE"
            ) from None
        raise EmbeddingsError(f"{path}: cannot be read as HDF5 ({fault}); {again}") from None
    lacking = [name for name in ("modalities", "grids", "digest") if name not in attributes]
    if lacking:
        raise EmbeddingsError(f"{path}: lacks the attributes {', '.join(lacking)}; {again}")
    return Embeddings(
        path=path,
        **text,
        **numbers,
        modalities=tuple(attributes.pop("modalities")),
        grids=tuple(grid.Grid(**value) for value in attributes.pop("grids")),
        digest=attributes.pop("digest"),
        attributes=attributes,
    )


def faults(file: Embeddings, *, whole: bool) -> list[str]:
    """Return in a line each where an embeddings file's arrays do not fit together; `whole`: or not its digest."""
    import h5py

    n, again = len(file), "move it away and make it again with geoembed embed"
    with h5py.File(file.path, "r") as opened:
        shapes = {name: opened[name].shape for name in ("lonlat", "bounds", "aoi", "split", "present")}
        shapes |= {
            f"embeddings/{name}": getattr(opened.get(f"embeddings/{name}"), "shape", None) for name in file.names
        }
    wrong = [name for name, shape in shapes.items() if shape is None or shape[0] != n]
    if wrong:
        return [f"{file.path}: {wrong[0]} has not a row for each of {n:,} chips; {again}"]
    try:
        if whole and _digest_of(file) != file.digest:
            return [f"{file.path}: its content is not what its digest says; {again}"]
    except OSError as error:
        return [f"{file.path}: cannot be read ({str(error).splitlines()[0]}); {again}"]
    return []


def _digest_of(file: Embeddings) -> str:
    """Return the digest of what an embeddings file holds now, as `write` computes it."""
    import h5py

    columns = [list(map(str, column)) for column in (file.chip_id, file.aoi, file.split)]
    digest = hashlib.sha256(json.dumps(columns).encode())
    with h5py.File(file.path, "r") as opened:
        for name in file.names:
            part, vectors = hashlib.sha256(), opened[f"embeddings/{name}"]
            for rows in slices(len(file), 4096):
                part.update(np.ascontiguousarray(vectors[rows]).data)
            digest.update(part.digest())
    digest.update(hashlib.sha256(file.present.tobytes()).digest())
    return digest.hexdigest()


def names_in(path: Path) -> list[str]:
    """Return the names of the vectors that an embeddings file holds, in no time: the modalities and 'fused'."""
    import h5py

    with h5py.File(path, "r") as file:
        return list(file["embeddings"])


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
    """Return the record of what an embeddings file was made from; None where the file has none."""
    from geoembed.outputs.records import Record

    return Record.from_json(read(path).attributes.get("made_from"))


def write(
    path: Path,
    chip_ids: NDArray[Any],
    aoi: NDArray[Any],
    split: NDArray[Any],
    *,
    grids: tuple[grid.Grid, ...],
    modalities: tuple[str, ...],
    blocks: Iterable[Chunk],
    attributes: Mapping[str, Any],
    dtype: str = "float32",
) -> str:
    """Write an embeddings file whole and return its digest.

    `blocks` follow each other in the order of `chip_ids` and are held one at a time. `attributes` are JSON-ready;
    strings stay as they are and everything else becomes JSON. Raises ValueError when the blocks do not add up.
    """
    import h5py

    from geoembed.ground import grid

    cells = grid.cells(grids, chip_ids)
    seen = hashlib.sha256(json.dumps([list(map(str, column)) for column in (chip_ids, aoi, split)]).encode())
    with atomic.replacing(path) as part, h5py.File(part, "w") as file:
        for name, column in (("chip_id", chip_ids), ("aoi", aoi), ("split", split)):
            file.create_dataset(name, data=[str(value) for value in column], dtype=h5py.string_dtype("utf-8"))
        file["lonlat"], file["bounds"] = cells.lonlat(), cells.bounds()
        seen.update(_write_blocks(file, blocks, len(chip_ids), modalities, dtype))
        file.attrs.update({name: _text(value) for name, value in attributes.items()})
        file.attrs["modalities"] = _text(list(modalities))
        file.attrs["grids"] = _text([asdict(lattice) for lattice in grids])
        file.attrs["geoembed_version"] = __version__
        file.attrs["created"] = datetime.now(UTC).isoformat(timespec="seconds")
        file.attrs["digest"] = seen.hexdigest()
    return seen.hexdigest()


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


def _write_blocks(file: Any, blocks: Iterable[Chunk], n: int, modalities: tuple[str, ...], dtype: str) -> bytes:
    """Write presence and vectors block by block; return their SHA-256, which does not depend on the blocks' sizes."""
    present = file.create_dataset("present", (n, len(modalities)), dtype=bool)
    seen = {name: hashlib.sha256() for name in (*modalities, FUSED, "present")}
    broken = [np.empty((0, 2), np.int64)]
    start = 0
    for block in blocks:
        stop = start + len(block.present)
        for name in (*modalities, FUSED):
            values = np.ascontiguousarray(block.vectors[name], dtype=dtype)
            vectors = file.require_dataset(f"embeddings/{name}", (n, values.shape[1]), dtype, exact=True)
            vectors[start:stop] = values
            seen[name].update(values.data)
        present[start:stop] = block.present
        seen["present"].update(block.present.tobytes())
        broken.append(block.broken)
        start = stop
    file["broken"] = np.concatenate(broken)
    if start != n:
        raise ValueError(f"{start} rows of embeddings for {n} chips")
    return b"".join(one.digest() for one in seen.values())


def slices(n: int, size: int) -> Iterator[slice]:
    """Yield slices that cut n rows into blocks of `size`, the last one shorter."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _parsed(value: Any) -> Any:
    """Return an attribute as JSON where it is an object, a list or a number, else as it is."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.loads(value)
    return value
