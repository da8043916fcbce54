"""Spatial index of rasters: which of many lie near a place, found without opening them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoembed.ground import crs
from geoembed.imagery.rasters import Raster

OUTLINES = 10_000
"""Outlines looked up at a time; where rasters are many, each outline meets dozens of them."""

TURNS = (-360.0, 0.0, 360.0)
"""Degrees between the boxes of a raster: it meets outlines at either end of a map of the world."""


class RasterIndex:
    """The rasters of one modality in their order of precedence, and a tree of their bounds in degrees (EPSG:4326).

    rasters: in the order of precedence.
    """

    def __init__(self, rasters: Sequence[Raster]) -> None:
        self.rasters = tuple(rasters)
        self._tree = shapely.STRtree([box for raster in self.rasters for box in _boxes(raster)])

    def near(self, outlines: NDArray[Any]) -> tuple[Raster, ...]:
        """Return the rasters whose bounds touch one of the outlines (shapely, EPSG:4326), in order of precedence."""
        numbers: set[int] = set()
        for start in range(0, len(outlines), OUTLINES):
            hits = self._tree.query(outlines[start : start + OUTLINES], predicate="intersects")[1]
            numbers.update(np.unique(hits // len(TURNS)).tolist())
        return tuple(self.rasters[number] for number in sorted(numbers))


def _boxes(raster: Raster) -> list[Any]:
    """Return a raster's bounds in degrees, a little enlarged, as a box for each of TURNS."""
    bounds = raster.bounds
    if not crs.is_geographic(raster.crs):
        bounds = crs.transformer(raster.crs, crs.LONLAT).transform_bounds(*bounds, densify_pts=21)
    west, south, east, north = bounds if np.isfinite(bounds).all() else (-180.0, -90.0, 180.0, 90.0)
    east += 360.0 * (east < west)
    pad = 0.01 * max(1e-3, north - south)
    return [shapely.box(west + turn - pad, south - pad, east + turn + pad, north + pad) for turn in TURNS]
