"""Source rasters on one lattice of pixels: which belong together, and windows of their mosaic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.errors import LabelError
from geoembed.ground import crs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BLOCK_PIXELS = 2**23
"""Pixels held at a time; with float64 and a mask some 75 MB."""

BLOCK_SIDE = 4096
"""Pixels along a block, more where the file's own blocks are wider: a strip is decoded whole."""

SAME_LATTICE = 0.01
"""Corners that differ by less than this share of a pixel are the same: tiles store their corners rounded."""


@dataclass(frozen=True)
class Raster:
    """Band 1 of a raster file: pixels dx wide and dy high from the upper left corner, value = stored * scale + offset.

    categorical: the file says that its values are names (a colour table or category names).
    """

    path: Path
    crs: str
    left: float
    top: float
    dx: float
    dy: float
    width: int
    height: int
    blocks: tuple[int, int]
    scale: float
    offset: float
    bands: int
    categorical: bool


@dataclass(frozen=True)
class Window:
    """Columns [left, right) and rows [top, bottom) of a lattice."""

    left: int
    top: int
    right: int
    bottom: int


def describe(path: Path) -> Raster:
    """Read a raster's header; raises LabelError where it cannot be opened or has no place on Earth."""
    import rasterio
    from rasterio.enums import ColorInterp

    try:
        with rasterio.open(path) as source:
            transform = source.transform
            if source.crs is None:
                raise LabelError(f"{path}: has no CRS; assign one with rio edit-info --crs")
            if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
                raise LabelError(f"{path}: rotated, flipped or without a place; warp it with gdalwarp first")
            return Raster(
                path=path,
                crs=source.crs.to_wkt(),
                left=transform.c,
                top=transform.f,
                dx=transform.a,
                dy=-transform.e,
                width=source.width,
                height=source.height,
                blocks=source.block_shapes[0],
                scale=source.scales[0],
                offset=source.offsets[0],
                bands=source.count,
                categorical=source.colorinterp[0] == ColorInterp.palette or _has_category_names(path),
            )
    except rasterio.errors.RasterioError as error:
        fault = "missing" if not path.exists() else f"not a raster that GDAL reads ({str(error).splitlines()[0]})"
        raise LabelError(f"{path}: {fault}; give a raster file") from None


def _has_category_names(path: Path) -> bool:
    """Look into GDAL's sidecar, the one place where it keeps a GeoTIFF's category names; rasterio does not tell."""
    sidecar = path.with_name(f"{path.name}.aux.xml")
    return sidecar.exists() and "<CategoryNames" in sidecar.read_text(encoding="utf-8", errors="replace")


def by_lattice(rasters: Sequence[Raster]) -> list[list[Raster]]:
    """Group rasters that share CRS, pixel size and pixel corners, in the order given."""
    lattices: list[list[Raster]] = []
    for raster in rasters:
        for members in lattices:
            if _same_lattice(members[0], raster):
                members.append(raster)
                break
        else:
            lattices.append([raster])
    return lattices


def _same_lattice(one: Raster, other: Raster) -> bool:
    pixels = max(one.width, one.height, other.width, other.height)
    if not crs.same(one.crs, other.crs):
        return False
    if max(abs(one.dx / other.dx - 1), abs(one.dy / other.dy - 1)) * pixels > SAME_LATTICE:
        return False
    column, row = (other.left - one.left) / one.dx, (one.top - other.top) / one.dy
    return max(abs(column - round(column)), abs(row - round(row))) < SAME_LATTICE


def extent(raster: Raster, lattice: Raster) -> tuple[int, int, int, int]:
    """Return first column, first row and the columns and rows past the last, in pixels of the lattice."""
    column = round((raster.left - lattice.left) / lattice.dx)
    row = round((lattice.top - raster.top) / lattice.dy)
    return column, row, column + raster.width, row + raster.height


def block_size(members: Sequence[Raster]) -> tuple[int, int]:
    """Return width and height of the blocks, multiples of the files' own."""
    rows, columns = (max(raster.blocks[axis] for raster in members) for axis in (0, 1))
    width = columns * max(1, BLOCK_SIDE // columns)
    height = rows * max(1, BLOCK_PIXELS // width // rows)
    return width, min(height, max(BLOCK_PIXELS // width, 1))


def mosaic(members: Sequence[Raster], window: Window, *, scaled: bool) -> tuple[Any, set[Path]]:
    """Read a window of a lattice, first valid pixel in order; None where no raster reaches into it."""
    filled: NDArray[Any] | None = None
    empty = np.ones((window.bottom - window.top, window.right - window.left), dtype=bool)
    used: set[Path] = set()
    for raster in members:
        left, top, right, bottom = extent(raster, members[0])
        inner = Window(
            max(left, window.left), max(top, window.top), min(right, window.right), min(bottom, window.bottom)
        )
        if inner.right <= inner.left or inner.bottom <= inner.top:
            continue
        used.add(raster.path)
        values, valid = _read(raster, inner, left, top)
        if scaled and (raster.scale != 1.0 or raster.offset != 0.0):
            values = values.astype(np.float64) * raster.scale + raster.offset
        dtype = values.dtype if filled is None else np.result_type(values, filled)
        filled = np.zeros(empty.shape, dtype=dtype) if filled is None else filled.astype(dtype, copy=False)
        rows = slice(inner.top - window.top, inner.bottom - window.top)
        columns = slice(inner.left - window.left, inner.right - window.left)
        take = empty[rows, columns] & valid
        filled[rows, columns][take] = values[take]
        empty[rows, columns] &= ~valid
    return None if filled is None else np.ma.MaskedArray(filled, mask=empty), used


def _read(raster: Raster, window: Window, left: int, top: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read a window of a raster and which of its pixels are valid: no nodata tag, no mask band, not NaN."""
    import rasterio
    from rasterio import windows

    place = windows.Window(window.left - left, window.top - top, window.right - window.left, window.bottom - window.top)
    try:
        with rasterio.open(raster.path) as source:
            stored = source.read(1, window=place, masked=True)
    except rasterio.errors.RasterioError as error:
        raise LabelError(f"{raster.path}: cannot be read ({str(error).splitlines()[0]}); mend the file") from None
    values, valid = stored.data, ~np.ma.getmaskarray(stored)
    if values.dtype.kind == "f":
        valid &= ~np.isnan(values)
    return values, valid
