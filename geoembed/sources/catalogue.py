"""Which of many rasters lie near a place, found without opening or testing them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed import crs
from geoembed.sources.rasters import Raster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Catalogue:
    """The rasters of one modality in their order of precedence, and a tree of their bounds in degrees (EPSG:4326)."""

    def __init__(self, rasters: Sequence[Raster]) -> None:
        import shapely

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
        hits = self._tree.query(outlines, predicate="intersects")[1]
        return tuple(self.rasters[number] for number in np.unique(self._owners[hits]))


def _degrees(raster: Raster) -> list[Any]:
    """Return boxes around a raster in degrees, a little too large, two where it crosses 180 degrees."""
    import shapely

    left, bottom, right, top = raster.bounds
    west, south, east, north = crs.transformer(raster.crs, crs.LONLAT).transform_bounds(
        left, bottom, right, top, densify_pts=21
    )
    if not np.isfinite([west, south, east, north]).all():
        return [shapely.box(-180.0, -90.0, 180.0, 90.0)]
    pad = 0.01 * max(1e-3, north - south)
    spans = [(west - pad, east + pad)] if west <= east else [(west - pad, 180.0), (-180.0, east + pad)]
    return [shapely.box(one, south - pad, other, north + pad) for one, other in spans]
