"""Windows of rasters: which a box needs, and reading their numbers and which of these are valid."""

import math
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio import windows
from rasterio.enums import MaskFlags

from geoembed.errors import ImageryError, of_library, shown
from geoembed.ground import crs as crs_
from geoembed.ground.lattice import GeoBox
from geoembed.imagery import rasters
from geoembed.imagery.rasters import ABSURD, Raster

MARGIN = 3
"""Source pixels read beyond what a kernel needs at a box's edge."""


@dataclass(frozen=True)
class Window:
    """Pixels of a raster.

    row, column: of the upper left pixel.
    height, width: number of rows and columns.
    turn: -360, 0 or 360: longitude in the raster minus longitude in the box that needs the pixels.
    """

    row: int
    column: int
    height: int
    width: int
    turn: float = 0.0


class Readers:
    """Open data sets of one thread, at most `limit`; threads must not share GDAL's handles.

    absurd: how many numbers were taken for no value as they are infinite or ABSURD, by address.
    """

    def __init__(self, limit: int = 48) -> None:
        self.absurd: Counter[str] = Counter()
        self._open: OrderedDict[str, Any] = OrderedDict()
        self._limit = limit

    def __call__(self, raster: Raster) -> Any:
        """Return a raster's open data set; raises ImageryError where its size or place is not as the raster says."""
        if raster.address in self._open:
            self._open.move_to_end(raster.address)
            return self._open[raster.address]
        source = rasters.reopened(raster)
        if (source.width, source.height) != (raster.width, raster.height) or not rasters.straight(source).almost_equals(
            raster.transform, precision=1e-6
        ):
            raise ImageryError(
                f"{raster.address}: lies elsewhere or is another size than its name says; remove or mend it"
            )
        self._open[raster.address] = source
        if len(self._open) > self._limit:
            self._open.popitem(last=False)[1].close()
        return source

    def close(self) -> None:
        """Close all data sets."""
        while self._open:
            self._open.popitem()[1].close()


def absurd(counts: Mapping[str, int]) -> Iterator[str]:
    """Yield a line for each data set with numbers that were taken for no value though no tag says so."""
    for address, count in counts.items():
        fault = f"{count:,} pixels are infinite or {ABSURD:g} and more, and taken for no value"
        name = shown(address)
        yield f"{name}: {fault}; if they stand for one value, tag it: gdal_edit.py -a_nodata NUMBER {name}"


def needed(raster: Raster, box: GeoBox) -> Iterator[Window]:
    """Yield the windows of a raster that a box needs: none or one, or several where the box crosses 180 degrees."""
    circle = crs_.circle(raster.crs)
    spans, bottom, top = _spans(box, raster.crs, circle)
    inverse = ~raster.transform
    for (west, east), turn in product(spans, (0.0, -circle, circle) if circle else (0.0,)):
        column_0, row_0 = inverse @ (west + turn, top)
        column_1, row_1 = inverse @ (east + turn, bottom)
        if column_1 <= 0 or row_1 <= 0 or column_0 >= raster.width or row_0 >= raster.height:
            continue
        # GDAL's kernels reach two of the coarser pixels.
        margin = MARGIN + math.ceil(2 * max((column_1 - column_0) / box.width, (row_1 - row_0) / box.height))
        first_row, first_column = max(0, math.floor(row_0) - margin), max(0, math.floor(column_0) - margin)
        last_row = min(raster.height, math.ceil(row_1) + margin)
        last_column = min(raster.width, math.ceil(column_1) + margin)
        yield Window(first_row, first_column, last_row - first_row, last_column - first_column, turn)


def _spans(box: GeoBox, crs: str, circle: float | None) -> tuple[list[tuple[float, float]], float, float]:
    """Return where a box lies in another CRS: spans of x, and the lowest and highest y; no span where it lies nowhere.

    Longitudes are within half a circle of 0, as GDAL has them, unless they are the box's own.
    """
    points = box.mesh(crs).reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return [], 0.0, 0.0
    (left, bottom), (right, top) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    if circle is None or crs_.same(crs, box.crs):
        return [(left, right)], bottom, top
    half = circle / 2
    if right - left > half:  # the box holds a pole
        return [(-half, half)], bottom if top > 0.0 else -half / 2, half / 2 if top > 0.0 else top
    turns = circle * round((left + right) / 2 / circle)
    left, right = left - turns, right - turns
    if right > half:
        return [(left, half), (-half, right - circle)], bottom, top
    if left < -half:
        return [(left + circle, half), (-half, right)], bottom, top
    return [(left, right)], bottom, top


def read(
    raster: Raster, chosen: Sequence[int], window: Window, readers: Readers, limit: float = ABSURD
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the stored numbers of a raster's chosen channels in a window, (C, h, w), and which of them are valid.

    Invalid are nodata, what a mask or an alpha band hides, and what is not below a limit in size, such as NaN and
    infinity. Bands of several types are read as the type that holds all. Raises ImageryError.
    """
    source = readers(raster)
    bands = [raster.bands[i] for i in chosen]
    part = windows.Window(window.column, window.row, window.width, window.height)
    try:
        with rasters.gdal(far=raster.far):
            types, stored, valid = _pixels(source, bands, part)
    except rasters.FAULTS as error:
        fault = of_library(error)
        raise ImageryError(
            f"{raster.address}: its pixels cannot be read ({fault}); {rasters.remedy_of(raster, fault)}"
        ) from None
    for i, dtype, numbers, is_valid in zip(chosen, types, stored, valid, strict=True):
        nodata = raster.encodings[i].nodata
        if nodata is not None and math.isfinite(nodata):
            is_valid &= _differ(numbers.astype(dtype, copy=False), nodata)
    if stored.dtype.kind == "f":
        valid &= ~np.isnan(stored)
        absurd = valid & ~(np.abs(stored) < limit)
        if absurd.any():
            readers.absurd[raster.address] += int(absurd.sum())
            valid &= ~absurd
    return stored, valid


def _pixels(
    source: Any, bands: Sequence[int], part: windows.Window
) -> tuple[list[np.dtype[Any]], NDArray[Any], NDArray[np.bool_]]:
    """Return the types of bands, their stored numbers in a window, and which of these no mask hides."""
    names = source.dtypes
    types = [np.dtype(names[band - 1]) for band in bands]
    runs = [bands] if len(set(types)) == 1 else [[band] for band in bands]
    stored: NDArray[Any] = np.concatenate([source.read(run, window=part) for run in runs])
    return types, stored, _unmasked(source, bands, part)


def _unmasked(source: Any, bands: Sequence[int], part: windows.Window) -> NDArray[np.bool_]:
    """Tell which pixels are hidden by no mask, (C, h, w): of the data set (perhaps an alpha band) or of each band."""
    shape = (len(bands), part.height, part.width)
    flags_of = source.mask_flag_enums
    flags = [flags_of[band - 1] for band in bands]
    if all(flag in ([MaskFlags.all_valid], [MaskFlags.nodata]) for flag in flags):
        return np.ones(shape, dtype=bool)
    if all(MaskFlags.per_dataset in flag for flag in flags):
        return np.broadcast_to(source.read_masks(bands[0], window=part) != 0, shape).copy()
    masks = [
        np.ones(shape[1:], dtype=bool) if flag == [MaskFlags.nodata] else source.read_masks(band, window=part) != 0
        for band, flag in zip(bands, flags, strict=True)
    ]
    return np.stack(masks)


def _differ(numbers: NDArray[Any], nodata: float) -> NDArray[np.bool_]:
    """Tell which numbers differ from the nodata tag, in their own type.

    Floats that differ in the last digits only count as equal, as in GDAL (ARE_REAL_EQUAL). Its sum overflows near the
    limit of the type, so that a tag with fewer digits than the numbers (-3.40282e+38) is equal to them too.
    """
    if numbers.dtype.kind != "f":
        limits = np.iinfo(numbers.dtype)
        representable = nodata == int(nodata) and limits.min <= nodata <= limits.max
        return np.asarray(numbers != int(nodata)) if representable else np.ones(numbers.shape, dtype=bool)
    with np.errstate(over="ignore", invalid="ignore"):
        tag = numbers.dtype.type(nodata)
        differ = np.abs(numbers - tag) >= 2 * np.finfo(numbers.dtype).eps * np.abs(numbers + tag)
        return np.asarray(differ & (numbers != tag))
