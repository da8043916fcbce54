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
        self._grounds = [_footprint(raster) for raster in self.rasters]
        bounds = shapely.bounds(self._grounds).reshape(-1, 4)
        pads = 0.01 * np.maximum(1e-3, bounds[:, 2:] - bounds[:, :2])
        bounds = np.concatenate([bounds[:, :2] - pads, bounds[:, 2:] + pads], axis=1)
        boxes = [shapely.box(*(bounds + np.array([turn, 0.0, turn, 0.0])).T) for turn in TURNS]
        self._tree = shapely.STRtree(np.stack(boxes, axis=1).ravel())

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
        extent = shapely.union_all([_turned(ground, turn) for ground in self._grounds for turn in TURNS])
        shapely.prepare(extent)
        return extent

    def covered(self, outlines: NDArray[Any]) -> NDArray[np.float64]:
        """Return the share, (N,), of outlines (shapely, EPSG:4326) that the rasters cover, with valid pixels or not."""
        shares: NDArray[np.float64] = shapely.contains(self.extent, outlines).astype(float)
        partly = (shares == 0.0) & shapely.intersects(self.extent, outlines)
        common = shapely.area(shapely.intersection(outlines[partly], self.extent))
        shares[partly] = common / shapely.area(outlines[partly])
        return shares


def _footprint(raster: Raster) -> Any:
    """Return the ground of a raster in degrees, which may run past 180; more of it where its map or its place is odd.

    Of a raster with points that are not on Earth it is the Earth, of one that holds a pole all that is as near to it.
    """
    if crs.same(raster.crs, crs.LONLAT):
        return shapely.box(*raster.bounds)
    mesh = raster.mesh(crs.LONLAT)
    if not np.isfinite(mesh).all():
        return shapely.box(-180.0, -90.0, 180.0, 90.0)
    if crs.circle(raster.crs):
        return shapely.box(*mesh.min(axis=(0, 1)), *mesh.max(axis=(0, 1)))
    if np.ptp(mesh[..., 0]) <= 180.0:
        return shapely.polygons(np.concatenate([mesh[0], mesh[1:, -1], mesh[-1, -2::-1], mesh[-2::-1, 0]]))
    south, north = mesh[..., 1].min(), mesh[..., 1].max()
    return shapely.box(-180.0, -90.0 if south < 0.0 else south, 180.0, 90.0 if north > 0.0 else north)


def _turned(ground: Any, turn: float) -> Any:
    return shapely.transform(ground, lambda points: points + np.array([turn, 0.0]))
