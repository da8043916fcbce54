"""Warping: rasters to the pixels of a box on the ground. Pixels that lie on the box's lattice are copied."""

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
"""Numbers read from a raster at a time, per thread; a box that needs more is made in parts."""

FINER = 0.99
"""A raster is finer than a box if its pixels' side is below this share of the box's. Below 1, as pixels of 10 m in
neighbouring UTM zones differ by up to 0.2 %."""


def mosaic(rasters: Sequence[Raster], storage: Storage, box: GeoBox, readers: Readers) -> NDArray[Any]:
    """Return the stored numbers of a box, (C, H, W), nodata where no raster has a valid pixel.

    The first valid pixel counts, in the order of the rasters. Numbers of another encoding than `storage` are converted.
    """
    channels = list(storage.encodings)
    pixels = np.full((len(channels), box.height, box.width), storage.nodata, dtype=storage.dtype)
    holes: dict[str, Any] = dict.fromkeys(channels, True)
    for raster in rasters:
        chosen = [i for i, channel in enumerate(raster.channels) if np.any(holes[channel])]
        if not chosen or not any(needed(raster, box)):
            continue
        for i, stored in zip(chosen, _on_box(raster, chosen, storage, box, readers), strict=True):
            channel = raster.channels[i]
            filled = pixels[channels.index(channel)]
            np.copyto(filled, stored, where=holes[channel])
            holes[channel] = storage.invalid(filled)
    return pixels


def _on_box(raster: Raster, chosen: list[int], storage: Storage, box: GeoBox, readers: Readers) -> NDArray[Any]:
    """Return a raster's chosen channels on a box, as stored numbers, nodata where invalid."""
    offset = box.lattice.offset(raster)
    if offset is not None:
        return _copied(raster, chosen, storage, box, offset, readers)
    windows = list(needed(raster, box))
    largest = max((window.height * window.width * len(chosen) for window in windows), default=0)
    if largest > LARGEST_READ and max(box.height, box.width) > 1:
        return _in_parts(raster, chosen, storage, box, readers)
    pixels = np.full((len(chosen), box.height, box.width), storage.nodata, dtype=storage.dtype)
    for window in windows:
        part = storage.pack(_resample(raster, chosen, window, storage, box, readers))
        np.copyto(pixels, part, where=storage.invalid(pixels))
    return pixels


def _in_parts(raster: Raster, chosen: list[int], storage: Storage, box: GeoBox, readers: Readers) -> NDArray[Any]:
    half = max(box.height, box.width) // 2
    if box.height >= box.width:
        axis, parts = 1, [box.part(0, 0, half, box.width), box.part(half, 0, box.height - half, box.width)]
    else:
        axis, parts = 2, [box.part(0, 0, box.height, half), box.part(0, half, box.height, box.width - half)]
    return np.concatenate([_on_box(raster, chosen, storage, part, readers) for part in parts], axis=axis)


def _copied(
    raster: Raster, chosen: list[int], storage: Storage, box: GeoBox, offset: tuple[int, int], readers: Readers
) -> NDArray[Any]:
    """Return the raster's own pixels on a box of the same lattice, where it begins at (row, column) `offset`."""
    row, column = offset
    top, left = max(0, row), max(0, column)
    bottom, right = min(box.height, row + raster.height), min(box.width, column + raster.width)
    if bottom <= top or right <= left:
        return np.full((len(chosen), box.height, box.width), storage.nodata, dtype=storage.dtype)
    window = Window(top - row, left - column, bottom - top, right - left)
    stored = _packed(raster, chosen, storage, window, readers)
    margins = ((0, 0), (top, box.height - bottom), (left, box.width - right))
    return np.pad(stored, margins, constant_values=storage.nodata) if any(map(any, margins)) else stored


def _packed(raster: Raster, chosen: list[int], storage: Storage, window: Window, readers: Readers) -> NDArray[Any]:
    """Return a window's numbers as `storage` has them; they are copied where the raster has them so, else converted."""
    stored, valid = read(raster, chosen, window, readers)
    encodings, targets = _encodings(raster, chosen, storage)
    same = all(encoding.same_value(target) for encoding, target in zip(encodings, targets, strict=True))
    if not same or not np.can_cast(stored.dtype, storage.dtype):
        numbers = _with_nan(stored, valid, [*encodings, *targets])
        return storage.pack(_convert(numbers, encodings, targets))
    copied = stored.astype(storage.dtype, copy=False)
    if any(encoding.nodata != storage.nodata for encoding in encodings):
        copied[valid & storage.invalid(copied)] = storage.substitute
    if not valid.all():
        copied[~valid] = storage.nodata
    return copied


def _encodings(raster: Raster, chosen: list[int], storage: Storage) -> tuple[list[Encoding], list[Encoding]]:
    """Return the encodings of chosen channels in a raster and in a storage."""
    return [raster.encodings[i] for i in chosen], [storage.encodings[raster.channels[i]] for i in chosen]


def _with_nan(stored: NDArray[Any], valid: NDArray[np.bool_], encodings: Sequence[Encoding]) -> NDArray[Any]:
    """Return stored numbers as floats wide enough for all the encodings, NaN where invalid."""
    numbers = stored.astype(np.result_type(np.float32, *(encoding.dtype for encoding in encodings)))
    numbers[~valid] = np.nan
    return numbers


def _resample(
    raster: Raster, chosen: list[int], window: Window, storage: Storage, box: GeoBox, readers: Readers
) -> NDArray[Any]:
    """Warp a window of a raster to a box, as numbers to store, NaN where invalid; SAR is averaged in linear power."""
    encodings, targets = _encodings(raster, chosen, storage)
    numbers = _with_nan(*read(raster, chosen, window, readers), encodings)
    name = raster.resampling or ("average" if _is_finer(raster, box) else "bilinear")
    as_power = name in ("bilinear", "average", "cubic") and encodings[0].stored != "value"
    if as_power:
        numbers = np.stack([_to_power(band, encoding) for band, encoding in zip(numbers, encodings, strict=True)])
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
        return np.stack([_from_power(band, target) for band, target in zip(warped, targets, strict=True)])
    return _convert(warped, encodings, targets)


def _is_finer(raster: Raster, box: GeoBox) -> bool:
    """Tell whether a raster's pixels are finer than a box's, by nominal side, which is the same for all chips."""
    return _side_metres(raster) < FINER * _side_metres(box)


def _side_metres(box: GeoBox) -> float:
    return math.sqrt(box.lattice.dx * box.lattice.dy) * crs_.metres_per_unit(box.crs)


def _to_power(stored: NDArray[Any], encoding: Encoding) -> NDArray[Any]:
    value = stored * encoding.scale + encoding.offset
    if encoding.stored == "linear":
        return value
    with np.errstate(over="ignore"):
        power: NDArray[Any] = value * value if encoding.stored == "amplitude" else 10.0 ** (value / 10.0)
    return power.astype(stored.dtype, copy=False)


def _from_power(power: NDArray[Any], encoding: Encoding) -> NDArray[Any]:
    """Return stored numbers of values in dB, 10 log10(power); NaN where the power is not above 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        decibel = 10.0 * np.log10(power)
    decibel[~np.isfinite(decibel)] = np.nan
    stored: NDArray[Any] = (decibel - encoding.offset) / encoding.scale
    return stored.astype(power.dtype, copy=False)


def _convert(numbers: NDArray[Any], encodings: Sequence[Encoding], targets: Sequence[Encoding]) -> NDArray[Any]:
    """Convert stored numbers, in place, from the encodings of their bands to the targets."""
    for band, encoding, target in zip(numbers, encodings, targets, strict=True):
        if encoding.stored in ("linear", "amplitude"):
            band[:] = _from_power(_to_power(band, encoding), target)
        elif not encoding.same_value(target):
            band[:] = (band * encoding.scale + (encoding.offset - target.offset)) / target.scale
    return numbers
