"""How numbers are stored, in a modality's chips and while labels are made: as in the rasters, with a nodata number."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoembed.errors import ImageryError
from geoembed.imagery.rasters import Encoding, Raster

LOWEST_TAG = -(2.0**53)
"""The lowest whole number that a nodata tag keeps whole: it is written as a float."""


@dataclass(frozen=True)
class Storage:
    """How the numbers of some channels are stored.

    dtype: their type.
    nodata: the number that stands for no value; may be NaN.
    encodings: what the numbers mean, by channel.
    """

    dtype: str
    nodata: float
    encodings: dict[str, Encoding]

    def invalid(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which stored numbers are nodata."""
        return np.isnan(stored) if np.isnan(self.nodata) else np.asarray(stored == self.nodata)

    def pack(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Turn numbers of any shape, NaN where invalid, into stored ones; no valid number becomes nodata."""
        dtype = np.dtype(self.dtype)
        invalid = np.isnan(numbers)
        if dtype.kind == "f":
            packed = numbers.astype(dtype)
        else:
            limits = np.iinfo(dtype)
            # Half is rounded up, as GDAL does.
            packed = np.clip(np.floor(np.where(invalid, 0.0, numbers) + 0.5), limits.min, limits.max).astype(dtype)
        packed[packed == self.nodata] = self.substitute
        packed[invalid] = self.nodata
        return packed

    @property
    def substitute(self) -> float:
        """Return the number next to nodata: it replaces a valid number that happens to be nodata."""
        dtype = np.dtype(self.dtype)
        if dtype.kind == "f":
            return float(np.nextafter(dtype.type(self.nodata), dtype.type(1 if self.nodata == 0 else 0)))
        return self.nodata + 1 if self.nodata < np.iinfo(dtype).max else self.nodata - 1


def of(rasters: Sequence[Raster], order: tuple[str, ...]) -> Storage:
    """Return the storage of a modality's chips: each channel as the first raster with it has it, all of one type.

    The type holds the numbers of all rasters, also of those that are converted to another scale or offset. Linear power
    and amplitude become dB. Where the rasters agree on a nodata number it stays; else floats get NaN, and integers the
    lowest number of their type: unsigned ones become the next larger signed type, as 0 and the highest may be values.

    order: the channels that are known, in order; others follow in the order of the rasters.
    """
    target_of: dict[str, Encoding] = {}
    pairs = []
    for raster in rasters:
        for channel, encoding in zip(raster.channels, raster.encodings, strict=True):
            target = target_of.setdefault(channel, _in_decibel(encoding))
            pairs.append((encoding, target))
    channels = [name for name in order if name in target_of] + [name for name in target_of if name not in order]
    dtype = np.result_type(*(dtype for encoding, target in dict.fromkeys(pairs) for dtype in _types(encoding, target)))
    copied = all(encoding.same_value(target) for encoding, target in pairs)
    tags = {None if encoding.nodata is None else float(encoding.nodata) for encoding, _ in pairs}
    dtype, nodata = _with_nodata(dtype, tags.pop() if copied and len(tags) == 1 else None)
    encodings = {name: replace(target_of[name], dtype=dtype.name, nodata=nodata) for name in channels}
    return Storage(dtype.name, nodata, encodings)


def _in_decibel(encoding: Encoding) -> Encoding:
    """Return the encoding in which chips have the values of an encoding: power and amplitude become plain dB."""
    return Encoding("float32", stored="db") if encoding.stored in ("linear", "amplitude") else encoding


def _types(encoding: Encoding, target: Encoding) -> list[np.dtype[Any]]:
    """Return types that together hold the stored numbers of an encoding when they are converted to another."""
    dtype = np.dtype(encoding.dtype)
    if encoding.same_value(target):
        return [dtype]
    if target.stored != encoding.stored:
        return [np.dtype(np.float32)]  # 24 bits are enough for dB
    scale = target.scale or 1.0
    factor, shift = encoding.scale / scale, (encoding.offset - target.offset) / scale
    if dtype.kind == "f":
        return [dtype]
    ends = [int(end) for end in (np.iinfo(dtype).min, np.iinfo(dtype).max)]
    off = max(map(abs, ends)) * abs(factor - round(factor)) + abs(shift - round(shift))
    if off > 0.01 or round(factor) == 0:  # converted numbers are no whole ones
        return [dtype, np.dtype(np.float32)]
    return [np.min_scalar_type(end * round(factor) + round(shift)) for end in ends]


def of_values(rasters: Sequence[Raster]) -> Storage:
    """Return a storage that holds the values of the rasters' first channel exactly, and nodata besides.

    Values that need scale or offset are float64; other floats keep their type, and integers get the next wider one.
    Raises ImageryError where a scale is 0.
    """
    encodings = [raster.encodings[0] for raster in rasters]
    for raster, encoding in zip(rasters, encodings, strict=True):
        if encoding.scale == 0.0:
            fault = "its scale tag is 0, which makes all values one"
            raise ImageryError(f"{raster.address}: {fault}; mend it: gdal_edit.py -scale 1 {raster.address}")
    scaled = any(encoding.scale != 1.0 or encoding.offset != 0.0 for encoding in encodings)
    dtype = np.result_type(*(np.float64 if scaled else encoding.dtype for encoding in encodings))
    if dtype.kind != "f":
        dtype = np.dtype(_WIDER.get(dtype.name, "int64"))
    nodata = np.nan if dtype.kind == "f" else float(np.iinfo(dtype).min)
    return Storage(dtype.name, nodata, {rasters[0].channels[0]: Encoding(dtype.name, nodata=nodata)})


_WIDER = {"int8": "int16", "uint8": "int16", "int16": "int32", "uint16": "int32"}
_SIGNED = {"uint8": "int16", "uint16": "int32", "uint32": "int64", "uint64": "float64"}


def _with_nodata(dtype: np.dtype[Any], tag: float | None) -> tuple[np.dtype[Any], float]:
    """Return a type and its nodata number: the tag of all rasters, where they have one and the type can hold it."""
    if dtype.kind == "f":
        # Chips are read as float32.
        return dtype, tag if tag is not None and abs(tag) <= float(np.finfo(np.float32).max) else np.nan
    limits = np.iinfo(dtype)
    # A tag is written and read as a float, which holds whole numbers up to LOWEST_TAG's size only.
    if tag is not None and tag.is_integer() and max(limits.min, LOWEST_TAG) <= tag <= min(limits.max, -LOWEST_TAG):
        return dtype, tag
    signed = np.dtype(_SIGNED.get(dtype.name, dtype.name))
    return signed, np.nan if signed.kind == "f" else max(float(np.iinfo(signed).min), LOWEST_TAG)
