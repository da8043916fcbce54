"""How numbers are stored, in a modality's chips and while labels are made: as in the rasters, with a nodata number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoembed.imagery.rasters import Encoding, Raster


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

    Linear power and amplitude become dB as float32. Integers without nodata get the lowest number of their type as
    nodata; unsigned ones, whose 0 and highest number are often values, become the next larger signed type.

    order: the channels that are known, in order; others follow in the order of the rasters.
    """
    encoding_of: dict[str, Encoding] = {}
    for raster in rasters:
        for channel, encoding in zip(raster.channels, raster.encodings, strict=True):
            encoding_of.setdefault(channel, encoding)
    channels = [name for name in order if name in encoding_of] + [name for name in encoding_of if name not in order]
    first = rasters[0].encodings[0]
    if first.stored in ("linear", "amplitude"):
        return Storage("float32", np.nan, dict.fromkeys(channels, Encoding("float32", nodata=np.nan, stored="db")))
    dtype, nodata = _with_nodata(first)
    for name, encoding in encoding_of.items():
        if (encoding.dtype, encoding.stored) != (first.dtype, first.stored):
            encoding_of[name] = first
    return Storage(dtype, nodata, {name: encoding_of[name] for name in channels})


def of_values(rasters: Sequence[Raster]) -> Storage:
    """Return a storage that holds the values of the rasters' first channel exactly, and nodata besides.

    Values that need scale or offset are float64; other floats keep their type, and integers get the next wider one.
    """
    encodings = [raster.encodings[0] for raster in rasters]
    scaled = any(encoding.scale != 1.0 or encoding.offset != 0.0 for encoding in encodings)
    dtype = np.result_type(*(np.float64 if scaled else encoding.dtype for encoding in encodings))
    if dtype.kind != "f":
        dtype = np.dtype(_WIDER.get(dtype.name, "int64"))
    nodata = np.nan if dtype.kind == "f" else float(np.iinfo(dtype).min)
    return Storage(dtype.name, nodata, {rasters[0].channels[0]: Encoding(dtype.name, nodata=nodata)})


_WIDER = {"int8": "int16", "uint8": "int16", "int16": "int32", "uint16": "int32"}
_SIGNED = {"uint8": "int16", "uint16": "int32", "uint32": "int64"}


def _with_nodata(encoding: Encoding) -> tuple[str, float]:
    dtype = np.dtype(encoding.dtype)
    if dtype.kind == "f":
        return dtype.name, np.nan if encoding.nodata is None else encoding.nodata
    limits = np.iinfo(dtype)
    if encoding.nodata is not None and limits.min <= encoding.nodata <= limits.max:
        return dtype.name, float(encoding.nodata)
    name = _SIGNED.get(dtype.name, dtype.name)
    return name, float(np.iinfo(name).min)
