"""Spatial index of rasters: which of many lie near a place, found without opening them."""

from collections.abc import Sequence
from functools import cached_property
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

    @cached_property
    def extent(self) -> Any:
        """Return the ground that the rasters cover, once for each of TURNS: a shapely geometry in degrees."""
        extent = shapely.union_all([shape for raster in self.rasters for shape in _footprints(raster)])
        shapely.prepare(extent)
        return extent

    def covered(self, outlines: NDArray[Any]) -> NDArray[np.float64]:
        """Return the share, (N,), of outlines (shapely, EPSG:4326) that the rasters cover, with valid pixels or not."""
        shares: NDArray[np.float64] = shapely.contains(self.extent, outlines).astype(float)
        partly = (shares == 0.0) & shapely.intersects(self.extent, outlines)
        common = shapely.area(shapely.intersection(outlines[partly], self.extent))
        shares[partly] = common / shapely.area(outlines[partly])
        return shares


def _footprints(raster: Raster) -> list[Any]:
    """Return a raster's outline in degrees, for each of TURNS; its bounds where it has none, as over 180 degrees."""
    points = shapely.get_coordinates(shapely.box(*raster.bounds))
    if not crs.is_geographic(raster.crs):
        to_lonlat = crs.transformer(raster.crs, crs.LONLAT)
        left, bottom, right, top = raster.bounds
        edges = shapely.segmentize(shapely.box(left, bottom, right, top), max(right - left, top - bottom) / 20)
        points = np.stack(to_lonlat.transform(*shapely.get_coordinates(edges).T), axis=1)
        if not np.isfinite(points).all() or np.ptp(points[:, 0]) > 180.0:
            return _boxes(raster)
    return [shapely.polygons(points + np.array([turn, 0.0])) for turn in TURNS]


def _boxes(raster: Raster) -> list[Any]:
    """Return a raster's bounds in degrees, a little enlarged, as a box for each of TURNS."""
    bounds = raster.bounds
    if not crs.is_geographic(raster.crs):
        bounds = crs.transformer(raster.crs, crs.LONLAT).transform_bounds(*bounds, densify_pts=21)
    west, south, east, north = bounds if np.isfinite(bounds).all() else (-180.0, -90.0, 180.0, 90.0)
    east += 360.0 * (east < west)
    pad = 0.01 * max(1e-3, north - south)
    return [shapely.box(west + turn - pad, south - pad, east + turn + pad, north + pad) for turn in TURNS]
