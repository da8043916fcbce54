"""The cells that areas of interest take, on the fixed grid or on grids anchored on imagery."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Self

import numpy as np
import shapely
from numpy.typing import NDArray

from geoembed.errors import AoiError
from geoembed.ground import crs
from geoembed.ground import grid as grids
from geoembed.ground.aoi import Area
from geoembed.ground.grid import Cells, Grid
from geoembed.imagery.rasters import Raster

CANDIDATES = 1_000_000
"""Cells tested at a time, which bounds memory."""

METRES_PER_DEGREE = crs.metres_per_unit(crs.LONLAT)

LARGE = 100_000.0
"""Metres along a box above which its bounds in another CRS are found point by point along its edges."""


@dataclass(frozen=True, eq=False)
class AreaCells(Cells):
    """The cells of one grid that areas take, area by area, from north to south and west to east.

    areas: the areas of interest.
    area_of: (N,) position in `areas` of each cell's area.
    """

    areas: Sequence[Area]
    area_of: NDArray[np.int64]


@dataclass(frozen=True)
class _Boxes:
    """Boxes in which cells of areas are looked for.

    bounds: (n, 4) left, bottom, right, top, in a CRS that the context tells.
    area_of: (n,) positions of the areas.
    """

    bounds: NDArray[np.float64]
    area_of: NDArray[np.int64]

    def within(self, extents: NDArray[np.float64]) -> tuple[Self, NDArray[np.int64]]:
        """Return what the boxes share with each of some others (m, 4), and which of these it is, (n,)."""
        tree = shapely.STRtree(np.asarray(shapely.box(*extents.T)))
        which, extent = tree.query(np.asarray(shapely.box(*self.bounds.T)))
        lower = np.maximum(self.bounds[which, :2], extents[extent, :2])
        upper = np.minimum(self.bounds[which, 2:], extents[extent, 2:])
        shared = (lower <= upper).all(axis=1)
        bounds = np.concatenate([lower, upper], axis=1)[shared]
        return replace(self, bounds=bounds, area_of=self.area_of[which[shared]]), extent[shared]


def fixed(
    areas: Sequence[Area], size: int, resolution: float, within: NDArray[np.float64] | None = None
) -> tuple[list[AreaCells], int]:
    """Return the cells of the fixed grid that areas take, and how many are left out as they lie beyond UTM.

    A cell is taken where its centre lies in the area and in its zone's longitudes, west edge included, and neither
    beyond 80 degrees south nor 84 north. A cell in two areas belongs to the first.

    size: pixels along a cell's side.
    resolution: metres per pixel.
    within: (B, 4) west, south, east, north of boxes in degrees, in or near which cells are looked for; None: anywhere.
    """
    taken, beyond = [], 0
    for grid, zone, boxes in _by_grid(areas, size, resolution, within):
        pieces = []
        for which, columns, rows in _covering(grid, boxes.bounds):
            points, area_of = grid.lonlat(columns, rows), boxes.area_of[which]
            west, is_south = 6.0 * zone - 186.0, points[:, 1] < 0.0
            inside = (points[:, 0] >= west) & (points[:, 0] < west + 6.0) & (is_south == (grid.name[2] == "S"))
            inside[inside] = _holds(areas, area_of[inside], points[inside])
            pieces.append(np.stack([area_of, columns, rows], axis=1)[inside])
        cells = _first_come(areas, grid, pieces)
        lat = cells.lonlat()[:, 1]
        in_utm = (lat >= grids.SOUTH_LIMIT) & (lat <= grids.NORTH_LIMIT)
        beyond += int((~in_utm).sum())
        if in_utm.any():
            taken.append(cells[in_utm])
    return taken, beyond


def most_fixed(areas: Sequence[Area], size: int, resolution: float, within: NDArray[np.float64] | None = None) -> float:
    """Return how many cells `fixed` looks at, which are more than it returns; as a float, as they may be too many."""
    return sum(_number(grid, boxes.bounds) for grid, _, boxes in _by_grid(areas, size, resolution, within))


def _by_grid(
    areas: Sequence[Area], size: int, resolution: float, within: NDArray[np.float64] | None
) -> Iterator[tuple[Grid, int, _Boxes]]:
    """Yield the fixed grids that areas lie on, their zones, and boxes of the areas in the grid's CRS; see `fixed`."""
    if within is not None:
        pad = size * resolution / METRES_PER_DEGREE * np.array([[-1.0, -1.0, 1.0, 1.0]])
        wider = np.cos(np.radians(np.minimum(np.abs(within[:, [1, 3]]).max(axis=1), 89.0)))
        within = within + np.where([[True, False, True, False]], pad / wider[:, None], pad)
    boxes = _boxes(areas, crs.LONLAT)
    if within is not None:
        boxes, _ = boxes.within(within)
    zones, boxes = _by_zone(boxes)
    for zone, southern in np.unique(zones, axis=0).tolist():
        grid = grids.utm(zone, bool(southern), size, resolution)
        of_zone = (zones == [zone, southern]).all(axis=1)
        bounds = bounds_in(boxes.bounds[of_zone], crs.LONLAT, grid.crs)
        yield grid, zone, _Boxes(bounds, boxes.area_of[of_zone])


def _number(grid: Grid, bounds: NDArray[np.float64]) -> float:
    """Return how many cells of a grid lie in or beside boxes (B, 4) in its CRS."""
    columns = (bounds[:, 2] - bounds[:, 0]) / grid.width + 3.0
    return float((columns * ((bounds[:, 3] - bounds[:, 1]) / grid.height + 3.0)).sum())


def aligned(areas: Sequence[Area], rasters: Sequence[Raster], size: int, recorded: Sequence[Grid]) -> list[AreaCells]:
    """Return the cells of grids anchored on rasters that areas take: one grid per CRS and pixel lattice.

    A grid's origin is the upper left corner of the first raster on the lattice, in name order, unless `recorded` has a
    grid on that lattice. A cell is taken where its centre lies in the area, on one of the lattice's rasters, and in no
    cell of an earlier grid: ground that two lattices cover would else be in two chips, perhaps in two splits.
    """
    extents = _extents(rasters, size, recorded)
    taken = [_aligned_cells(areas, grid, bounds) for grid, bounds in extents.items()]
    return _without_overlaps([cells for cells in taken if len(cells)])


def most_aligned(areas: Sequence[Area], rasters: Sequence[Raster], size: int, recorded: Sequence[Grid]) -> float:
    """Return how many cells `aligned` looks at, which are more than it returns; as a float."""
    extents = _extents(rasters, size, recorded)
    return sum(_number(grid, _in_grid(areas, grid).within(bounds)[0].bounds) for grid, bounds in extents.items())


def _extents(rasters: Sequence[Raster], size: int, recorded: Sequence[Grid]) -> dict[Grid, NDArray[np.float64]]:
    """Return aligned grids, and the bounds (R, 4) of the rasters on each in its CRS; see `aligned`."""
    extents: dict[Grid, list[tuple[float, ...]]] = {}
    for raster in sorted(rasters, key=lambda raster: (PurePath(raster.address).name, raster.address)):
        matching = next((grid for grid in [*recorded, *extents] if _is_on(grid, raster, size)), None)
        extents.setdefault(matching or grids.aligned(raster.lattice, size), []).append(raster.bounds)
    return {grid: np.unique(np.array(bounds), axis=0) for grid, bounds in extents.items()}


def _is_on(grid: Grid, raster: Raster, size: int) -> bool:
    """Tell whether a raster's pixels lie on the pixels of an aligned grid."""
    return grid.size == size and not grid.northward and grid.lattice.offset(raster) is not None


def _without_overlaps(taken: Sequence[AreaCells]) -> list[AreaCells]:
    """Leave out cells whose centre lies in a cell of an earlier grid."""
    kept: list[AreaCells] = []
    for cells in taken:
        is_new = np.ones(len(cells), dtype=bool)
        for earlier in kept:
            if earlier.grid != cells.grid:
                transformer = crs.transformer(cells.grid.crs, earlier.grid.crs)
                x, y = map(np.asarray, transformer.transform(*cells.grid.centres(cells.columns, cells.rows)))
                finite = np.isfinite(x) & np.isfinite(y)
                keys = grids.keys(earlier.grid.column_at(x[finite]), earlier.grid.row_at(y[finite]))
                is_new[finite] &= ~np.isin(keys, grids.keys(earlier.columns, earlier.rows))
        if is_new.any():
            kept.append(cells[is_new])
    return kept


def _first_come(areas: Sequence[Area], grid: Grid, pieces: list[NDArray[np.int64]]) -> AreaCells:
    """Return the cells in pieces (n, 3) of area, column and row, each once: it belongs to the first of its areas."""
    found = np.unique(np.concatenate([np.empty((0, 3), np.int64), *pieces]), axis=0)  # sorted by area
    _, first = np.unique(grids.keys(found[:, 1], found[:, 2]), return_index=True)
    area_of, columns, rows = found[first].T
    order = np.lexsort((columns, -grid.upward * rows, area_of))
    return AreaCells((grid,), np.zeros(len(order), np.int64), columns[order], rows[order], areas, area_of[order])


def _boxes(areas: Sequence[Area], target: str) -> _Boxes:
    """Return the bounds of each part of areas in another CRS; longitudes may run past 180 degrees.

    Raises AoiError where an area does not lie on the Earth.
    """
    parts, area_of = shapely.get_parts([area.polygon for area in areas], return_index=True)
    bounds = np.array(shapely.bounds(parts))
    for source in dict.fromkeys(area.crs for area in areas):
        of_crs = np.array([area.crs == source for area in areas])[area_of]
        bounds[of_crs] = bounds_in(bounds[of_crs], source, target)
    lost = ~np.isfinite(bounds).all(axis=1)
    if lost.any():
        name = areas[area_of[lost][0]].name
        raise AoiError(f"area {name!r}: does not lie on the Earth in its CRS; mend its coordinates or CRS")
    return _Boxes(bounds, area_of)


def bounds_in(bounds: NDArray[np.float64], source: str, target: str) -> NDArray[np.float64]:
    """Return bounds (n, 4) of boxes in another CRS, infinite where these end; longitudes may run past 180 degrees."""
    if crs.same(source, target):
        return bounds
    to_target, circle = crs.transformer(source, target), crs.circle(target)
    sides = np.linspace(0.0, 1.0, 5)
    across, up = (side.ravel() for side in np.meshgrid(sides, sides))
    width, height = bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1]
    x, y = bounds[:, :1] + across * width[:, None], bounds[:, 1:2] + up * height[:, None]
    x, y = map(np.asarray, to_target.transform(x, y))
    if circle:
        x = x - circle * np.round((x - x[:, :1]) / circle)
    low, high = np.stack([x.min(axis=1), y.min(axis=1)], axis=1), np.stack([x.max(axis=1), y.max(axis=1)], axis=1)
    with np.errstate(invalid="ignore"):
        bulge = 1e-3 * (high - low)  # sides are curved between points
    converted = np.concatenate([low - bulge, high + bulge], axis=1)
    large = np.maximum(width, height) * crs.metres_per_unit(source) > LARGE
    for i in np.flatnonzero(large):
        west, south, east, north = bounds[i].tolist()
        left, bottom, right, top = to_target.transform_bounds(west, south, east, north, densify_pts=51)
        converted[i] = left, bottom, right + circle if circle and right < left else right, top
    return converted


def _by_zone(boxes: _Boxes) -> tuple[NDArray[np.int64], _Boxes]:
    """Cut boxes in degrees by UTM zones and hemispheres; return these, (n, 2) zone and whether south, and the parts."""
    zones, bounds, area_of = [np.empty((0, 2), np.int64)], [np.empty((0, 4))], [np.empty(0, np.int64)]
    west, south, east, north = boxes.bounds.T
    first, last = (np.floor((side + 180.0) / 6.0).astype(np.int64) for side in (west, east))
    for k in range(int((last - first).max(initial=-1)) + 1):
        zone = first + k
        turn = 360.0 * np.floor(zone / 60)
        left, right = np.maximum(west, 6.0 * zone - 180.0) - turn, np.minimum(east, 6.0 * zone - 174.0) - turn
        for southern in (True, False):
            low, high = (south, np.minimum(north, 0.0)) if southern else (np.maximum(south, 0.0), north)
            part = (zone <= last) & (low <= high)
            zones.append(np.stack([zone % 60 + 1, np.full(len(zone), southern)], axis=1)[part])
            ends = left, np.maximum(low, -89.9), right, np.minimum(high, 89.9)
            bounds.append(np.stack(ends, axis=1)[part])
            area_of.append(boxes.area_of[part])
    return np.concatenate(zones), _Boxes(np.concatenate(bounds), np.concatenate(area_of))


def _covering(
    grid: Grid, bounds: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Yield positions of boxes, columns and rows, each (n,), of all cells in or beside boxes, some million at a time.

    bounds: (B, 4) of the boxes, in the grid's CRS.
    """
    beside = np.array([-1, 1])
    ends = np.sort(grid.row_at(bounds[:, [1, 3]]), axis=1) + beside
    sides = grid.column_at(bounds[:, [0, 2]]) + beside
    heights, widths = ends[:, 1] - ends[:, 0] + 1, sides[:, 1] - sides[:, 0] + 1
    box_of, nth = _counted(heights)
    rows = ends[box_of, 0] + nth
    batches = np.cumsum(widths[box_of]) // CANDIDATES
    for members in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(batches)) + 1):
        row_of, nth = _counted(widths[box_of[members]])
        row_of = members[row_of]
        yield box_of[row_of], sides[box_of[row_of], 0] + nth, rows[row_of]


def _counted(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return positions, each as often as it is counted, and numbers from 0 among equal ones."""
    positions = np.repeat(np.arange(len(counts)), counts)
    return positions, np.arange(len(positions)) - np.repeat(np.cumsum(counts) - counts, counts)


def _holds(areas: Sequence[Area], area_of: NDArray[np.int64], points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell of points (N, 2), degrees east and north, which lie in their area (N,), as `aoi.holds` does of one area."""
    inside = np.zeros(len(points), dtype=bool)
    polygons = np.array([area.polygon for area in areas], dtype=object)
    shapely.prepare(polygons)
    for source in dict.fromkeys(area.crs for area in areas):
        of_crs = np.array([area.crs == source for area in areas])[area_of]
        mine = polygons[area_of[of_crs]]
        x, y = points[of_crs].T
        if crs.same(source, crs.LONLAT):
            inside[of_crs] = np.any([shapely.intersects_xy(mine, x + turn, y) for turn in (-360.0, 0.0, 360.0)], axis=0)
        else:
            inside[of_crs] = shapely.intersects_xy(mine, *crs.transformer(crs.LONLAT, source).transform(x, y))
    return inside


def _aligned_cells(areas: Sequence[Area], grid: Grid, extents: NDArray[np.float64]) -> AreaCells:
    """Return the cells of an aligned grid whose centre lies in an area and on one of the rasters of the lattice.

    extents: (R, 4) left, bottom, right, top of the rasters, in the grid's CRS.
    """
    boxes = _in_grid(areas, grid)
    boxes, extent_of = boxes.within(extents)
    pieces = []
    for which, columns, rows in _covering(grid, boxes.bounds):
        x, y = grid.centres(columns, rows)
        left, bottom, right, top = extents[extent_of[which]].T
        points = grid.lonlat(columns, rows)
        inside = (x >= left) & (x < right) & (y >= bottom) & (y < top)
        inside[inside] = grid.on_earth(columns[inside], rows[inside])
        inside[inside] = _holds(areas, boxes.area_of[which][inside], points[inside])
        pieces.append(np.stack([boxes.area_of[which], columns, rows], axis=1)[inside])
    return _first_come(areas, grid, pieces)


def _in_grid(areas: Sequence[Area], grid: Grid) -> _Boxes:
    """Return boxes of areas in a grid's CRS, a cell wider, at any turn round the Earth; boundless where it has none."""
    degrees, circle = _boxes(areas, crs.LONLAT), crs.circle(grid.crs)
    bounds = bounds_in(degrees.bounds, crs.LONLAT, grid.crs)
    bounds = bounds + np.array([-grid.width, -grid.height, grid.width, grid.height])
    lost = ~np.isfinite(bounds).all(axis=1) | (bounds[:, 0] > bounds[:, 2])
    bounds[lost] = -1e30, -1e30, 1e30, 1e30
    turns = (-circle, 0.0, circle) if circle else (0.0,)
    turned = [bounds + np.array([turn, 0.0, turn, 0.0]) for turn in turns]
    return _Boxes(np.concatenate(turned), np.tile(degrees.area_of, len(turns)))
