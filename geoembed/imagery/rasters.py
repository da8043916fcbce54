"""Rasters: the bands of a data set that are channels of a modality or labels, read from its header."""

import errno
import math
import os
import re
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import rasterio
from affine import Affine
from pyproj.exceptions import ProjError
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, Interleaving
from rasterio.env import ensure_env_with_credentials
from rasterio.io import DatasetReader

from geoembed.errors import ImageryError, of_library
from geoembed.ground import crs as crs_
from geoembed.ground import offline
from geoembed.ground.lattice import TOLERANCE, GeoBox
from geoembed.imagery import addresses, drivers, hdf5, naming, safe, vrt
from geoembed.imagery.drivers import WARY, Trust
from geoembed.imagery.modalities import Modality, Source
from geoembed.names import text

SIDECARS = (".aux.xml", ".msk")
"""Endings of the files beside a raster that GDAL reads too, but does not list for rasters in a VRT."""

FAULTS = (rasterio.errors.RasterioError, CPLE_BaseError, ProjError, ValueError, OverflowError, TypeError, SystemError,
          MemoryError)  # fmt: skip
"""What rasterio raises for a file that is damaged or holds absurd numbers; UnicodeDecodeError is a ValueError."""

INNER = re.compile(r"(vrt://|DERIVED_SUBDATASET:\w+:)([^?]+)(?:\?.*)?", re.IGNORECASE)
"""Address of bands made of another data set, and that data set."""

ABSURD = 1e30
"""Numbers of this size or more are no value, whether a tag says so or not: nothing on Earth is measured in them."""

MOST_BANDS, MOST_BLOCK = 10_000, 2**31
"""Bands of a data set, and bytes of a block, beyond which it is taken for damaged: each read would take for ever."""

PATIENCE = {
    "GDAL_HTTP_MAX_RETRY": "4",  # of 429 and 5xx, and of lost connections
    "GDAL_HTTP_RETRY_DELAY": "0.5",  # seconds, doubled each time
    "GDAL_HTTP_CONNECTTIMEOUT": "5",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",  # bytes a second
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",  # masks and overviews are asked for by name
}
"""GDAL's options for rasters on other machines, where the environment says nothing else.

A body that ends too early is not tried again by GDAL, and is an error: the next run asks anew.
"""

NO_VALUES = re.compile(r"<MDI key=\"STATISTICS_[^>]*>[^<]*</MDI>|</?[^>]*>|\s", re.S)
"""What an .aux.xml file may hold without changing a value: statistics, which viewers write, and tags around them.

Histograms are taken out before."""


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
    driver: GDAL's name of the driver that reads it; empty: any of the usual ones.
    far: whether other machines may be asked for its pixels.
    recipe: of a file that is fetched or made when it is needed, the digest of what it is made from; else empty.
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
    driver: str = ""
    far: bool = False
    recipe: str = ""

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


def dataset(address: str, trust: Trust = WARY) -> Any:
    """Open a data set; raises ImageryError where GDAL cannot, it holds data sets instead of bands, or it may not.

    What a VRT names must lie beside or below it, or be trusted.
    """
    chosen = _drivers(address, trust)
    far = is_far(address, trust)
    try:
        with gdal(far=far):
            file = _open(address, chosen)
    except FAULTS as error:
        _require_free_files()
        if addresses.is_path(address) and not Path(address).exists():
            raise ImageryError(f"{address}: no such raster; mend its path") from None
        raise _unreadable(address, error) from None
    if not file.count:
        inside = file.subdatasets
        file.close()
        remedy = f"name one of its {len(inside)} data sets, such as {inside[0]}" if inside else "mend or remove it"
        raise ImageryError(f"{address}: holds no bands of its own; {remedy}")
    return file


def reopened(raster: Raster) -> Any:
    """Open the data set of a raster that was read before; raises ImageryError."""
    try:
        with gdal(far=raster.far):
            return _open(raster.address, [raster.driver] if raster.driver else list(drivers.USUAL))
    except FAULTS as error:
        _require_free_files()
        raise _unreadable(raster.address, error) from None


@ensure_env_with_credentials  # type: ignore[untyped-decorator]
def _open(address: str, names: list[str]) -> Any:
    """Open a data set with one of some drivers, as rasterio.open does with one or any."""
    return DatasetReader(address, driver=names)


def is_far(address: str, trust: Trust) -> bool:
    """Tell whether a data set may be read from another machine: the user wrote an address there."""
    return any(map(addresses.is_far, (address, *trust.outside)))


def gdal(*, far: bool) -> Any:
    """Return a context in which GDAL reads rasters: from this machine alone unless `far`; no file beyond its end."""
    patience = {name: value for name, value in PATIENCE.items() if name not in os.environ}
    return rasterio.Env(RAW_CHECK_FILE_SIZE="YES", **(patience if far else offline.OPTIONS))


def _drivers(address: str, trust: Trust) -> list[str]:
    """Return the drivers that may open an address; raises ImageryError where what it leads to is not to be opened."""
    if address.startswith(("<", "{")) or "<vrtdataset" in address.lower():  # GDAL looks for that anywhere in it
        raise ImageryError(f"{address}: is no address; write a description of rasters to a file that ends in .vrt")
    inner = INNER.fullmatch(address)
    if inner:
        dataset(inner[2], trust).close()
        return ["VRT" if inner[1] == "vrt://" else "DERIVED"]
    usual = [*drivers.USUAL, *trust.drivers]
    head = drivers.head_of(address)
    if head is not None:
        drivers.require_sidecars(address)
        path = addresses.path_of(address)
        if head.startswith(hdf5.SIGNATURE) and path:
            _require_own(address, path)
        if drivers.is_vrt(head):
            vrt.check(address, trust)
            return ["VRT", *usual]
    return usual


def _require_own(address: str, path: str) -> None:
    """Raise ImageryError where an HDF5 or netCDF file is damaged, or takes anything from other files."""
    if not hdf5.is_sound(path):
        raise ImageryError(f"{address}: its HDF5 is damaged (a heap without an end); mend or remove it")
    try:
        name = hdf5.leading_out(path)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise _unreadable(address, error) from None
    if name is not None:
        fault = f"takes {name[:60]!r} from another file, which geoembed does not follow"
        raise ImageryError(f"{address}: {fault}; copy it into one file, as with nccopy or h5repack")


def _unreadable(address: str, error: BaseException) -> ImageryError:
    """Return the error of a raster that a library cannot read."""
    fault = of_library(error)
    if isinstance(error, MemoryError):
        fault = f"it takes more memory than there is: {fault}"
    remedy = "mend or remove it"
    if "supported file format" in fault:
        remedy = 'convert it to GeoTIFF, or name its driver, as in driver = "GRIB" beside source in geoembed.toml'
    if addresses.is_far(address):
        remedy = _of_far(fault)
    if address.endswith(".vrt") and drivers.head_of(address) is None:
        remedy = "VRTs are read from disk and from zip archives alone: copy it"
    return ImageryError(f"{address}: cannot be read as a raster ({fault}); {remedy}")


def remedy_of(raster: Raster, fault: str) -> str:
    """Return what to do about a raster whose pixels cannot be read."""
    return _of_far(fault) if raster.far else "mend or remove it"


def _of_far(fault: str) -> str:
    """Return what to do about a raster on another machine."""
    if any(code in fault for code in ("401", "403", "AccessDenied", "InvalidCredentials", "SignatureDoesNotMatch")):
        return "give the rights to read it: a signed address, or AWS_PROFILE, or AWS_NO_SIGN_REQUEST=YES for open data"
    if "404" in fault or "does not exist" in fault:
        return "mend its address"
    if "supported file format" in fault:
        return "the server gave something else, such as a page to sign in, or nothing: mend its address, or run again"
    return "run again, or copy the file here"


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
    file = dataset(address, source.trust)
    try:
        with file, gdal(far=is_far(address, source.trust)):
            return _read(modality, source, address, file)
    except FAULTS as error:
        raise _unreadable(address, error) from None


def _read(modality: Modality, source: Source, address: str, file: Any) -> Raster:
    _require_sane(address, file)
    descriptions = tuple(name or "" for name in file.descriptions)
    bands = _band_numbers(address, source, descriptions)
    channels = _names(modality, source, address, descriptions, bands)
    _require_place(address, file)
    _require_blocks(address, file, bands)
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
        files=() if addresses.is_far(address) else _files(file, source.trust),  # GDAL would ask for ten sidecars
        blocks=file.block_shapes[bands[0] - 1],
        count=file.count,
        palette=file.colorinterp[bands[0] - 1] == ColorInterp.palette,
        driver=file.driver,
        far=is_far(address, source.trust),
    )


def _require_sane(address: str, file: Any) -> None:
    """Raise ImageryError where a data set has absurdly many bands, or names overviews elsewhere."""
    if file.count > MOST_BANDS:
        raise ImageryError(
            f"{address}: has {file.count:,} bands, more than {MOST_BANDS:,}; is it damaged? Give another"
        )
    overviews = file.tags(ns="OVERVIEWS").get("OVERVIEW_FILE", "").removeprefix(vrt.BASE)
    if "/" in overviews or "<" in overviews or ":" in overviews:
        raise ImageryError(f"{address}: says that its overviews are {overviews[:200]}; remove that from its metadata")


def _require_blocks(address: str, file: Any, bands: Sequence[int]) -> None:
    """Raise ImageryError where a block that is read at once does not fit memory."""
    shapes, types = file.block_shapes, file.dtypes
    # JPEG 2000 is not asked: for that, GDAL walks through all of it, and through a damaged one for ever.
    is_together = file.driver == "GTiff" and file.interleaving is Interleaving.pixel
    together = file.count if is_together else 1
    most = max(math.prod(shapes[band - 1]) * _itemsize(types[band - 1]) for band in bands) * together
    if most > MOST_BLOCK:
        fault = f"is stored in blocks of {most / 1e9:,.0f} GB, which are read at once"
        raise ImageryError(f"{address}: {fault}; store it in tiles: gdal_translate -co TILED=YES {address} OUT.tif")


def _itemsize(dtype: str) -> int:
    return 16 if dtype.startswith("complex") else np.dtype(dtype).itemsize


def _files(file: Any, trust: Trust) -> tuple[str, ...]:
    """Return the local files that a data set reads, its own first; VRT files are followed to the rasters in them."""
    waiting, paths = deque(file.files), dict[str, None]()  # in order, each once
    while waiting:
        path = addresses.local_file(waiting.popleft())
        if path is None or path in paths or _changes_no_value(path):
            continue
        if paths and Path(path).suffix.lower() == ".vrt":  # of the first, GDAL has listed the files
            with dataset(path, trust) as inner:
                waiting += inner.files
        paths[path] = None
        waiting += [path + ending for ending in SIDECARS if Path(path + ending).exists()]
    return tuple(paths)


def _changes_no_value(path: str) -> bool:
    """Tell whether a file beside a raster holds nothing but overviews or statistics."""
    if path.endswith(".ovr"):
        return True
    if not path.endswith(".aux.xml"):
        return False
    first, *parts = Path(path).read_text(encoding="utf-8", errors="replace").split("<Histograms>")
    return not NO_VALUES.sub("", first + "".join(part.partition("</Histograms>")[2] for part in parts))


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
    fault = fault_of(names)
    if fault and not any(names) and len(names) == 1 and (found := safe.of_file(address)):
        return (found[0].channel(found[1]),)
    if fault:
        remedy = naming.remedy(modality.name, modality.channels, len(names), chosen=source.bands is not None)
        raise ImageryError(f"{address}: {fault}; {remedy}")
    return names


def fault_of(descriptions: tuple[str, ...]) -> str | None:
    """Return why descriptions of bands cannot be the names of channels, None where they can."""
    if not all(descriptions):
        return f"{len(descriptions)} bands without description"
    if len(set(descriptions)) != len(descriptions):
        return "two bands have one description"
    try:
        for description in descriptions:
            text(description)
    except ValueError as error:
        return f"its description {error}"
    return None


def _require_place(address: str, file: Any) -> None:
    if file.crs is None and (file.gcps[0] or file.rpcs):
        points = "ground control points" if file.gcps[0] else "rational polynomials"
        command = f"gdalwarp -t_srs EPSG:4326 {address} OUT.tif"
        raise ImageryError(f"{address}: is placed by {points}, not by a CRS; warp it first: {command}")
    if file.crs is None:
        raise ImageryError(f"{address}: has no CRS; assign its own one: rio edit-info --crs EPSG:CODE {address}")
    transform = straight(file)
    if not np.isfinite(transform[:6]).all():
        raise ImageryError(f"{address}: has coordinates that are not finite; give it others: gdal_edit.py -a_ullr")
    if not crs_.is_on_earth(file.crs.to_wkt()):
        fault = "its CRS leads to no place on the Earth"
        raise ImageryError(f"{address}: {fault}; assign its own one: rio edit-info --crs EPSG:CODE {address}")
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
    scale, offset, nodata = _of_product(source, address, file, band)
    if nodata is not None and math.isinf(nodata) and dtype == "float64":
        # A tag such as -1.797693134862316e+308 is read as infinite; infinite pixels are no values whatever the tag.
        nodata = math.copysign(float(np.finfo(dtype).max), nodata)
    if not (abs(scale) < ABSURD and abs(offset) < ABSURD):  # NaN neither
        fault = f"band {band} has a scale of {scale:g} and an offset of {offset:g}"
        raise ImageryError(f"{address}: {fault}; write those that it should have, as in scale = 1.0 and offset = 0.0")
    return Encoding(
        dtype=dtype,
        scale=scale,
        offset=offset,
        nodata=nodata,
        stored=source.stored or ("db" if modality.decibel else "value"),
    )


def _of_product(source: Source, address: str, file: Any, band: int) -> tuple[float, float, float | None]:
    """Return scale, offset and nodata of a band: the source's, else those of a product's metadata, else the file's."""
    own = file.scales[band - 1], file.offsets[band - 1], file.nodatavals[band - 1]
    given = source.scale, source.offset, source.nodata
    if (given[0] is None or given[1] is None) and (found := safe.of_file(address)) and own[:2] == (1.0, 0.0):
        own = found[0].encoding(found[1])
    scale, offset, nodata = (a if b is None else b for a, b in zip(own, given, strict=True))
    return float(scale), float(offset), None if nodata is None else float(nodata)
