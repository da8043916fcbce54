"""Rasters of vectors, as others publish them: a band per dimension, pooled over the outlines of chips."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window as Part

from geoembed.errors import EmbeddingsError, ImageryError, of_library
from geoembed.exchange import encodings
from geoembed.ground import crs as crs_
from geoembed.imagery import addresses, mosaics, rasters, sources
from geoembed.imagery.drivers import WARY
from geoembed.imagery.rasters import ABSURD, Encoding, Raster
from geoembed.labels import zonal
from geoembed.progress import Progress

if TYPE_CHECKING:
    from geoembed.exchange.pooling import Pool
    from geoembed.ground.grid import Cells
    from geoembed.imagery.windows import Window

ALPHAEARTH, SCALED, PLAIN = "alphaearth", "scaled", "plain"
BLOCK = 2**25
"""Numbers that are read at a time, about; more where the file's own blocks are larger."""

SCALES = "_scales"
"""What the name of a file of scales ends with, as those of TESSERA do."""

ARRAY = ".npy"
SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True)
class Tile:
    """A raster of vectors.

    raster: where it lies, north up, with a band per dimension.
    upward: whether its rows are stored from south to north, as AlphaEarth's are.
    encoding: how its numbers are stored: ALPHAEARTH, SCALED (by `scales`) or PLAIN (scale, offset, nodata of bands).
    scales: file of scales, a raster of one band or of as many, or an array; None where there is none.
    array: file of the numbers, (rows, columns, dimensions), where the raster tells the place alone.
    """

    raster: Raster
    upward: bool
    encoding: str
    scales: str | None = None
    array: str | None = None

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Return the names of the dimensions."""
        return self.raster.channels

    @property
    def files(self) -> tuple[str, ...]:
        """Return the local files that it reads."""
        more = (self.array, self.scales)
        return (*(path for path in more if path is not None), *self.raster.files)


def find(locations: Sequence[str], scales: str | None) -> list[Tile]:
    """Return the rasters behind addresses, globs or folders, in name order, with the scales beside them.

    scales: the file of scales of a single raster; None: the file beside each that is called after it.

    Raises EmbeddingsError and ImageryError where one cannot be read, or they do not go together.
    """
    arrays = [location for location in locations if location.lower().endswith(ARRAY)]
    found = [*arrays, *sources.singles([location for location in locations if location not in arrays])]
    found = [address for address in found if not Path(address).stem.endswith(SCALES)]
    if not found:
        raise EmbeddingsError(f"{locations[0]}: holds scales alone; name the numbers that they are for")
    if scales is not None and len(found) > 1:
        raise EmbeddingsError(f"--scales {scales}: is for one raster, and there are {len(found)}; put them beside each")
    tiles = [_array(address, scales) if address in arrays else _raster(address, scales) for address in found]
    for tile in tiles[1:]:
        if len(tile.dimensions) != len(tiles[0].dimensions):
            raise EmbeddingsError(
                f"{tile.raster.address}: has {len(tile.dimensions)} dimensions, and {tiles[0].raster.address} has"
                f" {len(tiles[0].dimensions)}; import them apart"
            )
    return tiles


def _raster(address: str, scales: str | None) -> Tile:
    with rasters.dataset(address) as file, rasters.gdal(far=rasters.is_far(address, WARY)):
        raster, upward = _place(address, file)
        types, nodata = set(file.dtypes), file.nodatavals[0]
        if any(name.startswith("complex") for name in types):
            raise EmbeddingsError(f"{address}: is complex, which no vectors of embeddings are; give another")
        is_small, has_scale = types == {"int8"}, any(scale != 1.0 for scale in file.scales)
        named = tuple(name or "" for name in file.descriptions) == encodings.AXES
        if is_small and file.count == len(encodings.AXES) and (named or nodata == encodings.MASKED):
            return Tile(raster, upward, ALPHAEARTH)
        found = scales or _beside(address)
        if found:
            return Tile(raster, upward, SCALED, scales=found)
        if is_small and not has_scale:
            fault = (
                f"is int8 without a scale, and no AlphaEarth ({len(encodings.AXES)} bands, nodata {encodings.MASKED})"
            )
            raise EmbeddingsError(f"{address}: {fault}; name the file of its scales with --scales")
        return Tile(raster, upward, PLAIN)


def _place(address: str, file: Any) -> tuple[Raster, bool]:
    """Return where an open data set lies, north up, and whether its rows are stored from south to north."""
    if file.crs is None:
        raise EmbeddingsError(f"{address}: has no CRS; assign it: rio edit-info --crs EPSG:CODE {address}")
    crs, transform = crs_.horizontal(file.crs.to_wkt()), rasters.straight(file)
    if not crs_.is_on_earth(crs):
        raise EmbeddingsError(
            f"{address}: its CRS leads to no place on the Earth; assign it: rio edit-info --crs EPSG:CODE {address}"
        )
    if transform.b or transform.d or transform.a <= 0 or transform.e == 0:
        raise EmbeddingsError(f"{address}: is rotated or mirrored; warp it first: gdalwarp {address} OUT.tif")
    upward = transform.e > 0
    if upward:
        transform = Affine(transform.a, 0.0, transform.c, 0.0, -transform.e, transform.f + transform.e * file.height)
    names = tuple(name or f"b{number:03d}" for number, name in enumerate(file.descriptions, 1))
    values = zip(file.dtypes, file.scales, file.offsets, file.nodatavals, strict=True)
    rows, columns = file.block_shapes[0]
    if rows * columns * file.count * np.dtype(np.float32).itemsize > rasters.MOST_BLOCK:
        raise ImageryError(
            f"{address}: its blocks are too large to read; tile it: gdal_translate -co TILED=YES {address} OUT.tif"
        )
    return Raster(
        crs=crs,
        transform=transform,
        height=file.height,
        width=file.width,
        address=address,
        bands=tuple(range(1, file.count + 1)),
        channels=names if len(set(names)) == len(names) else tuple(f"b{k:03d}" for k in range(1, file.count + 1)),
        encodings=tuple(Encoding(*value) for value in values),
        files=() if addresses.is_far(address) else tuple(path for path in file.files if Path(path).is_file()),
        blocks=(rows, columns),
        count=file.count,
        driver=file.driver,
        far=rasters.is_far(address, WARY),
    ), upward


def _array(address: str, scales: str | None) -> Tile:
    """Return a NumPy array of vectors whose place a GeoTIFF of the same name tells, as TESSERA publishes them."""
    path = Path(address)
    place = next((path.with_suffix(suffix) for suffix in SUFFIXES if path.with_suffix(suffix).exists()), None)
    if place is None:
        raise EmbeddingsError(f"{path}: tells no place; put {path.stem}.tiff, which has its CRS and extent, beside it")
    values, found = _mapped(path), scales or _beside(address)
    with rasters.dataset(str(place)) as file:
        raster, upward = _place(str(place), file)
    if values.ndim != 3 or values.shape[:2] != (raster.height, raster.width):
        raise EmbeddingsError(
            f"{path}: has the shape {values.shape}, and {place} {raster.height} x {raster.width} pixels"
        )
    if found is None and values.dtype.kind != "f":
        raise EmbeddingsError(f"{path}: is {values.dtype} without a scale; name the file of its scales with --scales")
    count = values.shape[2]
    names = tuple(f"b{number:03d}" for number in range(1, count + 1))
    raster = Raster(
        raster.crs, raster.transform, raster.height, raster.width, raster.address, tuple(range(1, count + 1)), names,
        (Encoding(values.dtype.name),) * count, files=raster.files, count=count,
    )  # fmt: skip
    return Tile(raster, upward, PLAIN if found is None else SCALED, found, address)


def _beside(address: str) -> str | None:
    """Return the file of scales that lies beside a file and is called after it."""
    path = Path(address)
    there = [path.with_name(f"{path.stem}{SCALES}{suffix}") for suffix in (*SUFFIXES, ARRAY)]
    return next((str(found) for found in there if addresses.is_path(address) and found.exists()), None)


def _mapped(path: Path) -> NDArray[Any]:
    """Open a NumPy array without reading it; raises EmbeddingsError."""
    try:
        values: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, TypeError, OverflowError, SyntaxError) as error:
        raise EmbeddingsError(f"{path}: cannot be read as a NumPy array ({of_library(error)}); give another") from None
    if values.dtype.kind not in "fiu":
        raise EmbeddingsError(f"{path}: holds {values.dtype}, no numbers; give another")
    return values


def pool(tiles: Sequence[Tile], cells: Cells, into: Pool) -> Generator[Progress, None, NDArray[np.float64]]:
    """Pool the vectors of pixels over the outlines of chips, each pixel by how much of it lies in the chip.

    A pixel counts where all its dimensions are valid. Of tiles that overlap, a later one counts where chips are not
    covered by those before. Returns the share of each chip with valid pixels, (N,). Raises ImageryError where pixels
    cannot be read.
    """
    valid = np.zeros(len(cells))
    for number, tile in enumerate(tiles):
        open_chips = np.flatnonzero(valid < 1.0 - 1e-6)
        mosaic = mosaics.gather([tile.raster])[0]
        with closing(_Reader(tile)) as reader:
            for part in zonal.covered(mosaic, cells[open_chips], _block(tile)):
                stored, scales, inside = reader.read(part.window)
                for k, chip in enumerate(open_chips[part.chips].tolist()):
                    pixels, shares = part.pixels[k], part.shares[k]
                    vectors = reader.decoded(stored[:, pixels].T, None if scales is None else scales[pixels])
                    usable = np.isfinite(vectors).all(axis=1) & inside[pixels] & (shares > 0)
                    into.add(np.full(usable.sum(), chip), vectors[usable], shares[usable])
                    valid[chip] += shares[usable].sum() / part.areas[k]
                yield Progress(int(100 * (number + part.done) / len(tiles)), 100, "% of tiles")
    return np.minimum(valid, 1.0)


def _block(tile: Tile) -> tuple[int, int]:
    """Return width and height of the blocks to read: some whole blocks of the file."""
    rows, columns = (1, tile.raster.width) if tile.array else tile.raster.blocks
    side = max(1, int(math.sqrt(BLOCK / len(tile.dimensions))))
    width = columns * max(1, side // columns)
    return width, rows * max(1, side * side // width // rows)


class _Reader:
    """Reads windows of a tile, north up."""

    def __init__(self, tile: Tile) -> None:
        self._tile = tile
        self._array = None if tile.array is None else _mapped(Path(tile.array))
        self._file = None if tile.array else rasters.reopened(tile.raster)
        self._scales: Any = None
        if tile.scales is not None:
            is_array = tile.scales.lower().endswith(ARRAY)
            self._scales = _mapped(Path(tile.scales)) if is_array else rasters.dataset(tile.scales)
            self._require_scales()

    def close(self) -> None:
        """Close what is open."""
        for file in (self._file, self._scales):
            if file is not None and hasattr(file, "close"):
                file.close()

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[Any] | None, NDArray[np.bool_]]:
        """Return stored numbers (D, pixels), scales (pixels, 1 or D), and which pixels lie in the tile, of a window.

        Pixels follow row by row from the north.
        """
        raster = self._tile.raster
        stored = self._part(self._array if self._array is not None else self._file, window, raster.address)
        scales = None
        if self._scales is not None:
            found = self._part(self._scales, window, str(self._tile.scales))
            scales = found.reshape(len(found), -1).T.astype(np.float32)
        rows, columns = _overlap(window, raster)
        inside = np.zeros((window.height, window.width), bool)
        inside[rows, columns] = True
        return stored.reshape(len(stored), -1), scales, inside.reshape(-1)

    def decoded(self, stored: NDArray[Any], scales: NDArray[Any] | None) -> NDArray[np.float32]:
        """Return the values of stored numbers (pixels, D), with NaN where there is none."""
        tile = self._tile
        if tile.encoding == ALPHAEARTH:
            return encodings.alphaearth(stored)
        if scales is not None:
            return encodings.scaled(stored, scales)
        values = stored.astype(np.float32)
        by = tile.raster.encodings
        absent = np.array([math.nan if one.nodata is None else one.nodata for one in by])
        values[(stored == absent) | ~(np.abs(values) < ABSURD)] = np.nan
        scale, offset = (np.array([getattr(one, name) for one in by], np.float32) for name in ("scale", "offset"))
        return values * scale + offset

    def _part(self, source: Any, window: Window, address: str) -> NDArray[Any]:
        """Return a window as (bands, rows, columns), north up, 0 beyond the tile."""
        raster = self._tile.raster
        rows, columns = _overlap(window, raster)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        left, top = window.column + columns.start, window.row + rows.start
        first = raster.height - top - height if self._tile.upward else top
        if isinstance(source, np.ndarray):
            box = source[first : first + height, left : left + width]
            found = np.moveaxis(box.reshape(height, width, -1), 2, 0)
        else:
            try:
                with rasters.gdal(far=raster.far):
                    found = source.read(window=Part(left, first, width, height))
            except rasters.FAULTS as error:
                fault = of_library(error)
                remedy = rasters.remedy_of(raster, fault)
                raise ImageryError(f"{address}: its pixels cannot be read ({fault}); {remedy}") from None
        whole = np.zeros((len(found), window.height, window.width), found.dtype)
        whole[:, rows, columns] = found[:, ::-1] if self._tile.upward else found
        return whole

    def _require_scales(self) -> None:
        raster, scales = self._tile.raster, self._scales
        if isinstance(scales, np.ndarray):
            size, count = scales.shape[:2], 1 if scales.ndim == 2 else scales.shape[-1]
        else:
            size, count = (scales.height, scales.width), scales.count
        if size != (raster.height, raster.width) or count not in (1, len(raster.channels)):
            shape, wanted = (
                (*size, count),
                f"{raster.height} x {raster.width} pixels of {len(raster.channels)} dimensions",
            )
            raise EmbeddingsError(f"{self._tile.scales}: its scales have the shape {shape}, for {wanted}; give others")


def _overlap(window: Window, raster: Raster) -> tuple[slice, slice]:
    """Return which rows and columns of a window lie in a raster; none where it lies beyond."""
    return _common(window.row, window.height, raster.height), _common(window.column, window.width, raster.width)


def _common(first: int, length: int, size: int) -> slice:
    start = min(max(0, -first), length)
    return slice(start, max(start, min(length, size - first)))
