"""Which of many rasters lie near a place, found without opening or testing them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoembed.ground import crs
from geoembed.imagery.rasters import Raster

OUTLINES = 10_000
"""Outlines looked up at a time: where rasters are many, each meets dozens."""


class RasterIndex:
    """The rasters of one modality in their order of precedence, and a tree of their bounds in degrees (EPSG:4326)."""

    def __init__(self, rasters: Sequence[Raster]) -> None:
        self.rasters = tuple(rasters)
        boxes, owners = [], []
        for number, raster in enumerate(self.rasters):
            for box in _degrees(raster):
                boxes.append(box)
                owners.append(number)
        self._owners = np.array(owners, dtype=np.int64)
        self._tree = shapely.STRtree(boxes)

    def near(self, outlines: NDArray[Any]) -> tuple[Raster, ...]:
        """Return the rasters whose bounds touch any of some outlines (shapely, EPSG:4326), in order of precedence."""
        numbers: set[int] = set()
        for start in range(0, len(outlines), OUTLINES):
            hits = self._tree.query(outlines[start : start + OUTLINES], predicate="intersects")[1]
            numbers.update(np.unique(self._owners[hits]).tolist())
        return tuple(self.rasters[number] for number in sorted(numbers))


def _degrees(raster: Raster) -> list[Any]:
    """Return boxes around a raster in degrees, a little too large, where it and its longitudes a turn away lie."""
    left, bottom, right, top = raster.bounds
    if crs.is_geographic(raster.crs):
        west, south, east, north = left, bottom, right, top
    else:
        way = crs.transformer(raster.crs, crs.LONLAT)
        west, south, east, north = way.transform_bounds(left, bottom, right, top, densify_pts=21)
    if not np.isfinite([west, south, east, north]).all():
        return [shapely.box(-180.0, -90.0, 180.0, 90.0)]
    east += 360.0 * (east < west)
    pad = 0.01 * max(1e-3, north - south)
    return [
        shapely.box(west + turn - pad, south - pad, east + turn + pad, north + pad) for turn in (-360.0, 0.0, 360.0)
    ]
