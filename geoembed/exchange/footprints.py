"""Footprints: where vectors of others lie become cells of grids, so that they are chips like any."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geoembed.errors import EmbeddingsError
from geoembed.exchange.matching import in_crs
from geoembed.ground import crs as crs_
from geoembed.ground.grid import Cells, Grid
from geoembed.outputs import digests

POINT = 10.0
"""Metres along the side of the cell that stands for a point: a pixel of Sentinel-2."""

METRE, DEGREE = 1.0, 1e-5
"""To what footprints are rounded, in units of their CRS: about a metre."""

RECTANGLE, NEARLY = 0.9999, 0.98
"""Share of its bounds that a footprint fills which is a rectangle, and one that nearly is."""

MOST_GRIDS = 10_000
"""Grids beyond which footprints lie on none."""


@dataclass(frozen=True)
class Placed:
    """Footprints as cells.

    cells: N cells, each once.
    cell_of: (M,) position of each footprint's cell; -1 where it lies nowhere on Earth.
    changed: how many footprints are no rectangle in any CRS that was tried: their cells are their bounds in UTM.
    """

    cells: Cells
    cell_of: NDArray[np.int64]
    changed: int


def place(shapes: NDArray[np.object_], crs: str) -> Placed:
    """Return the cells of footprints, (M,) shapely points or polygons in a CRS.

    A cell is the rectangle that a footprint is, to a metre, in UTM or in its own CRS; a point lies in a cell of POINT
    metres. Footprints of one size and lattice share a grid.

    Raises EmbeddingsError where they lie on more than MOST_GRIDS grids, or nowhere.
    """
    lonlat = in_crs(shapes, crs, crs_.LONLAT)
    centroids = shapely.centroid(lonlat)
    middles = np.column_stack([shapely.get_x(centroids), shapely.get_y(centroids)])
    there = np.isfinite(middles).all(axis=1)
    if not there.any():
        raise EmbeddingsError("none of its footprints lies on Earth; mend their CRS")
    zones = np.full(len(shapes), "", object)
    zones[there] = [_utm(lon, lat) for lon, lat in middles[there]]
    best, boxes, where = (
        np.full(len(shapes), -1.0),
        np.full((len(shapes), 4), np.nan),
        np.full(len(shapes), crs, object),
    )
    for zone in sorted(set(zones[there])):
        rows = np.flatnonzero(zones == zone)
        for candidate in dict.fromkeys((zone, *_beside(zone), crs)):
            found, filled = _boxes(in_crs(shapes[rows], crs, candidate))
            better = (best[rows] < RECTANGLE) & (filled > best[rows] + 1e-9)
            best[rows[better]], boxes[rows[better]], where[rows[better]] = filled[better], found[better], candidate
        poor = rows[best[rows] < NEARLY]
        boxes[poor] = _boxes(in_crs(shapes[poor], crs, zone))[0]
        where[poor] = zone
    return _cells(boxes, where, int((best[there] < NEARLY).sum()))


def _cells(boxes: NDArray[np.float64], where: NDArray[np.object_], changed: int) -> Placed:
    """Return boxes, (M, 4) left, bottom, right, top in the CRS of each, as cells; NaN for none."""
    there = np.flatnonzero(np.isfinite(boxes).all(axis=1))
    found, number = np.unique(where[there].astype(np.str_), return_inverse=True)
    names: list[str] = found.tolist()
    units = np.array([DEGREE if crs_.circle(name) else METRE / crs_.metres_per_unit(name) for name in names])[number]
    corner = np.rint(boxes[there, :2] / units[:, None]).astype(np.int64)
    side = np.maximum(np.rint((boxes[there, 2:] - boxes[there, :2]) / units[:, None]).astype(np.int64), 1)
    position, offset = np.divmod(corner, side)
    kinds, kind = np.unique(np.column_stack([number, side, offset]), axis=0, return_inverse=True)
    if len(kinds) > MOST_GRIDS:
        raise EmbeddingsError(
            f"its footprints lie on {len(kinds):,} different grids; pool them over chips with --chips"
        )
    keys = np.column_stack([kind.reshape(-1), position])
    cells, first, cell = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)  # as they come first in the file
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    cell_of = np.full(len(boxes), -1, np.int64)
    cell_of[there] = rank[cell.reshape(-1)]
    grids = tuple(_grid(names[row[0]], *row[1:].tolist()) for row in kinds)
    return Placed(Cells(grids, *(cells[order, k] for k in range(3))), cell_of, changed)


def _grid(name: str, width: int, height: int, left: int, bottom: int) -> Grid:
    """Return a grid of cells of one pixel; sides and origin are in METRE or DEGREE of its CRS."""
    unit = DEGREE if crs_.circle(name) else METRE / crs_.metres_per_unit(name)
    x, y, dx, dy = (round(number * unit, 9) for number in (left, bottom, width, height))
    return Grid(f"{digests.of_value([name, x, y, dx, dy])[:8]}-1", name, x, y, dx, dy, size=1, northward=True)


def _boxes(shapes: NDArray[np.object_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return bounds of shapes, (n, 4), and how much of them they fill; points are the middle of a box of POINT metres.

    A point counts as a rectangle.
    """
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    is_point = (bounds[:, 0] == bounds[:, 2]) & (bounds[:, 1] == bounds[:, 3])
    # Points are laid on the lattice of pixels, so that those of one raster share a grid.
    corner = np.floor(bounds[is_point, :2] / POINT) * POINT
    bounds[is_point] = np.concatenate([corner, corner + POINT], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        filled = shapely.area(shapes) / np.prod(bounds[:, 2:] - bounds[:, :2], axis=1)
    filled[is_point] = 1.0
    return bounds, np.where(np.isfinite(bounds).all(axis=1) & np.isfinite(filled), filled, -1.0)


def _utm(lon: float, lat: float) -> str:
    zone = int(np.clip((lon + 180.0) // 6.0 + 1, 1, 60))
    return f"EPSG:{(32600 if lat >= 0 else 32700) + zone}"


def _beside(zone: str) -> tuple[str, str]:
    """Return the UTM zones to the west and east of one: tiles of imagery reach over a zone's edge."""
    number = int(zone.removeprefix("EPSG:"))
    base, own = number // 100 * 100, number % 100
    return f"EPSG:{base + (own - 2) % 60 + 1}", f"EPSG:{base + own % 60 + 1}"
