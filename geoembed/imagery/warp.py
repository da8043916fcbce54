"""From rasters to the pixels of a box on the ground: mosaicked, resampled only where the lattices differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.warp import Resampling, reproject

from geoembed.ground import crs as crs_
from geoembed.ground.lattice import GeoBox
from geoembed.imagery.rasters import Encoding, Raster
from geoembed.imagery.storage import Storage
from geoembed.imagery.windows import Readers, Window, needed, read

LARGEST_READ = 2**25
"""Source pixels (all bands) held at a time, per thread; a box that needs more is made in parts."""

FINER = 0.99
"""A source is finer than the chip's pixel when its pixel's side is below this share of it. Less than 1, since one
and the same 10 m differ by up to 0.2 % between neighbouring UTM zones."""


def mosaic(rasters: Sequence[Raster], storage: Storage, box: GeoBox, readers: Readers) -> NDArray[Any]:
    """Return the stored numbers of a box, (C, H, W), nodata where no raster has a valid pixel.

    Of several rasters the first valid pixel in the order given counts. Rasters that are stored as `storage` says are
    copied or resampled as they are, others are converted.
    """
    position = {channel: i for i, channel in enumerate(storage.encodings)}
    pixels = np.full((len(position), box.height, box.width), storage.nodata, dtype=storage.dtype)
    holes: dict[int, Any] = dict.fromkeys(range(len(position)), True)
    for raster in rasters:
        chosen = [i for i, channel in enumerate(raster.channels) if np.any(holes[position[channel]])]
        if not chosen or not any(needed(raster, box)):
            continue
        for i, stored in zip(chosen, _on_box(raster, chosen, storage, box, readers), strict=True):
            row = position[raster.channels[i]]
            np.copyto(pixels[row], stored, where=holes[row])
            holes[row] = storage.invalid(pixels[row])
    return pixels


def _on_box(raster: Raster, chosen: list[int], storage: Storage, box: GeoBox, readers: Readers) -> NDArray[Any]:
    """Return some channels of one raster on a box, as stored numbers, nodata where invalid."""
    offset = box.lattice.offset(raster)
    if offset is not None:
        return _copied(raster, chosen, storage, box, offset, readers)
    found = list(needed(raster, box))
    largest = max((window.height * window.width * len(chosen) for window in found), default=0)
    if largest > LARGEST_READ and max(box.height, box.width) > 1:
        return _in_parts(raster, chosen, storage, box, readers)
    pixels = np.full((len(chosen), box.height, box.width), storage.nodata, dtype=storage.dtype)
    for window in found:
        part = storage.pack(_resample(raster, chosen, window, storage, box, readers))
        np.copyto(pixels, part, where=storage.invalid(pixels))
    return pixels


def _in_parts(raster: Raster, chosen: list[int], storage: Storage, box: GeoBox, readers: Readers) -> NDArray[Any]:
    tall = box.height >= box.width
    half = max(box.height, box.width) // 2
    if tall:
        parts = [box.part(0, 0, half, box.width), box.part(half, 0, box.height - half, box.width)]
    else:
        parts = [box.part(0, 0, box.height, half), box.part(0, half, box.height, box.width - half)]
    made = [_on_box(raster, chosen, storage, part, readers) for part in parts]
    return np.concatenate(made, axis=1 if tall else 2)


def _copied(
    raster: Raster, chosen: list[int], storage: Storage, box: GeoBox, offset: tuple[int, int], readers: Readers
) -> NDArray[Any]:
    """Return the raster's own pixels on a box of the same lattice; `offset` is the (row, column) where it begins."""
    row, column = offset
    top, left = max(0, row), max(0, column)
    bottom, right = min(box.height, row + raster.height), min(box.width, column + raster.width)
    if bottom <= top or right <= left:
        return np.full((len(chosen), box.height, box.width), storage.nodata, dtype=storage.dtype)
    window = Window(top - row, left - column, bottom - top, right - left)
    stored = _packed(raster, chosen, storage, window, readers)
    beside = ((0, 0), (top, box.height - bottom), (left, box.width - right))
    return np.pad(stored, beside, constant_values=storage.nodata) if any(map(any, beside)) else stored


def _packed(raster: Raster, chosen: list[int], storage: Storage, window: Window, readers: Readers) -> NDArray[Any]:
    """Return a window's numbers as they are to be stored; nothing is computed where they are stored so already."""
    stored, valid = read(raster, chosen, window, readers)
    encodings = [raster.encodings[i] for i in chosen]
    targets = [storage.encodings[raster.channels[i]] for i in chosen]
    same = all(one.same_value(other) for one, other in zip(encodings, targets, strict=True))
    if not same or not np.can_cast(stored.dtype, storage.dtype):
        numbers = _with_nan(stored, valid, [*encodings, *targets])
        return storage.pack(_convert(numbers, encodings, targets))
    copied = stored.astype(storage.dtype, copy=False)
    if any(encoding.nodata != storage.nodata for encoding in encodings):
        copied[valid & storage.invalid(copied)] = storage.beside
    if not valid.all():
        copied[~valid] = storage.nodata
    return copied


def _with_nan(stored: NDArray[Any], valid: NDArray[np.bool_], encodings: Sequence[Encoding]) -> NDArray[Any]:
    """Return stored numbers as floats that hold those of some encodings exactly, NaN where not valid."""
    numbers = stored.astype(np.result_type(np.float32, *(encoding.dtype for encoding in encodings)))
    numbers[~valid] = np.nan
    return numbers


def _resample(
    raster: Raster,
    chosen: list[int],
    window: Window,
    storage: Storage,
    box: GeoBox,
    readers: Readers,
) -> NDArray[Any]:
    """Warp a window of a raster to a box, as numbers to store, NaN where invalid; SAR is averaged as power."""
    encodings = [raster.encodings[i] for i in chosen]
    targets = [storage.encodings[raster.channels[i]] for i in chosen]
    numbers = _with_nan(*read(raster, chosen, window, readers), encodings)
    name = raster.resampling or ("average" if _is_finer(raster, box) else "bilinear")
    as_power = name in ("bilinear", "average", "cubic") and encodings[0].stored != "value"
    if as_power:
        numbers = np.stack([_to_power(one, encoding) for one, encoding in zip(numbers, encodings, strict=True)])
    warped = np.full((len(numbers), box.height, box.width), np.nan, dtype=numbers.dtype)
    # GDAL is faster where it need not look for nodata; pixels beyond the window are left as they are, NaN.
    nodata = np.nan if np.isnan(numbers).any() else None
    reproject(
        numbers,
        warped,
        src_transform=Affine.translation(-window.turn, 0.0)
        @ raster.transform
        @ Affine.translation(window.column, window.row),
        src_crs=raster.crs,
        dst_transform=box.transform,
        dst_crs=box.crs,
        src_nodata=nodata,
        dst_nodata=nodata,
        init_dest_nodata=nodata is not None,
        resampling=Resampling[name],
        UNIFIED_SRC_NODATA="NO",
    )
    if as_power:
        return np.stack([_from_power(one, target) for one, target in zip(warped, targets, strict=True)])
    return _convert(warped, encodings, targets)


def _is_finer(raster: Raster, box: GeoBox) -> bool:
    """Tell whether a raster's pixels are finer than a box's, by nominal size: the same for all its boxes."""
    one, other = raster.lattice, box.lattice
    side = math.sqrt(one.dx * one.dy) * crs_.metres_per_unit(raster.crs)
    return side < FINER * math.sqrt(other.dx * other.dy) * crs_.metres_per_unit(box.crs)


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
