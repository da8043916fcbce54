"""Rasters: the bands of a data set that are channels of a modality or labels, read from its header."""

import errno
import math
import os
import re
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from geoembed.errors import ImageryError
from geoembed.ground import crs as crs_
from geoembed.ground.lattice import TOLERANCE, GeoBox
from geoembed.imagery import addresses, naming
from geoembed.imagery.modalities import Modality, Source

SIDECARS = (".aux.xml", ".msk")
"""Endings of the files beside a raster that GDAL reads too, but does not list for rasters in a VRT."""

NO_VALUES = re.compile(r"<Histograms>.*?</Histograms>|<MDI key=\"STATISTICS_[^>]*>[^<]*</MDI>|</?[^>]*>|\s", re.S)
"""What an .aux.xml file may hold without changing a value: statistics, which viewers write, and tags around them."""


@dataclass(frozen=True)
class Encoding:
    """How values are stored: value = stored number * scale + offset.

    dtype: type of the stored numbers.
    nodata: the stored number that stands for no value; None where there is none.
    stored: what the value is: `value` (in the modality's unit), `db`, `linear` (power) or `amplitude`.
    """

    dtype: str
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    stored: str = "value"

    def same_value(self, other: Self) -> bool:
        """Tell whether a stored number means the same value in both encodings."""
        return (self.scale, self.offset, self.stored) == (other.scale, other.offset, other.stored)


@dataclass(frozen=True)
class Raster(GeoBox):
    """The bands of a data set that are channels.

    address: what GDAL opens (see `addresses`).
    bands: their numbers, from 1.
    channels: their names.
    encodings: how their numbers are stored.
    resampling: GDAL's name of the method; None: as in `Source`.
    files: the local files that the data set reads, its own file first; none where it lies elsewhere.
    blocks: height and width in pixels of the blocks in which the data set is stored.
    count: number of bands in the data set, with those that are no channels.
    palette: whether the first band has a colour table.
    """

    address: str
    bands: tuple[int, ...]
    channels: tuple[str, ...]
    encodings: tuple[Encoding, ...]
    resampling: str | None = None
    files: tuple[str, ...] = ()
    blocks: tuple[int, int] = (1, 1)
    count: int = 1
    palette: bool = False

    @property
    def path(self) -> Path:
        """Return the data set's own file, or its address where it lies elsewhere."""
        return Path(self.files[0] if self.files else self.address)


def is_categorical(raster: Raster) -> bool:
    """Tell whether the first channel's numbers stand for classes: a raster has a colour table or category names then.

    rasterio does not read category names, which GDAL keeps in a sidecar.
    """
    sidecars = [Path(path) for path in raster.files if path.endswith(".aux.xml")]
    return raster.palette or any(
        "<CategoryNames" in path.read_text(encoding="utf-8", errors="replace") for path in sidecars
    )


def dataset(address: str) -> Any:
    """Open a data set; raises ImageryError where GDAL cannot open it, or it holds data sets instead of bands."""
    try:
        file = rasterio.open(address)
    except rasterio.errors.RasterioError as error:
        fault = str(error).splitlines()[0]
        _require_free_files()
        if addresses.is_path(address) and not Path(address).exists():
            raise ImageryError(f"{address}: no such raster; mend its path") from None
        raise ImageryError(f"{address}: cannot be read as a raster ({fault}); mend or remove it") from None
    if not file.count:
        inside = file.subdatasets
        file.close()
        remedy = f"name one of its {len(inside)} data sets, such as {inside[0]}" if inside else "mend or remove it"
        raise ImageryError(f"{address}: holds no bands of its own; {remedy}")
    return file


def _require_free_files() -> None:
    """Raise ImageryError where this process has as many files open as it may: whatever fails then is not at fault."""
    try:
        with Path(os.devnull).open("rb"):
            return
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            return
    limit = "no more"
    if sys.platform != "win32":
        import resource

        limit = f"{resource.getrlimit(resource.RLIMIT_NOFILE)[0]:,}"
    raise ImageryError(f"too many open files: this process may have {limit}; raise the limit, as with ulimit -n 4096")


def read(modality: Modality, source: Source, address: str) -> Raster:
    """Return a data set's channels of a modality, as its header and the source's settings say.

    Raises ImageryError where it cannot be opened, has no CRS, is rotated, is complex, or its bands have no names.
    """
    with dataset(address) as file:
        descriptions = tuple(name or "" for name in file.descriptions)
        bands = _band_numbers(address, source, descriptions)
        channels = _names(modality, source, address, descriptions, bands)
        _require_place(address, file)
        encodings = tuple(_encoding(modality, source, address, file, band) for band in bands)
        return Raster(
            crs=crs_.horizontal(file.crs.to_wkt()),
            transform=straight(file),
            height=file.height,
            width=file.width,
            address=address,
            bands=bands,
            channels=channels,
            encodings=encodings,
            resampling=source.resampling,
            files=_files(file),
            blocks=file.block_shapes[bands[0] - 1],
            count=file.count,
            palette=file.colorinterp[bands[0] - 1] == ColorInterp.palette,
        )


def _files(file: Any) -> tuple[str, ...]:
    """Return the local files that a data set reads, its own first; VRT files are followed to the rasters in them."""
    waiting, paths = deque(file.files), dict[str, None]()  # in order, each once
    while waiting:
        path = addresses.local_file(waiting.popleft())
        if path is None or path in paths or _changes_no_value(path):
            continue
        if paths and Path(path).suffix.lower() == ".vrt":  # of the first, GDAL has listed the files
            with dataset(path) as inner:
                waiting += inner.files
        paths[path] = None
        waiting += [path + ending for ending in SIDECARS if Path(path + ending).exists()]
    return tuple(paths)


def _changes_no_value(path: str) -> bool:
    """Tell whether a file beside a raster holds nothing but overviews or statistics."""
    if path.endswith(".ovr"):
        return True
    return path.endswith(".aux.xml") and not NO_VALUES.sub("", Path(path).read_text(encoding="utf-8", errors="replace"))


def _band_numbers(address: str, source: Source, descriptions: tuple[str, ...]) -> tuple[int, ...]:
    count = len(descriptions)
    if source.bands is None:
        if source.names is not None and len(source.names) != count:
            raise ImageryError(
                f"{address}: {count} bands but {len(source.names)} names; {naming.of_some(source.names, count)}"
            )
        return tuple(range(1, count + 1))
    numbers = []
    for band in source.bands:
        if isinstance(band, str):
            if band not in descriptions:
                known = (
                    ", ".join(filter(None, descriptions)) or f"none has a description; use numbers from 1 to {count}"
                )
                raise ImageryError(f"{address}: no band is described as {band!r}; mend bands = [...]: {known}")
            band = descriptions.index(band) + 1
        elif not 1 <= band <= count:
            raise ImageryError(
                f"{address}: has {count} bands, no band {band}; mend bands = [...]: numbers from 1 to {count}"
            )
        numbers.append(band)
    return tuple(numbers)


def _names(
    modality: Modality, source: Source, address: str, descriptions: tuple[str, ...], bands: tuple[int, ...]
) -> tuple[str, ...]:
    if source.names is not None:
        return source.names
    names = tuple(descriptions[band - 1] for band in bands)
    fault = "" if all(names) else f"{len(names)} bands without description"
    if all(names) and len(set(names)) != len(names):
        fault = "two bands have one description"
    if fault:
        remedy = naming.remedy(modality.name, modality.channels, len(names), chosen=source.bands is not None)
        raise ImageryError(f"{address}: {fault}; {remedy}")
    return names


def _require_place(address: str, file: Any) -> None:
    if file.crs is None and (file.gcps[0] or file.rpcs):
        points = "ground control points" if file.gcps[0] else "rational polynomials"
        command = f"gdalwarp -t_srs EPSG:4326 {address} OUT.tif"
        raise ImageryError(f"{address}: is placed by {points}, not by a CRS; warp it first: {command}")
    if file.crs is None:
        raise ImageryError(f"{address}: has no CRS; assign its own one: rio edit-info --crs EPSG:CODE {address}")
    transform = straight(file)
    if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
        raise ImageryError(f"{address}: is not north up; warp it first: gdalwarp {address} OUT.tif")


def straight(file: Any) -> Affine:
    """Return an open data set's transform, without a rotation that turns no corner by TOLERANCE of a pixel."""
    transform: Affine = file.transform
    turned = max(
        abs(transform.b) * file.height / abs(transform.a or 1), abs(transform.d) * file.width / abs(transform.e or 1)
    )
    if turned > TOLERANCE:
        return transform
    return Affine(transform.a, 0.0, transform.c, 0.0, transform.e, transform.f)


def _encoding(modality: Modality, source: Source, address: str, file: Any, band: int) -> Encoding:
    dtype = file.dtypes[band - 1]
    if dtype.startswith("complex"):
        remedy = f"gdal_translate DERIVED_SUBDATASET:AMPLITUDE:{address} OUT.tif"
        raise ImageryError(f"{address}: band {band} is complex; give its amplitude: {remedy}")
    nodata = file.nodatavals[band - 1] if source.nodata is None else float(source.nodata)
    if nodata is not None and math.isinf(nodata) and dtype == "float64":
        # A tag such as -1.797693134862316e+308 is read as infinite; infinite pixels are no values whatever the tag.
        nodata = math.copysign(float(np.finfo(dtype).max), nodata)
    return Encoding(
        dtype=dtype,
        scale=float(file.scales[band - 1] if source.scale is None else source.scale),
        offset=float(file.offsets[band - 1] if source.offset is None else source.offset),
        nodata=nodata,
        stored=source.stored or ("db" if modality.decibel else "value"),
    )
