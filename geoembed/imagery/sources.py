"""Where rasters lie: the data sets behind the addresses that a modality's sources, or labels, are given by."""

from __future__ import annotations

import glob
import logging
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePath

from geoembed.errors import ImageryError
from geoembed.imagery import addresses, rasters, seasonal
from geoembed.imagery.modalities import Modality, Source
from geoembed.imagery.rasters import Raster

log = logging.getLogger(__name__)

SUFFIXES = {".tif", ".tiff", ".vrt", ".jp2", ".j2k", ".img", ".nc", ".nc4", ".hgt", ".zip"}
"""What counts as a raster in a folder or an archive. A file named by itself, or by its suffix in a glob, is one."""


def find(modality: Modality) -> tuple[Raster, ...]:
    """Return a modality's rasters in the order of precedence: sources as written, the files of one in name order.

    Raises ImageryError where an address matches nothing, a raster cannot be read, or its channels have no names.
    """
    found: list[Raster] = []
    for source in modality.sources:
        if not source.paths:
            raise ImageryError(f"[modalities.{modality.name}]: a source lacks its path; add source = ... or --source")
        for address in source.paths:
            found += _open(modality, source, address)
    for raster in found:
        log.debug("%s: %s gives %s", modality.name, raster.address, ", ".join(raster.channels))
    return tuple(found)


def first_bands(given: Iterable[str], *, scaled: bool) -> tuple[Raster, ...]:
    """Return the first bands of rasters in name order, their channel called `value`.

    scaled: take scale and offset from the rasters' tags; else a value is the number that is stored, as of classes.

    Raises ImageryError as `find` does.
    """
    source = Source(bands=(1,), names=("value",), scale=None if scaled else 1.0, offset=None if scaled else 0.0)
    found = dict.fromkeys(single for address in given for single in _expand(address))
    return tuple(rasters.read(Modality("labels"), source, address) for address in sorted(found, key=PurePath))


def _open(modality: Modality, source: Source, address: str) -> list[Raster]:
    found = _expand(address)
    tiles = [single for single in found if seasonal.is_tile(single)]
    if not tiles:
        return [rasters.read(modality, source, single) for single in found]
    if len(tiles) < len(found):
        log.info("%s: %d files are no seasonal tiles and are left out", address, len(found) - len(tiles))
    return seasonal.read(modality.name, source, address, tiles)


def _expand(address: str) -> list[str]:
    """Return the single rasters behind an address, glob or folder, in name order.

    A folder of folders of seasonal tiles gives the tiles.
    """
    path = Path(address)
    if path.is_dir():
        below = [file for file in path.glob("*/*.tif") if seasonal.is_tile(file.name)]
        files = [*_rasters(path.iterdir()), *below]
    elif path.exists():
        files = [path]
    elif not addresses.is_path(address):
        return [address]
    else:
        matches = glob.glob(address, recursive=True)  # noqa: PTH207 (absolute patterns)
        files = _rasters(map(Path, matches), path.suffix.lower())
    if not files:
        raise ImageryError(f"{address}: no such raster; mend its path")
    return [_inside(file) for file in sorted(files, key=lambda file: (file.name, str(file)))]


def _rasters(files: Iterable[Path], suffix: str = "") -> list[Path]:
    """Return which files are rasters by their suffix, a known one or this; macOS's ._x.tif hold no pixels."""
    known = SUFFIXES | ({suffix} if suffix else set())
    return [file for file in files if file.suffix.lower() in known and not file.name.startswith(".")]


def _inside(file: Path) -> str:
    """Return a file's address: its path, and of a .zip that of the one raster in it."""
    if file.suffix.lower() != ".zip":
        return str(file)
    try:
        with zipfile.ZipFile(file) as archive:
            names = [str(member) for member in _rasters(map(Path, archive.namelist()))]
    except (OSError, zipfile.BadZipFile) as error:
        raise ImageryError(f"{file}: cannot be read as a zip archive ({error}); mend or remove it") from None
    if len(names) != 1:
        holds = (
            f"{len(names)} rasters; name one, such as /vsizip/{file}/{names[0]}" if names else "no raster; remove it"
        )
        raise ImageryError(f"{file}: holds {holds}")
    return f"/vsizip/{file}/{names[0]}"
