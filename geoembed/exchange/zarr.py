"""Embeddings files as Zarr 3: chips of a grid become an array (y, x, feature), of which a chip is a pixel."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoembed.chips.folder import SPLITS
from geoembed.errors import EmbeddingsError, StaleError
from geoembed.exchange import conventions
from geoembed.fits.embeddings import FUSED, Embeddings
from geoembed.ground import crs as crs_
from geoembed.ground import grid as grids
from geoembed.ground.grid import Grid
from geoembed.outputs import atomic, digests, disk, documents
from geoembed.outputs.records import Record
from geoembed.progress import Progress
from geoembed.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIX = ".zarr"
ROOT = "zarr.json"
KEY = "geoembed"
"""The attribute of the root group that holds the record, with its digest."""

CHUNK = 2**22
"""Bytes of a chunk of vectors, about."""

MOST_GRIDS = 200
"""Grids beyond which chips lie on no regular ones."""

_OURS = re.compile(r"(?:[^/]+/){0,3}(?:zarr\.json|c(?:/\d+)*)")
"""Path in a store of what a Zarr array or group has."""


def require() -> Any:
    """Return zarr; raises EmbeddingsError where version 3 is not installed."""
    try:
        import zarr
        from zarr.codecs import Crc32cCodec  # noqa: F401 (version 3 has it)
    except ImportError:
        raise EmbeddingsError("Zarr: is written by zarr 3; pip install 'zarr>=3'") from None
    return zarr


def write(path: Path, file: Embeddings, dtype: str, made_from: Record) -> Generator[Progress, None, None]:
    """Write an embeddings file as a Zarr store, a folder that appears whole; memory holds a chunk.

    Raises EmbeddingsError where chips lie on more than MOST_GRIDS grids, and where vectors are damaged.
    """
    zarr = require()
    cells = grids.cells(file.grids, file.chip_id)
    parts = list(cells.by_grid())
    if len(parts) > MOST_GRIDS:
        raise EmbeddingsError(
            f"{file.path}: its chips lie on {len(parts):,} grids, too many for Zarr; give -o x.parquet"
        )
    there = atomic.target(path)
    there.parent.mkdir(parents=True, exist_ok=True)
    with atomic.private(there) as part:
        root = zarr.open_group(part, mode="w", zarr_format=3)
        done = 0
        for grid, positions in parts:
            group = root.create_group(grid.name)
            for n in _write_grid(group, file, grid, cells.columns[positions], cells.rows[positions], positions, dtype):
                done += n
                yield Progress(done, len(file), "chips")
        about = {"geoembed_version": __version__, "made_from": made_from.to_json(), "digest": file.digest}
        about |= {"files": _digests(part), "attributes": file.attributes}
        root.attrs.update(conventions.zarr_root(file, dtype) | {KEY: documents.sealed(about)})
        disk.sync_all(part, [found for found in part.rglob("*") if found.is_file()])
        disk.rename(part, there)
    disk.sync_folder(there.parent)


def _write_grid(
    group: Any,
    file: Embeddings,
    grid: Grid,
    columns: NDArray[np.int64],
    rows: NDArray[np.int64],
    positions: NDArray[np.int64],
    dtype: str,
) -> Iterator[int]:
    """Write the chips of a grid, chunk by chunk, and yield how many each chunk has."""
    x, y = columns - columns.min(), (rows.max() - rows if grid.northward else rows - rows.min())
    width, height = int(x.max()) + 1, int(y.max()) + 1
    upper = int(rows.max() if grid.northward else rows.min())
    corner = grid.upper_left(int(columns.min()), upper)
    group.attrs.update(conventions.zarr_grid(grid, (height, width), corner) | {"grid": grid.name})
    side = max(1, int((CHUNK / (np.dtype(dtype).itemsize * max(file.widths.values()))) ** 0.5))
    chunk = min(side, height), min(side, width)
    _write_places(group, grid, corner, int(columns.min()), upper, (height, width))
    _write_labels(group, file, (y, x), positions, (height, width), chunk)
    arrays = {name: _array(group, name, (height, width, size), dtype, (*chunk, size), file.widths[FUSED])
              for name, size in file.widths.items()}  # fmt: skip
    tile = y // chunk[0] * -(-width // chunk[1]) + x // chunk[1]
    order = np.lexsort([positions, tile])
    for members in np.split(order, np.flatnonzero(np.diff(tile[order])) + 1):
        top, left = y[members[0]] // chunk[0] * chunk[0], x[members[0]] // chunk[1] * chunk[1]
        inside = slice(top, min(top + chunk[0], height)), slice(left, min(left + chunk[1], width))
        for name, array in arrays.items():
            block = np.full((inside[0].stop - top, inside[1].stop - left, file.widths[name]), np.nan, dtype)
            block[y[members] - top, x[members] - left] = file.vectors(name, positions[members])
            array[inside] = block
        yield len(members)


def _write_places(
    group: Any, grid: Grid, corner: tuple[float, float], column: int, row: int, shape: tuple[int, int]
) -> None:
    """Write the coordinates of cells: their centres in the grid's CRS, and the columns and rows that chip ids have."""
    units = "degree" if crs_.circle(grid.crs) else "m" if crs_.metres_per_unit(grid.crs) == 1.0 else "1"
    steps = np.arange(shape[1]), np.arange(shape[0])
    values = {
        "x": ("x", corner[0] + (steps[0] + 0.5) * grid.width, {"units": units, "axis": "X"}),
        "y": ("y", corner[1] - (steps[1] + 0.5) * grid.height, {"units": units, "axis": "Y"}),
        "column": ("x", column + steps[0], {}),
        "row": ("y", row - steps[1] * grid.upward, {}),
    }
    for name, (along, numbers, attributes) in values.items():
        array = group.create_array(name, data=numbers, dimension_names=[along])
        array.attrs.update(attributes)


def _write_labels(
    group: Any,
    file: Embeddings,
    where: tuple[NDArray[np.int64], NDArray[np.int64]],
    positions: NDArray[np.int64],
    shape: tuple[int, int],
    chunk: tuple[int, int],
) -> None:
    """Write which chip a cell is, by its position in the embeddings file, its split and its area; 0 or -1: none."""
    areas, area_of = np.unique(file.aoi, return_inverse=True)
    splits = np.array([SPLITS.index(split) for split in file.split[positions]])
    flags = {
        "position": (np.int64, -1, positions, {"long_name": "row of the embeddings file"}),
        "split": (np.uint8, 0, splits + 1, _flags(("none", *SPLITS))),
        "aoi": (np.uint16, 0, area_of[positions] + 1, {"areas": ["", *areas.tolist()]}),
    }
    for name, (kind, fill, values, attributes) in flags.items():
        numbers = np.full(shape, fill, kind)
        numbers[where] = values
        array = group.create_array(name, data=numbers, chunks=chunk, fill_value=fill, dimension_names=["y", "x"])
        array.attrs.update(attributes)


def _flags(words: tuple[str, ...]) -> dict[str, Any]:
    return {"flag_values": list(range(len(words))), "flag_meanings": " ".join(words)}


def _array(group: Any, name: str, shape: tuple[int, ...], dtype: str, chunk: tuple[int, ...], usual: int) -> Any:
    """Return a new array of vectors, NaN where there are none; each chunk has a checksum."""
    from zarr.codecs import Crc32cCodec, ZstdCodec

    along = "feature" if shape[2] == usual else f"{name}_feature"
    return group.create_array(
        name, shape=shape, dtype=dtype, chunks=chunk, fill_value=float("nan"),
        compressors=[ZstdCodec(level=5), Crc32cCodec()], dimension_names=["y", "x", along],
    )  # fmt: skip


def about(path: Path) -> dict[str, Any] | None:
    """Return what a store of ours says of itself; None where it says nothing that its digest confirms."""
    try:
        value = json.loads((path / ROOT).read_text(encoding="utf-8"))["attributes"][KEY]
        return documents.opened(json.dumps(value).encode())
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def record_of(path: Path) -> Record | None:
    """Return the record of a store; None where it is no store of ours, or damaged."""
    found = about(path)
    return Record.from_json(found.get("made_from")) if found else None


def faults(path: Path) -> list[str]:
    """Return in a line each what of a store is missing or damaged; all of it is read."""
    found = about(path) or {}
    files = found.get("files", {})
    return [f"{bad}: is missing or damaged; export it again" for bad in documents.damaged(path, files)]


def require_ours(path: Path, *, overwrite: bool) -> None:
    """Raise StaleError where something stands in a store's place that geoembed did not make, or that must stay."""
    if not path.exists() and not path.is_symlink():
        return
    is_store = path.is_dir() and KEY in _text(path / ROOT)
    if not is_store:
        raise StaleError(f"{path}: exists and was not made by geoembed; choose another -o, or move it away")
    stranger = next((found for found in _files(path) if not _OURS.fullmatch(found)), None)
    if stranger:
        raise StaleError(f"{path / stranger}: was not made by geoembed; move it away, or choose another -o")
    if about(path) is None and not overwrite:
        raise StaleError(f"{path}: is damaged; pass --overwrite to make it again")


def remove(path: Path) -> None:
    """Delete a store that is ours."""
    require_ours(path, overwrite=True)
    there = atomic.target(path)
    if there.is_dir():
        (there / ROOT).unlink(missing_ok=True)  # what is half deleted is no store
        shutil.rmtree(there)


def _digests(path: Path) -> dict[str, str]:
    """Return the SHA-256 of the files of a store, but for that of its root, by their paths in it."""
    return {name: digests.of_bytes(path / name) for name in _files(path) if name != ROOT}


def _files(path: Path) -> list[str]:
    return sorted(found.relative_to(path).as_posix() for found in path.rglob("*") if found.is_file())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
