"""Rasters that share a lattice, read together as if they were one raster, window by window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from geoembed.ground.lattice import Lattice
from geoembed.imagery import storage, warp
from geoembed.imagery.rasters import Raster
from geoembed.imagery.windows import Readers, Window

BLOCK_PIXELS = 2**23
"""Pixels read at a time; as float64, with copies and masks, some 200 MB."""

BLOCK_SIDE = 4096
"""Pixels along a block, more where the file's own blocks are wider: a strip is decoded whole."""


@dataclass(frozen=True)
class Mosaic:
    """Rasters on one lattice, whose pixels are counted from the upper left corner of the first raster.

    rasters: in the order of precedence.
    extents: (R, 4) of each raster the first column and row, and the column and row past the last.
    """

    rasters: tuple[Raster, ...]
    extents: NDArray[np.int64]

    @property
    def lattice(self) -> Lattice:
        """Return the lattice, with its corner at the first pixel's."""
        return self.rasters[0].lattice

    def block(self) -> tuple[int, int]:
        """Return width and height of the blocks to read, multiples of the files' own."""
        rows, columns = (max(raster.blocks[axis] for raster in self.rasters) for axis in (0, 1))
        width = columns * max(1, BLOCK_SIDE // columns)
        height = rows * max(1, BLOCK_PIXELS // width // rows)
        return width, min(height, max(BLOCK_PIXELS // width, 1))

    def within(self, window: Window) -> list[Raster]:
        """Return the rasters that reach into a window."""
        first, last = [window.column, window.row], [window.column + window.width, window.row + window.height]
        reach = (self.extents[:, :2] < last).all(axis=1) & (self.extents[:, 2:] > first).all(axis=1)
        return [self.rasters[number] for number in np.flatnonzero(reach)]

    def read(self, window: Window, readers: Readers) -> Any:
        """Return the first channel's pixels in a window as a masked array (height, width)."""
        kept = storage.of_values(self.rasters)
        box = self.rasters[0].part(window.row, window.column, window.height, window.width)
        with rasterio.Env(GDAL_CACHEMAX=64):  # megabytes; windows hold whole blocks, and none is read twice
            pixels = warp.mosaic(self.within(window), kept, box, readers)[0]
        return np.ma.MaskedArray(pixels, mask=kept.invalid(pixels))


def gather(rasters: Sequence[Raster]) -> list[Mosaic]:
    """Return rasters as mosaics, one per lattice, in the order given."""
    groups: dict[Lattice, list[tuple[Raster, tuple[int, int]]]] = {}
    for raster in rasters:
        for lattice, members in groups.items():
            offset = lattice.offset(raster)
            if offset is not None:
                members.append((raster, offset))
                break
        else:
            groups[raster.lattice] = [(raster, (0, 0))]
    return [
        Mosaic(
            rasters=tuple(raster for raster, _ in members),
            extents=np.array([[x, y, x + raster.width, y + raster.height] for raster, (y, x) in members]),
        )
        for members in groups.values()
    ]
