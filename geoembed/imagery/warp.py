"""From source rasters to the pixels of one place: mosaicked, resampled only where the lattices differ."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.errors import ImageryError
from geoembed.ground import crs as crs_
from geoembed.imagery.rasters import Encoding, Raster, working_type
from geoembed.imagery.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from affine import Affine
    from numpy.typing import NDArray

LARGEST_READ = 2**25
"""Source pixels (all bands) held at a time, per thread; a place that needs more is made in parts."""

FINER = 0.99
"""A source is finer than the chip's pixel when its pixel's side is below this share of it. Less than 1, since one
and the same 10 m differ by up to 0.2 % between neighbouring UTM zones."""

MARGIN = 3
"""Source pixels read beyond what a kernel needs at a place's edge."""


@dataclass(frozen=True)
class Place:
    """Pixels on the ground: CRS (WKT or authority code), transform of the upper left corner, height and width."""

    crs: str
    transform: Affine
    height: int
    width: int

    def part(self, row: int, column: int, height: int, width: int) -> Place:
        """Return the place of a window of this one."""
        from affine import Affine

        return Place(self.crs, self.transform @ Affine.translation(column, row), height, width)


class Readers:
    """Open rasters of one thread, the latest used kept; GDAL handles must not be shared between threads."""

    def __init__(self, limit: int = 48) -> None:
        self._open: OrderedDict[str, Any] = OrderedDict()
        self._limit = limit

    def __call__(self, raster: Raster) -> Any:
        """Return the open data set of a raster; raises ImageryError where it is not what its name or header said."""
        import rasterio

        key = str(raster.path)
        if key in self._open:
            self._open.move_to_end(key)
            return self._open[key]
        try:
            source = rasterio.open(raster.path)
        except rasterio.errors.RasterioError as error:
            raise ImageryError(f"{raster.path}: cannot be read ({str(error).splitlines()[0]}); mend it") from None
        if (source.width, source.height) != (raster.width, raster.height) or not source.transform.almost_equals(
            raster.transform, precision=1e-6
        ):
            raise ImageryError(
                f"{raster.path}: lies elsewhere or is another size than its name says; remove or mend it"
            )
        self._open[key] = source
        if len(self._open) > self._limit:
            self._open.popitem(last=False)[1].close()
        return source

    def close(self) -> None:
        """Close all."""
        while self._open:
            self._open.popitem()[1].close()


def mosaic(rasters: Sequence[Raster], storage: Storage, place: Place, readers: Readers) -> NDArray[Any]:
    """Return the stored numbers of a place, (C, H, W), nodata where no raster has a valid pixel.

    Of several rasters the first valid pixel counts. Rasters that are stored as `storage` says are copied or resampled
    as they are, others are converted.
    """
    position = {channel: i for i, channel in enumerate(storage.encodings)}
    pixels = np.full((len(position), place.height, place.width), storage.nodata, dtype=storage.dtype)
    holes: dict[int, Any] = dict.fromkeys(range(len(position)), True)
    for raster in rasters:
        chosen = [i for i, channel in enumerate(raster.channels) if np.any(holes[position[channel]])]
        if not chosen or not any(True for _ in windows(raster, place)):
            continue
        for i, stored in zip(chosen, _on_place(raster, chosen, storage, place, readers), strict=True):
            row = position[raster.channels[i]]
            np.copyto(pixels[row], stored, where=holes[row])
            holes[row] = storage.invalid(pixels[row])
    return pixels


@dataclass(frozen=True)
class Window:
    """Pixels of a raster, and how far on in x (degrees; else 0) its coordinates run from those of the place."""

    row: int
    column: int
    height: int
    width: int
    turn: float = 0.0


def windows(raster: Raster, place: Place) -> Iterator[Window]:
    """Yield the windows of a raster that a place needs: at 180 degrees two, wherever the raster's longitudes run."""
    left, bottom, right, top = _bounds(place, raster.crs)
    geographic = crs_.is_geographic(raster.crs)
    spans = [(left, right)] if left <= right else [(left, 180.0), (-180.0, right)]
    inverse = ~raster.transform
    for (west, east), turn in product(spans, (0.0, -360.0, 360.0) if geographic else (0.0,)):
        column_0, row_0 = inverse @ (west + turn, top)
        column_1, row_1 = inverse @ (east + turn, bottom)
        if not all(map(math.isfinite, (column_0, row_0, column_1, row_1))):
            continue
        if column_1 <= 0 or row_1 <= 0 or column_0 >= raster.width or row_0 >= raster.height:
            continue
        # GDAL's kernels reach two of the coarser pixels.
        margin = MARGIN + math.ceil(2 * max((column_1 - column_0) / place.width, (row_1 - row_0) / place.height))
        first_row, first_column = max(0, math.floor(row_0) - margin), max(0, math.floor(column_0) - margin)
        last_row = min(raster.height, math.ceil(row_1) + margin)
        last_column = min(raster.width, math.ceil(column_1) + margin)
        yield Window(first_row, first_column, last_row - first_row, last_column - first_column, turn)


def _bounds(place: Place, crs: str) -> tuple[float, float, float, float]:
    """Return a place's left, bottom, right, top in another CRS; left > right over 180 degrees."""
    left, top = place.transform @ (0, 0)
    right, bottom = place.transform @ (place.width, place.height)
    if crs_.same(crs, place.crs):
        return left, bottom, right, top
    bounds: tuple[float, float, float, float] = crs_.transformer(place.crs, crs).transform_bounds(
        left, bottom, right, top
    )
    return bounds


def _lattice_offset(raster: Raster, place: Place) -> tuple[int, int] | None:
    """Return (row, column) in the raster of the place's upper left pixel where the lattices coincide, else None."""
    one, other = raster.transform, place.transform
    if not crs_.same(raster.crs, place.crs):
        return None
    reach = max(place.width, place.height, raster.width, raster.height)
    if abs(one.a / other.a - 1.0) * reach > 1e-3 or abs(one.e / other.e - 1.0) * reach > 1e-3:
        return None
    column, row = ~one @ (other.c, other.f)
    if abs(column - round(column)) > 1e-3 or abs(row - round(row)) > 1e-3:
        return None
    return round(row), round(column)


def _on_place(raster: Raster, chosen: list[int], storage: Storage, place: Place, readers: Readers) -> NDArray[Any]:
    """Return some channels of one raster on a place, as stored numbers, nodata where invalid."""
    offset = _lattice_offset(raster, place)
    if offset is not None:
        row, column = offset
        top, left = max(0, row), max(0, column)
        bottom, right = min(raster.height, row + place.height), min(raster.width, column + place.width)
        if bottom <= top or right <= left:
            return np.full((len(chosen), place.height, place.width), storage.nodata, dtype=storage.dtype)
        stored = _copy(raster, chosen, Window(top, left, bottom - top, right - left), storage, readers)
        beside = ((0, 0), (top - row, row + place.height - bottom), (left - column, column + place.width - right))
        if any(map(any, beside)):
            stored = np.pad(stored, beside, constant_values=storage.nodata)
        return stored
    needed = list(windows(raster, place))
    if max(place.height, place.width) > 1 and any(
        one.height * one.width * len(chosen) > LARGEST_READ for one in needed
    ):
        return _in_parts(raster, chosen, storage, place, readers)
    parts = [storage.pack(_resample(raster, chosen, window, storage, place, readers)) for window in needed]
    for part in parts[1:]:
        np.copyto(parts[0], part, where=storage.invalid(parts[0]))
    return parts[0]


def _in_parts(raster: Raster, chosen: list[int], storage: Storage, place: Place, readers: Readers) -> NDArray[Any]:
    tall = place.height >= place.width
    half = max(place.height, place.width) // 2
    if tall:
        parts = [place.part(0, 0, half, place.width), place.part(half, 0, place.height - half, place.width)]
    else:
        parts = [place.part(0, 0, place.height, half), place.part(0, half, place.height, place.width - half)]
    made = [
        _on_place(raster, chosen, storage, part, readers)
        if any(True for _ in windows(raster, part))
        else np.full((len(chosen), part.height, part.width), storage.nodata, dtype=storage.dtype)
        for part in parts
    ]
    return np.concatenate(made, axis=1 if tall else 2)


def _copy(raster: Raster, chosen: list[int], window: Window, storage: Storage, readers: Readers) -> NDArray[Any]:
    """Return a window's numbers as they are to be stored; nothing is computed where they are stored so already."""
    stored, masked = _read(raster, chosen, window, readers)
    encodings = [raster.encodings[i] for i in chosen]
    targets = [storage.encodings[raster.channels[i]] for i in chosen]
    same = all(one.same_value(other) for one, other in zip(encodings, targets, strict=True))
    if not same or not np.can_cast(stored.dtype, storage.dtype):
        return storage.pack(_convert(_with_nan(stored, masked, encodings), encodings, targets))
    copied = stored.astype(storage.dtype, copy=False)
    for one, number, encoding in zip(copied, stored, encodings, strict=True):
        if encoding.nodata is None or encoding.nodata != storage.nodata:
            one[number == storage.nodata] = storage.beside
        if encoding.nodata is not None and encoding.nodata != storage.nodata:
            one[number == encoding.nodata] = storage.nodata
    if stored.dtype.kind == "f":
        copied[~np.isfinite(stored)] = storage.nodata
    if masked is not None:
        copied[:, masked] = storage.nodata
    return copied


def _read(
    raster: Raster, chosen: list[int], window: Window, readers: Readers
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return the numbers of a window as the file stores them, (C, h, w), and which its mask or alpha band hides."""
    import rasterio
    from rasterio import windows
    from rasterio.enums import MaskFlags

    source = readers(raster)
    place = windows.Window(window.column, window.row, window.width, window.height)
    try:
        stored: NDArray[Any] = source.read([raster.bands[i] for i in chosen], window=place)
        hides = MaskFlags.per_dataset in source.mask_flag_enums[raster.bands[chosen[0]] - 1]
        masked = source.dataset_mask(window=place) == 0 if hides else None
    except rasterio.errors.RasterioError as error:
        fault = str(error).splitlines()[0]
        raise ImageryError(f"{raster.path}: its pixels cannot be read ({fault}); mend or remove it") from None
    return stored, masked


def _with_nan(stored: NDArray[Any], masked: NDArray[np.bool_] | None, encodings: Sequence[Encoding]) -> NDArray[Any]:
    """Return stored numbers as floats that hold them exactly, NaN for nodata, what is masked and what is infinite."""
    numbers = stored.astype(working_type(tuple(encodings)))
    for number, one, encoding in zip(numbers, stored, encodings, strict=True):
        if encoding.nodata is not None and not math.isnan(encoding.nodata):
            number[one == encoding.nodata] = np.nan
    if stored.dtype.kind == "f":
        numbers[np.isinf(numbers)] = np.nan
    if masked is not None:
        numbers[:, masked] = np.nan
    return numbers


def _resample(
    raster: Raster,
    chosen: list[int],
    window: Window,
    storage: Storage,
    place: Place,
    readers: Readers,
) -> NDArray[Any]:
    """Warp a window of a raster to a place, as numbers to store, NaN where invalid; SAR is averaged as power."""
    from affine import Affine
    from rasterio.warp import Resampling, reproject

    encodings = [raster.encodings[i] for i in chosen]
    targets = [storage.encodings[raster.channels[i]] for i in chosen]
    numbers = _with_nan(*_read(raster, chosen, window, readers), encodings)
    name = raster.resampling or ("average" if _is_finer(raster, place) else "bilinear")
    as_power = name in ("bilinear", "average", "cubic") and encodings[0].stored != "value"
    if as_power:
        numbers = np.stack([_to_power(one, encoding) for one, encoding in zip(numbers, encodings, strict=True)])
    warped = np.full((len(numbers), place.height, place.width), np.nan, dtype=numbers.dtype)
    # GDAL is faster where it need not look for nodata; pixels beyond the window are left as they are, NaN.
    nodata = np.nan if np.isnan(numbers).any() else None
    reproject(
        numbers,
        warped,
        src_transform=Affine.translation(-window.turn, 0.0)
        @ raster.transform
        @ Affine.translation(window.column, window.row),
        src_crs=raster.crs,
        dst_transform=place.transform,
        dst_crs=place.crs,
        src_nodata=nodata,
        dst_nodata=nodata,
        init_dest_nodata=nodata is not None,
        resampling=Resampling[name],
        UNIFIED_SRC_NODATA="NO",
    )
    if as_power:
        return np.stack([_from_power(one, target) for one, target in zip(warped, targets, strict=True)])
    return _convert(warped, encodings, targets)


def _is_finer(raster: Raster, place: Place) -> bool:
    """Tell whether a raster's pixels are finer than a place's, by nominal size: the same for all its places."""
    one, other = raster.transform, place.transform
    side = math.sqrt(one.a * -one.e) * crs_.metres_per_unit(raster.crs)
    return side < FINER * math.sqrt(other.a * -other.e) * crs_.metres_per_unit(place.crs)


def _to_power(stored: NDArray[Any], encoding: Encoding) -> NDArray[Any]:
    value = stored * encoding.scale + encoding.offset
    if encoding.stored == "linear":
        return value
    with np.errstate(over="ignore"):
        power: NDArray[Any] = value * value if encoding.stored == "amplitude" else 10.0 ** (value / 10.0)
    return power.astype(stored.dtype, copy=False)


def _from_power(power: NDArray[Any], encoding: Encoding) -> NDArray[Any]:
    """Return stored numbers in dB, gamma0 dB = 10 log10(power); no power at all is no value."""
    with np.errstate(divide="ignore", invalid="ignore"):
        decibel = 10.0 * np.log10(power)
    decibel[~np.isfinite(decibel)] = np.nan
    stored: NDArray[Any] = (decibel - encoding.offset) / encoding.scale
    return stored.astype(power.dtype, copy=False)


def _convert(numbers: NDArray[Any], encodings: Sequence[Encoding], targets: Sequence[Encoding]) -> NDArray[Any]:
    """Turn stored numbers of one encoding into those of another; nothing is computed where they are the same."""
    for number, one, other in zip(numbers, encodings, targets, strict=True):
        if one.stored in ("linear", "amplitude"):
            number[:] = _from_power(_to_power(number, one), other)
        elif not one.same_value(other):
            number[:] = (number * one.scale + (one.offset - other.offset)) / other.scale
    return numbers
