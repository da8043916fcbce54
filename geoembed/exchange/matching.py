"""Matching: which vectors lie on which chips, by the middles of their footprints or by what these cover."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geoembed.ground import crs as crs_
from geoembed.ground.grid import Cells
from geoembed.labels import places

CENTRE, OVERLAP = "centre", "overlap"
WAYS = (CENTRE, OVERLAP)


@dataclass(frozen=True)
class Pairs:
    """Vectors on chips, P pairs in the order of the vectors.

    vectors, chips: (P,) positions.
    weights: (P,) how much a vector counts on its chip.
    """

    vectors: NDArray[np.int64]
    chips: NDArray[np.int64]
    weights: NDArray[np.float64]

    def within(self, rows: slice) -> slice:
        """Return the pairs of some consecutive vectors."""
        first, last = np.searchsorted(self.vectors, [rows.start, rows.stop]).tolist()
        return slice(first, last)


def match(shapes: NDArray[np.object_], crs: str, cells: Cells, way: str | None = None) -> Pairs:
    """Return which vectors, by their shapes (M,) in a CRS, lie on which chips; a shape may be None.

    way: CENTRE, a vector lies on the chip that holds its middle; OVERLAP, on all that its footprint reaches into, by
        the area in common; None: CENTRE, but OVERLAP where footprints are larger than chips.
    """
    middles = shapely.centroid(shapes)
    xy = np.column_stack([shapely.get_x(middles), shapely.get_y(middles)])
    lonlat = in_crs(shapes, crs, crs_.LONLAT)
    if way is None:
        sizes, chip_sizes = shapely.area(lonlat), shapely.area(cells.outlines)
        way = OVERLAP if np.nanmedian(sizes) > 1.01 * np.median(chip_sizes) else CENTRE
    if way == CENTRE:
        chips, vectors = places.points_in_chips(np.where(np.isfinite(xy), xy, np.inf), crs, cells)
        return _sorted(vectors, chips, np.ones(len(chips)))
    vectors, chips = shapely.STRtree(cells.outlines).query(lonlat, predicate="intersects")
    common = shapely.area(shapely.intersection(lonlat[vectors], cells.outlines[chips]))
    return _sorted(vectors[common > 0], chips[common > 0], common[common > 0])


def in_crs(shapes: NDArray[np.object_], crs: str, target: str) -> NDArray[np.object_]:
    """Return shapes of a CRS in another."""
    if crs_.same(crs, target):
        return shapes
    transform = crs_.transformer(crs, target).transform
    return np.asarray(shapely.transform(shapes, lambda xy: np.column_stack(transform(xy[:, 0], xy[:, 1]))))


def extent(lonlat: NDArray[np.float64]) -> str:
    """Return in words where points (N, 2) in degrees lie."""
    lonlat = lonlat[np.isfinite(lonlat).all(axis=1)]
    if not len(lonlat):
        return "nowhere on Earth"
    (west, south), (east, north) = lonlat.min(axis=0).tolist(), lonlat.max(axis=0).tolist()
    return f"at {west:.4g} to {east:.4g} degrees east and {south:.4g} to {north:.4g} north"


def nowhere(shapes: NDArray[np.object_], crs: str, cells: Cells) -> str:
    """Return why no vector lies on a chip."""
    middles = shapely.centroid(in_crs(shapes, crs, crs_.LONLAT))
    lonlat = np.column_stack([shapely.get_x(middles), shapely.get_y(middles)])
    return f"no vector lies on a chip: they lie {extent(lonlat)}, the chips {extent(cells.lonlat())}"


def _sorted(vectors: NDArray[np.int64], chips: NDArray[np.int64], weights: NDArray[np.float64]) -> Pairs:
    order = np.lexsort([chips, vectors])
    return Pairs(vectors[order], chips[order], weights[order])
