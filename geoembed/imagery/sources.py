"""Where imagery lies: the files behind a modality's sources, and which channels each gives."""

from __future__ import annotations

import glob
import logging
from pathlib import Path

from geoembed.errors import ImageryError
from geoembed.imagery import rasters, seasonal
from geoembed.imagery.modalities import Modality, Source
from geoembed.imagery.rasters import Raster

__all__ = ["Raster", "find"]

log = logging.getLogger(__name__)

SUFFIXES = {".tif", ".tiff", ".vrt"}


def find(modality: Modality) -> tuple[Raster, ...]:
    """Return a modality's files in the order of precedence: sources as written, the files of one in name order.

    Raises ImageryError where a path matches nothing, a file cannot be read, or its channels have no names.
    """
    found: list[Raster] = []
    for source in modality.sources:
        if not source.paths:
            raise ImageryError(f"[modalities.{modality.name}]: a source lacks its path; add source = ... or --source")
        for pattern in source.paths:
            found += _open(modality, source, pattern)
    for raster in found:
        log.debug("%s: %s gives %s", modality.name, raster.path, ", ".join(raster.channels))
    return tuple(found)


def _open(modality: Modality, source: Source, pattern: str) -> list[Raster]:
    files = _expand(pattern)
    tiles = [path for path in files if seasonal.is_tile(path)]
    if tiles:
        if len(tiles) < len(files):
            log.info("%s: %d files are no seasonal tiles and are left out", pattern, len(files) - len(tiles))
        return seasonal.read(modality.name, source, pattern, tiles)
    if not files:
        raise ImageryError(f"{pattern}: no such raster for {modality.name}; mend the source's path")
    return [rasters.read(modality, source, path) for path in files]


def _expand(pattern: str) -> list[Path]:
    """Return the files behind a file, glob or folder, in name order; a folder of tile folders gives its tiles."""
    path = Path(pattern)
    if path.is_dir():
        return sorted(
            [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES]
            + [file for file in path.glob("*/*.tif") if seasonal.is_tile(file)],
            key=lambda file: (file.name, str(file)),
        )
    if path.exists():
        return [path]
    return sorted(
        (file for file in map(Path, glob.glob(pattern, recursive=True)) if file.suffix.lower() in SUFFIXES),  # noqa: PTH207 (absolute patterns)
        key=lambda file: (file.name, str(file)),
    )
