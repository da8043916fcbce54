"""Rasters in files: what one file gives to a modality, and reading windows of it as numbers with NaN for nodata."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.errors import ImageryError
from geoembed.imagery.modalities import Modality, Source

if TYPE_CHECKING:
    from affine import Affine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoding:
    """How a value is stored: value = stored * scale + offset, which `stored` says to be dB, power or amplitude.

    dtype: of the stored numbers. nodata: the stored number that stands for no value, or None.
    """

    dtype: str
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    stored: str = "value"

    def same_value(self, other: Encoding) -> bool:
        """Tell whether one and the same stored number means the same value in both."""
        return (self.scale, self.offset, self.stored) == (other.scale, other.offset, other.stored)


@dataclass(frozen=True)
class Raster:
    """What one file gives to a modality: bands (numbers from 1) that are channels, each with its encoding.

    crs is WKT; bounds are left, bottom, right, top in units of the CRS.
    """

    path: Path
    crs: str
    transform: Affine
    width: int
    height: int
    bands: tuple[int, ...]
    channels: tuple[str, ...]
    encodings: tuple[Encoding, ...]
    resampling: str | None = None

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Return left, bottom, right, top in units of the CRS."""
        left, top = self.transform @ (0, 0)
        right, bottom = self.transform @ (self.width, self.height)
        return left, bottom, right, top


def read(modality: Modality, source: Source, path: Path) -> Raster:
    """Read what a file gives to a modality, from its header and the source's table.

    Raises ImageryError where it cannot be opened, has no CRS, is rotated, or its bands have no names.
    """
    import rasterio

    try:
        with rasterio.open(path) as file:
            descriptions = tuple(name or "" for name in file.descriptions)
            numbers = _band_numbers(path, source, descriptions)
            names = _names(modality, source, path, descriptions, numbers)
            _require_place(path, file.crs, file.transform)
            encodings = tuple(_encoding(modality, source, file, number) for number in numbers)
            return Raster(
                path,
                file.crs.to_wkt(),
                file.transform,
                file.width,
                file.height,
                numbers,
                names,
                encodings,
                source.resampling,
            )
    except rasterio.errors.RasterioError as error:
        fault = str(error).splitlines()[0]
        raise ImageryError(f"{path}: cannot be read as a raster ({fault}); mend or remove it") from None


def _band_numbers(path: Path, source: Source, descriptions: tuple[str, ...]) -> tuple[int, ...]:
    if source.bands is None:
        if source.names is not None and len(source.names) != len(descriptions):
            raise ImageryError(
                f"{path}: {len(descriptions)} bands but {len(source.names)} names; say bands = [...] too"
            )
        return tuple(range(1, len(descriptions) + 1))
    numbers = []
    for band in source.bands:
        if isinstance(band, str):
            if band not in descriptions:
                raise ImageryError(f"{path}: no band is described as {band!r}; mend bands = [...]")
            numbers.append(descriptions.index(band) + 1)
        elif 1 <= band <= len(descriptions):
            numbers.append(band)
        else:
            raise ImageryError(f"{path}: has {len(descriptions)} bands, no band {band}; mend bands = [...]")
    return tuple(numbers)


def _names(
    modality: Modality, source: Source, path: Path, descriptions: tuple[str, ...], numbers: tuple[int, ...]
) -> tuple[str, ...]:
    if source.names is not None:
        return source.names
    names = tuple(descriptions[number - 1] for number in numbers)
    table = f"[modalities.{modality.name}] in geoembed.toml"
    example = ", ".join(f'"{name}"' for name in modality.channels[: len(names)]) or f'"{modality.name}"'
    if not all(names):
        raise ImageryError(f"{path}: bands without description; name the channels under {table}: names = [{example}]")
    if len(set(names)) != len(names):
        raise ImageryError(f"{path}: two bands have one description; name the channels under {table}")
    return names


def _require_place(path: Path, crs: Any, transform: Affine) -> None:
    if crs is None:
        raise ImageryError(f"{path}: has no CRS; assign one with rio edit-info --crs")
    if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
        raise ImageryError(f"{path}: is not north up; warp it first with gdalwarp")


def _encoding(modality: Modality, source: Source, file: Any, number: int) -> Encoding:
    dtype = file.dtypes[number - 1]
    if dtype.startswith("complex"):
        raise ImageryError(f"{file.name}: band {number} is complex; give its amplitude")
    stored = source.stored or ("db" if modality.decibel else "value")
    return Encoding(
        dtype=dtype,
        scale=float(file.scales[number - 1] if source.scale is None else source.scale),
        offset=float(file.offsets[number - 1] if source.offset is None else source.offset),
        nodata=file.nodatavals[number - 1] if source.nodata is None else float(source.nodata),
        stored=stored,
    )


def working_type(encodings: tuple[Encoding, ...]) -> np.dtype[Any]:
    """Return the float type that holds the stored numbers of all encodings exactly."""
    return np.result_type(np.float32, *(np.dtype(encoding.dtype) for encoding in encodings))
