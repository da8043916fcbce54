"""Cutting: neighbouring cells form blocks, which are read and warped at once and sliced into chip files."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from threading import Lock, local
from typing import Annotated, Any, NamedTuple

import numpy as np
import rasterio
from affine import Affine
from pydantic import Field

from geoembed import names
from geoembed.chips import folder as chip_folder
from geoembed.chips.cells import AreaCells
from geoembed.ground.grid import Cells
from geoembed.ground.lattice import GeoBox
from geoembed.imagery import sources, storage, warp, windows
from geoembed.imagery.index import RasterIndex
from geoembed.imagery.modalities import Modality
from geoembed.imagery.rasters import Raster
from geoembed.imagery.storage import Storage
from geoembed.imagery.windows import Readers
from geoembed.outputs import digests, disk, journal
from geoembed.outputs.journal import Journal

log = logging.getLogger(__name__)

SYNCING = 0.05
"""Share of the time that may go into waiting for the disk; a kill costs what was cut since the last wait."""

BLOCK_HEIGHT, BLOCK_WIDTH = 512, 2048
"""Pixels of a block, which holds at least one cell: large enough that a source's blocks are decoded about once, small
enough that a thread needs some 100 MB of memory whatever the area."""


class Held(NamedTuple):
    """What a chip holds of a modality.

    fraction: the share of valid pixels.
    channels: their names.
    digest: of its file; see `digests.of_small`.
    """

    fraction: Annotated[float, Field(ge=0.0, le=1.0)]
    channels: tuple[names.Channel, ...]
    digest: names.Digest


Contents = dict[names.Modality, Held]
"""What a chip holds, by modality."""

Cut = dict[names.ChipId, Contents]
"""What the chips of a block hold, by chip id: a line of the journal."""


@dataclass(frozen=True)
class Imagery:
    """The imagery of a modality that is cut.

    modality: the modality.
    index: its rasters.
    storage: how its chips are stored.
    """

    modality: Modality
    index: RasterIndex
    storage: Storage

    @property
    def channels(self) -> tuple[str, ...]:
        """Return all channels of the rasters, in order."""
        return tuple(self.storage.encodings)

    def near(self, area_cells: Sequence[AreaCells]) -> list[Raster]:
        """Return the rasters that lie near cells, in order of precedence."""
        near = {raster for cells in area_cells for raster in self.index.near(cells.outlines)}
        return [raster for raster in self.index.rasters if raster in near]

    def settings(self) -> dict[str, Any]:
        """Return what the pixels of chips depend on, apart from the content of the rasters' files, JSON-ready."""
        read_as = dict.fromkeys(
            repr((raster.channels, raster.bands, raster.encodings, raster.resampling)) for raster in self.index.rasters
        )
        return {"channels": self.channels, "read_as": digests.of_value(list(read_as))}


def imagery_of(modality: Modality, fetched: Sequence[Raster] = ()) -> Imagery | None:
    """Find a modality's rasters and decide how its chips are stored; raises ImageryError.

    fetched: those that an archive has, which follow its own; None is returned where there are none at all.
    """
    rasters = (*sources.find(modality), *fetched)
    if not rasters:
        return None
    stored = storage.of(rasters, modality.channels)
    types = dict.fromkeys(encoding.dtype for raster in rasters for encoding in raster.encodings)
    if len(types) > 1:
        log.info("%s: its files store %s; chips store %s", modality.name, ", ".join(types), stored.dtype)
    return Imagery(modality, RasterIndex(rasters), stored)


def blocks(cells: AreaCells, kept: Mapping[str, Contents]) -> Iterator[AreaCells]:
    """Yield the cells that are not kept, in blocks of neighbours."""
    missing = cells[[i for i, chip_id in enumerate(cells.chip_ids) if chip_id not in kept]]
    high, wide = max(1, BLOCK_HEIGHT // cells.grid.size), max(1, BLOCK_WIDTH // cells.grid.size)
    members_of: dict[tuple[int, int], list[int]] = {}
    blocks_of_cells = zip((missing.rows // high).tolist(), (missing.columns // wide).tolist(), strict=True)
    for i, block in enumerate(blocks_of_cells):
        members_of.setdefault(block, []).append(i)
    for members in members_of.values():
        yield missing[members]


Provide = Callable[[Sequence[Raster], GeoBox], Sequence[Raster]]


def _as_is(near: Sequence[Raster], box: GeoBox) -> Sequence[Raster]:
    return near


class Cutter:
    """Cuts blocks of cells and writes the chips; may be called from several threads."""

    def __init__(self, output: Path, imagery: Sequence[Imagery], min_valid: float, provide: Provide = _as_is) -> None:
        """Make a cutter.

        min_valid: the share of valid pixels below which a modality is absent from a chip.
        provide: makes the rasters near a box ready, and returns those to read it from.
        """
        self._output, self._imagery, self._min_valid, self._provide = output, imagery, min_valid, provide
        self.fullest = 0.0  # the highest share of valid pixels in a cell that was cut, in any modality
        self._thread, self._lock = local(), Lock()
        self._all_readers: list[Readers] = []

    def __call__(self, block: Cells) -> Cut:
        """Write a block's chips, which are not synced yet; return what each holds."""
        contents: Cut = {chip_id: {} for chip_id in block.chip_ids}
        with rasterio.Env(GDAL_CACHEMAX=256, GDAL_DISABLE_READDIR_ON_OPEN="TRUE"):
            for imagery in self._imagery:
                self._cut(block, imagery, contents)
        log.debug("%s ... %s: %d cells cut", block.chip_ids[0], block.chip_ids[-1], len(contents))
        return contents

    def near(self, block: Cells) -> list[Raster]:
        """Return the rasters near a block, of all modalities."""
        return [raster for imagery in self._imagery for raster in imagery.index.near(block.outlines)]

    def close(self) -> None:
        """Close all open rasters, and warn of numbers in them that were taken for no value."""
        absurd: Counter[str] = Counter()
        for readers in self._all_readers:
            readers.close()
            absurd += readers.absurd
        for text in windows.absurd(absurd):
            log.warning("%s", text)

    def _readers(self) -> Readers:
        if not hasattr(self._thread, "readers"):
            self._thread.readers = Readers()
            self._all_readers.append(self._thread.readers)
        readers: Readers = self._thread.readers
        return readers

    def _cut(self, block: Cells, imagery: Imagery, contents: Cut) -> None:
        near = imagery.index.near(block.outlines)
        if not near:
            return
        size = block.grid.size
        box, tops, lefts = _box(block)
        stored = warp.mosaic(self._provide(near, box), imagery.storage, box, self._readers())
        for chip_id, top, left in zip(block.chip_ids, tops, lefts, strict=True):
            pixels = stored[:, top : top + size, left : left + size]
            valid = ~imagery.storage.invalid(pixels)
            is_present = np.asarray(valid.any(axis=(1, 2)))  # of each channel
            fraction = float(valid[is_present].all(axis=0).mean()) if is_present.any() else 0.0
            with self._lock:
                self.fullest = max(self.fullest, fraction)
            if not is_present.any() or fraction < self._min_valid:
                continue
            channels = tuple(compress(imagery.channels, is_present))
            part = box.part(top, left, size, size)
            path = chip_folder.path_of(self._output, chip_id, imagery.modality.name)
            pixels = pixels if is_present.all() else pixels[is_present]
            digest = chip_folder.write_chip(path, pixels, channels, imagery.storage, part.crs, part.transform)
            contents[chip_id][imagery.modality.name] = Held(round(fraction, 6), channels, digest)


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


def box_of(block: Cells) -> GeoBox:
    """Return the box that holds a block's cells."""
    return _box(block)[0]


class Synced:
    """Writes chips that were cut into a journal once their files are on the disk, many at a time."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        """Begin with nothing to write; `folder` holds the chips."""
        self._folder, self._journal = folder, journal
        self._waiting: list[Cut] = []
        self._due = 0.0

    def add(self, cut: Cut) -> None:
        """Take chips that were cut just now."""
        self._waiting.append(cut)
        if time.monotonic() >= self._due:
            self.close()

    def close(self) -> None:
        """Wait until all files are on the disk, and write their chips into the journal."""
        files = [
            chip_folder.path_of(self._folder, chip_id, name)
            for cut in self._waiting
            for chip_id, contents in cut.items()
            for name in contents
        ]
        began = time.monotonic()
        if files:
            disk.sync_all(self._folder, files)
        for cut in self._waiting:
            self._journal.write({**cut})
        now = time.monotonic()
        self._waiting, self._due = [], now + (now - began) / SYNCING


def finished(lines: list[dict[str, Any]]) -> Cut:
    """Return what each chip holds, from the lines of a journal: what `Cutter` returned for each block."""
    copies: dict[tuple[str, ...], tuple[str, ...]] = {}  # chips are many, and share one copy of equal channels
    return {
        chip_id: {
            name: held._replace(channels=copies.setdefault(held.channels, held.channels))
            for name, held in contents.items()
        }
        for line in journal.fitting(lines, Cut)
        for chip_id, contents in line.items()
    }
