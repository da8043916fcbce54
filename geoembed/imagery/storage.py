"""How a modality's chips are stored: the first source's encoding, made able to say where there is no value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoembed.imagery.rasters import Encoding, Raster


@dataclass(frozen=True)
class Storage:
    """The numbers in a modality's chip files: their type, the number that is nodata, and each channel's encoding."""

    dtype: str
    nodata: float
    encodings: dict[str, Encoding]

    def invalid(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which stored numbers stand for no value."""
        return np.isnan(stored) if np.isnan(self.nodata) else np.asarray(stored == self.nodata)

    def pack(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Turn numbers with NaN (any shape) into the stored type with nodata; a valid number never becomes nodata."""
        dtype = np.dtype(self.dtype)
        invalid = np.isnan(numbers)
        if dtype.kind == "f":
            packed = numbers.astype(dtype)
        else:
            limits = np.iinfo(dtype)
            # Half is rounded up, as GDAL does.
            packed = np.clip(np.floor(np.where(invalid, 0.0, numbers) + 0.5), limits.min, limits.max).astype(dtype)
        packed[packed == self.nodata] = self.beside
        packed[invalid] = self.nodata
        return packed

    @property
    def beside(self) -> float:
        """Return the number next to nodata, which valid pixels get that would else be taken for none."""
        dtype = np.dtype(self.dtype)
        if dtype.kind == "f":
            return float(np.nextafter(dtype.type(self.nodata), dtype.type(1 if self.nodata == 0 else 0)))
        return self.nodata + 1 if self.nodata < np.iinfo(dtype).max else self.nodata - 1


def of(rasters: Sequence[Raster], order: tuple[str, ...]) -> Storage:
    """Return the storage of a modality: each channel as its first source stores it, with one type for all.

    Linear power and amplitude become dB as float32. Integers without nodata get the lowest number of their type as
    nodata; unsigned ones, whose 0 and highest number are often values, get the next larger signed type. Channels are
    in the known `order`, others after them as found.
    """
    found: dict[str, Encoding] = {}
    for raster in rasters:
        for channel, encoding in zip(raster.channels, raster.encodings, strict=True):
            found.setdefault(channel, encoding)
    channels = [name for name in order if name in found] + [name for name in found if name not in order]
    first = rasters[0].encodings[0]
    if first.stored in ("linear", "amplitude"):
        return Storage("float32", np.nan, dict.fromkeys(channels, Encoding("float32", nodata=np.nan, stored="db")))
    dtype, nodata = _with_nodata(first)
    encodings = {
        name: found[name] if (found[name].dtype, found[name].stored) == (first.dtype, first.stored) else first
        for name in channels
    }
    return Storage(dtype, nodata, encodings)


def of_values(rasters: Sequence[Raster]) -> Storage:
    """Return a storage that keeps what the first channel of rasters holds, exactly, beside a number for nodata.

    Values that need scale or offset are floats; other numbers keep their type, integers as a wider one.
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
    fits = encoding.nodata is not None and np.iinfo(dtype).min <= encoding.nodata <= np.iinfo(dtype).max
    if fits and encoding.nodata is not None:
        return dtype.name, float(encoding.nodata)
    name = _SIGNED.get(dtype.name, dtype.name)
    return name, float(np.iinfo(name).min)
