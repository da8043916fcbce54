"""Cutting: cells in blocks, read and warped at once, and sliced into chip files."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import local
from typing import Any

import numpy as np
import rasterio
from affine import Affine

from geoembed.chips import folder as chip_folder
from geoembed.chips.cells import Taken
from geoembed.ground.grid import Cells
from geoembed.ground.lattice import GeoBox
from geoembed.imagery import sources, storage, warp
from geoembed.imagery.index import RasterIndex
from geoembed.imagery.modalities import Modality
from geoembed.imagery.storage import Storage
from geoembed.imagery.windows import Readers
from geoembed.outputs import digests

log = logging.getLogger(__name__)

BLOCK_HEIGHT, BLOCK_WIDTH = 512, 2048
"""Pixels that are read and warped at once, at least one chip: large enough that a source tile is decoded about once,
small enough that memory stays at some 100 MB per thread whatever the area."""

Found = dict[str, tuple[float, tuple[str, ...]]]
"""What a chip has: per modality its valid fraction and its channels."""


@dataclass(frozen=True)
class Layer:
    """A modality that is cut.

    catalogue: its rasters.
    storage: how its chips are stored.
    """

    modality: Modality
    catalogue: RasterIndex
    storage: Storage

    @property
    def channels(self) -> tuple[str, ...]:
        """Return all channels that its rasters give, in order."""
        return tuple(self.storage.encodings)

    def settings(self) -> dict[str, Any]:
        """Return what decides a modality's pixels apart from the files' content, JSON-ready."""
        used = dict.fromkeys(
            repr((raster.channels, raster.bands, raster.encodings, raster.resampling))
            for raster in self.catalogue.rasters
        )
        return {"channels": self.channels, "read_as": digests.of_value(list(used))}


def layer(modality: Modality) -> Layer:
    """Find a modality's files and decide how its chips are stored; raises ImageryError."""
    rasters = sources.find(modality)
    types = dict.fromkeys(encoding.dtype for raster in rasters for encoding in raster.encodings)
    kept = storage.of(rasters, modality.channels)
    if len(types) > 1:
        told = ", ".join(types)
        log.warning(
            "%s: its files store %s; chips store %s, to which values are rounded", modality.name, told, kept.dtype
        )
    return Layer(modality, RasterIndex(rasters), kept)


def blocks(cells: Taken, kept: Mapping[str, Found]) -> Iterator[Taken]:
    """Yield the cells that are not kept, in blocks of neighbours that are read and warped at once."""
    missing = cells[[i for i, chip_id in enumerate(cells.chip_ids) if chip_id not in kept]]
    high, wide = max(1, BLOCK_HEIGHT // cells.grid.size), max(1, BLOCK_WIDTH // cells.grid.size)
    members_of: dict[tuple[int, int], list[int]] = {}
    places = zip((missing.rows // high).tolist(), (missing.columns // wide).tolist(), strict=True)
    for i, place in enumerate(places):
        members_of.setdefault(place, []).append(i)
    for members in members_of.values():
        yield missing[members]


class Cutter:
    """Cuts blocks of chips and writes them; may be called from several threads."""

    def __init__(self, output: Path, layers: Sequence[Layer], min_valid: float) -> None:
        self._output, self._layers, self._min_valid = output, layers, min_valid
        self._thread = local()
        self._all_readers: list[Readers] = []

    def __call__(self, block: Cells) -> dict[str, Found]:
        """Write a block's chips; return what each has."""
        found: dict[str, Found] = {chip_id: {} for chip_id in block.chip_ids}
        with rasterio.Env(GDAL_CACHEMAX=256, GDAL_DISABLE_READDIR_ON_OPEN="TRUE"):
            for layer in self._layers:
                self._cut_layer(block, layer, found)
        log.debug("%s ... %s: %d cells cut", block.chip_ids[0], block.chip_ids[-1], len(found))
        return found

    def close(self) -> None:
        """Close all open rasters."""
        for readers in self._all_readers:
            readers.close()

    def _readers(self) -> Readers:
        if not hasattr(self._thread, "readers"):
            self._thread.readers = Readers()
            self._all_readers.append(self._thread.readers)
        readers: Readers = self._thread.readers
        return readers

    def _cut_layer(self, block: Cells, layer: Layer, found: dict[str, Found]) -> None:
        near = layer.catalogue.near(block.outlines)
        if not near:
            return
        size = block.grid.size
        box, tops, lefts = _box(block)
        stored = warp.mosaic(near, layer.storage, box, self._readers())
        for chip_id, top, left in zip(block.chip_ids, tops, lefts, strict=True):
            pixels = stored[:, top : top + size, left : left + size]
            valid = ~layer.storage.invalid(pixels)
            there = np.asarray(valid.any(axis=(1, 2)))
            fraction = float(valid[there].all(axis=0).mean()) if there.any() else 0.0
            if not there.any() or fraction < self._min_valid:
                continue
            channels = tuple(name for name, is_there in zip(layer.channels, there, strict=True) if is_there)
            part = box.part(top, left, size, size)
            path = chip_folder.path_of(self._output, chip_id, layer.modality.name)
            kept = pixels if there.all() else pixels[there]
            chip_folder.write_chip(path, kept, channels, layer.storage, part.crs, part.transform)
            found[chip_id][layer.modality.name] = (round(fraction, 6), channels)


def _box(block: Cells) -> tuple[GeoBox, list[int], list[int]]:
    """Return the box that holds a block's cells, and each cell's first row and column of pixels in it."""
    grid, size = block.grid, block.grid.size
    down = -grid.upward * block.rows
    first_row = int(block.rows[np.argmin(down)])
    x, y = grid.upper_left(int(block.columns.min()), first_row)
    tops = ((down - down.min()) * size).tolist()
    lefts = ((block.columns - block.columns.min()) * size).tolist()
    transform = Affine(grid.dx, 0.0, x, 0.0, -grid.dy, y)
    return GeoBox(grid.crs, transform, max(tops) + size, max(lefts) + size), tops, lefts


def finished(lines: Sequence[Mapping[str, Any]]) -> dict[str, Found]:
    """Return what each cell has, from the lines of a journal: what `Cutter` found for each block."""
    seen: dict[tuple[str, ...], tuple[str, ...]] = {}  # one copy of each list of channels, as chips are many
    return {
        chip_id: {
            name: (fraction, seen.setdefault(tuple(channels), tuple(channels)))
            for name, (fraction, channels) in found.items()
        }
        for line in lines
        for chip_id, found in line.items()
    }
