"""Finding rasters: the data sets behind the addresses, globs and folders that sources and labels are given by."""

import glob
import logging
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePath

from geoembed.errors import ImageryError, of_library, shown
from geoembed.ground.formats import ARCHIVE_FAULTS
from geoembed.imagery import addresses, rasters, safe, seasonal
from geoembed.imagery.drivers import WARY, Trust
from geoembed.imagery.modalities import Modality, Source
from geoembed.imagery.rasters import Raster

log = logging.getLogger(__name__)

SUFFIXES = {".tif", ".tiff", ".vrt", ".jp2", ".j2k", ".img", ".nc", ".nc4", ".hgt", ".zip"}
"""Endings of rasters in folders and archives. A file named by itself, or by its suffix in a glob, may have another."""


def find(modality: Modality) -> tuple[Raster, ...]:
    """Return a modality's rasters in the order of precedence: sources as written, the files of each in name order.

    Raises ImageryError where an address matches nothing, a raster cannot be read, or its channels have no names.
    """
    opened: list[Raster] = []
    for source in modality.sources:
        if not source.paths:
            raise ImageryError(f"[modalities.{modality.name}]: a source lacks its path; add source = ... or --source")
        for address in source.paths:
            opened += _open(modality, source, address)
    for raster in opened:
        log.debug("%s: %s gives %s", modality.name, shown(raster.address), ", ".join(raster.channels))
    return tuple(opened)


def first_bands(locations: Iterable[str], *, scaled: bool, trust: Trust = WARY) -> tuple[Raster, ...]:
    """Return the first bands of rasters, in name order, as channels called `value`; raises ImageryError like `find`.

    locations: addresses, globs or folders.
    scaled: whether scale and offset are the rasters' own; else a value is the stored number, such as a class.
    trust: what may be opened besides what is usual.
    """
    scale, offset = (None, None) if scaled else (1.0, 0.0)
    source = Source((), (1,), ("value",), scale, offset, driver=trust.drivers, outside=trust.outside)
    return tuple(rasters.read(Modality("labels"), source, address) for address in singles(locations))


def singles(locations: Iterable[str]) -> list[str]:
    """Return the addresses of single rasters behind addresses, globs or folders, each once, in name order.

    Raises ImageryError where a location matches nothing.
    """
    return sorted(dict.fromkeys(address for location in locations for address in _expand(location)), key=PurePath)


def _open(modality: Modality, source: Source, location: str) -> list[Raster]:
    products = _products(location)
    if products:
        files = [file for product in products for file in safe.files(modality.name, source, product)]
        return [rasters.read(modality, of_band, address) for address, of_band in files]
    found = _expand(location)
    tiles = [address for address in found if seasonal.is_tile(address)]
    if not tiles:
        return [rasters.read(modality, source, address) for address in found]
    if len(tiles) < len(found):
        log.info("%s: %d files are no seasonal tiles and are left out", location, len(found) - len(tiles))
    return seasonal.read(modality.name, source, location, tiles)


def _products(location: str) -> list[Path]:
    """Return the products of Sentinel-2 at a path, in a folder, or that a glob names, in name order."""
    path = Path(location)
    if not addresses.is_path(location) or path.is_file():
        return []
    if path.is_dir():
        folders = [path] if safe.is_product(path) else list(path.iterdir())
    else:
        folders = [Path(match) for match in glob.glob(location, recursive=True)]  # noqa: PTH207 (absolute patterns)
    products = [folder for folder in folders if folder.is_dir() and safe.is_product(folder)]
    return sorted(products, key=lambda folder: (folder.name, str(folder)))


def _expand(location: str) -> list[str]:
    """Return the addresses of single rasters behind an address, a glob or a folder, in name order.

    Seasonal tiles lie in folders within the folder.
    """
    path = Path(location)
    if path.is_dir():
        below = [file for file in path.glob("*/*.tif") if seasonal.is_tile(file.name)]
        files = [*_rasters(path.iterdir()), *below]
    elif path.exists():
        files = [path]
    elif not addresses.is_path(location):
        return [location]
    else:
        matches = glob.glob(location, recursive=True)  # noqa: PTH207 (absolute patterns)
        files = _rasters(map(Path, matches), path.suffix.lower())
    if not files:
        raise ImageryError(f"{location}: no such raster; mend its path")
    return [_address(file) for file in sorted(files, key=lambda file: (file.name, str(file)))]


def _rasters(files: Iterable[Path], suffix: str = "") -> list[Path]:
    """Return the files whose suffix is in SUFFIXES or `suffix`, without hidden ones such as macOS's ._x.tif."""
    suffixes = SUFFIXES | ({suffix} if suffix else set())
    return [file for file in files if file.suffix.lower() in suffixes and not file.name.startswith(".")]


def _address(file: Path) -> str:
    """Return a file's path; for a .zip, the address of the single raster in it."""
    if file.suffix.lower() != ".zip":
        return str(file)
    try:
        with zipfile.ZipFile(file) as archive:
            names = [str(member) for member in _rasters(map(Path, archive.namelist()))]
    except ARCHIVE_FAULTS as error:
        raise ImageryError(
            f"{file}: cannot be read as a zip archive ({of_library(error)}); mend or remove it"
        ) from None
    if not names:
        raise ImageryError(f"{file}: holds no raster; remove it")
    if len(names) > 1:
        raise ImageryError(f"{file}: holds {len(names)} rasters; name one, such as /vsizip/{file}/{names[0]}")
    return f"/vsizip/{file}/{names[0]}"
