"""Mosaics: rasters on one lattice, read window by window as if they were one raster."""

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
"""Pixels along a block; more where the files' own blocks are wider, as a strip is decoded whole."""


@dataclass(frozen=True)
class Mosaic:
    """Rasters on one lattice. Columns and rows count from the upper left corner of the first raster.

    rasters: R rasters in the order of precedence.
    extents: (R, 4) first column and row of each raster, and the column and row after its last.
    """

    rasters: tuple[Raster, ...]
    extents: NDArray[np.int64]

    @property
    def lattice(self) -> Lattice:
        """Return the lattice; its corner is where columns and rows begin."""
        return self.rasters[0].lattice

    def block(self) -> tuple[int, int]:
        """Return width and height in pixels of the blocks to read, multiples of the files' own blocks."""
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
        values = storage.of_values(self.rasters)
        box = self.rasters[0].part(window.row, window.column, window.height, window.width)
        with rasterio.Env(GDAL_CACHEMAX=64):  # megabytes; windows hold whole blocks, and none is read twice
            pixels = warp.mosaic(self.within(window), values, box, readers)[0]
        return np.ma.MaskedArray(pixels, mask=values.invalid(pixels))


def gather(rasters: Sequence[Raster]) -> list[Mosaic]:
    """Return rasters as mosaics, one per lattice, in the order given."""
    groups: dict[Lattice, list[Raster]] = {}
    for raster in rasters:
        shared = next((lattice for lattice in groups if lattice.offset(raster) is not None), raster.lattice)
        groups.setdefault(shared, []).append(raster)
    return [Mosaic(tuple(members), _extents(lattice, members)) for lattice, members in groups.items()]


def _extents(lattice: Lattice, rasters: Sequence[Raster]) -> NDArray[np.int64]:
    first = np.array([lattice.offset(raster) for raster in rasters])[:, ::-1]
    return np.hstack([first, first + [[raster.width, raster.height] for raster in rasters]])
