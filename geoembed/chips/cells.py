"""The cells that areas of interest take, on the fixed grid or on grids anchored on imagery."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray

from geoembed.errors import AoiError
from geoembed.ground import crs
from geoembed.ground import grid as grids
from geoembed.ground.aoi import Area, holds
from geoembed.ground.grid import Cells, Grid
from geoembed.imagery.rasters import Raster

CANDIDATES = 1_000_000
"""Cells tested at a time, which bounds memory."""

METRES_PER_DEGREE = crs.metres_per_unit(crs.LONLAT)

Bounds: TypeAlias = tuple[float, float, float, float]
"""Left, bottom, right and top (west, south, east and north), in a CRS that the context tells."""


@dataclass(frozen=True, eq=False)
class AreaCells(Cells):
    """The cells of one grid that an area takes, from north to south and west to east.

    area: the area of interest.
    """

    area: Area


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
    if within is not None:
        pad = size * resolution / METRES_PER_DEGREE * np.array([[-1.0, -1.0, 1.0, 1.0]])
        wider = np.cos(np.radians(np.minimum(np.abs(within[:, [1, 3]]).max(axis=1), 89.0)))
        within = within + np.where([[True, False, True, False]], pad / wider[:, None], pad)
    taken, beyond = [], 0
    for area in areas:
        cells, count = _fixed_cells(area, size, resolution, within)
        taken += cells
        beyond += count
    return _first_come(taken), beyond


def aligned(areas: Sequence[Area], rasters: Sequence[Raster], size: int, recorded: Sequence[Grid]) -> list[AreaCells]:
    """Return the cells of grids anchored on rasters that areas take: one grid per CRS and pixel lattice.

    A grid's origin is the upper left corner of the first raster on the lattice, in name order, unless `recorded` has a
    grid on that lattice. A cell is taken where its centre lies in the area, on one of the lattice's rasters, and in no
    cell of an earlier grid: ground that two lattices cover would else be in two chips, perhaps in two splits.
    """
    extents: dict[Grid, list[Bounds]] = {}
    for raster in sorted(rasters, key=lambda raster: (PurePath(raster.address).name, raster.address)):
        matching = next((grid for grid in [*recorded, *extents] if _is_on(grid, raster, size)), None)
        extents.setdefault(matching or grids.aligned(raster.lattice, size), []).append(raster.bounds)
    taken = []
    for area in areas:
        for grid, bounds in extents.items():
            taken += _aligned_cells(area, grid, np.unique(np.array(bounds), axis=0))
    return _without_overlaps(_first_come(taken))


def _is_on(grid: Grid, raster: Raster, size: int) -> bool:
    """Tell whether a raster's pixels lie on the pixels of an aligned grid."""
    return grid.size == size and not grid.northward and grid.lattice.offset(raster) is not None


def _first_come(taken: Sequence[AreaCells]) -> list[AreaCells]:
    """Give each cell to the first area that takes it."""
    keys_of: dict[Grid, Any] = {}
    kept = []
    for cells in taken:
        keys, earlier = grids.keys(cells.columns, cells.rows), keys_of.get(cells.grid, [])
        is_new = ~np.isin(keys, earlier)
        keys_of[cells.grid] = np.union1d(earlier, keys)
        if is_new.any():
            kept.append(cells[is_new])
    return kept


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


def _fixed_cells(
    area: Area, size: int, resolution: float, within: NDArray[np.float64] | None
) -> tuple[list[AreaCells], int]:
    pieces: dict[Grid, list[NDArray[np.int64]]] = {}
    beyond = 0
    for west, south, east, north in _overlaps(parts_lonlat(area), within):
        for zone, lon_0, lon_1 in _zones(west, east):
            for southern in (True, False):
                lat_0, lat_1 = (south, min(north, 0.0)) if southern else (max(south, 0.0), north)
                if lat_0 > lat_1:
                    continue
                grid = grids.utm(zone, southern, size, resolution)
                lonlat_to_grid = crs.transformer(crs.LONLAT, grid.crs)
                lonlat = (lon_0, max(lat_0, -89.9), lon_1, min(lat_1, 89.9))
                for columns, rows in _covering(grid, lonlat_to_grid.transform_bounds(*lonlat, densify_pts=51)):
                    is_taken, count = _in_zone(area, grid, columns, rows, zone, southern)
                    beyond += count
                    pieces.setdefault(grid, []).append(np.stack([columns[is_taken], rows[is_taken]], axis=1))
    return [cells for grid, arrays in pieces.items() for cells in _sorted(area, grid, arrays)], beyond


def _sorted(area: Area, grid: Grid, pieces: list[NDArray[np.int64]]) -> list[AreaCells]:
    """Return the cells in pieces (n, 2) of columns and rows, each once and in order; nothing where there is none."""
    cells = np.unique(np.concatenate(pieces), axis=0)
    order = np.lexsort((cells[:, 0], -grid.upward * cells[:, 1]))
    columns, rows = cells[order].T
    return [AreaCells((grid,), np.zeros(len(cells), np.int64), columns, rows, area)] if len(cells) else []


def _overlaps(parts: Iterable[Bounds], within: NDArray[np.float64] | None) -> Iterator[Bounds]:
    """Yield what bounds share with each of some boxes (B, 4); the bounds themselves where these are None."""
    for part in parts:
        if within is None:
            yield part
            continue
        lower, upper = np.maximum(part[:2], within[:, :2]), np.minimum(part[2:], within[:, 2:])
        overlapping = (lower <= upper).all(axis=1)
        yield from map(tuple, np.hstack([lower, upper])[overlapping].tolist())


def parts_lonlat(area: Area) -> Iterator[Bounds]:
    """Yield the bounds of each part of an area in degrees; west may pass -180, and east 180."""
    bounds = shapely.bounds(shapely.get_parts(area.polygon)).tolist()
    if crs.same(area.crs, crs.LONLAT):
        yield from map(tuple, bounds)
        return
    transformer = crs.transformer(area.crs, crs.LONLAT)
    for left, bottom, right, top in bounds:
        west, south, east, north = transformer.transform_bounds(left, bottom, right, top, densify_pts=51)
        if not np.isfinite([west, south, east, north]).all():
            raise AoiError(f"area {area.name!r}: does not lie on the Earth in its CRS; mend its coordinates or CRS")
        yield west, south, east + 360.0 if east < west else east, north


def _zones(west: float, east: float) -> Iterator[tuple[int, float, float]]:
    """Yield each UTM zone in a range of longitudes, and west and east (degrees in -180 to 180) of the range in it."""
    for k in range(int(np.floor((west + 180.0) / 6.0)), int(np.floor((east + 180.0) / 6.0)) + 1):
        zone_west = -180.0 + 6.0 * k
        turn = 360.0 * np.floor(k / 60)
        yield k % 60 + 1, max(west, zone_west) - turn, min(east, zone_west + 6.0) - turn


def _covering(grid: Grid, bounds: Bounds) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield columns and rows, each (n,), of all cells in or beside bounds in the grid's CRS, some million at a time."""
    left, bottom, right, top = bounds
    ends = grid.row_at(np.array([bottom, top]))
    sides = grid.column_at(np.array([left, right]))
    columns = np.arange(sides[0] - 1, sides[1] + 2)
    all_rows = np.arange(ends.min() - 1, ends.max() + 2)
    step = max(1, CANDIDATES // len(columns))
    for start in range(0, len(all_rows), step):
        rows = all_rows[start : start + step]
        yield np.tile(columns, len(rows)), np.repeat(rows, len(columns))


def _in_zone(
    area: Area, grid: Grid, columns: NDArray[np.int64], rows: NDArray[np.int64], zone: int, southern: bool
) -> tuple[NDArray[np.bool_], int]:
    """Tell which cells an area takes on the grid of a zone and hemisphere, and how many more lie beyond UTM."""
    points = grid.lonlat(columns, rows)
    lon, lat = points[:, 0], points[:, 1]
    west = -180.0 + 6.0 * (zone - 1)
    inside = (lon >= west) & (lon < west + 6.0) & ((lat < 0.0) if southern else (lat >= 0.0))
    inside[inside] = holds(area, points[inside])
    in_utm = (lat >= grids.SOUTH_LIMIT) & (lat <= grids.NORTH_LIMIT)
    return inside & in_utm, int((inside & ~in_utm).sum())


def _aligned_cells(area: Area, grid: Grid, extents: NDArray[np.float64]) -> list[AreaCells]:
    """Return the cells of an aligned grid whose centre lies in an area and on one of the rasters of the lattice.

    extents: (R, 4) left, bottom, right, top of the rasters, in the grid's CRS.
    """
    pieces = []
    for left, bottom, right, top in _overlaps(extents.tolist(), _bounds_on(grid, area)):
        for columns, rows in _covering(grid, (left, bottom, right, top)):
            x, y = grid.centres(columns, rows)
            on_raster = (x >= left) & (x < right) & (y >= bottom) & (y < top)
            columns, rows = columns[on_raster], rows[on_raster]
            inside = holds(area, grid.lonlat(columns, rows))
            pieces.append(np.stack([columns[inside], rows[inside]], axis=1))
    return _sorted(area, grid, pieces)


def _bounds_on(grid: Grid, area: Area) -> NDArray[np.float64] | None:
    """Return the bounds of an area in a grid's CRS, (1, 4), a cell wider; None where they have none there."""
    to_grid = crs.transformer(area.crs, grid.crs)
    west, south, east, north = area.polygon.bounds
    left, bottom, right, top = to_grid.transform_bounds(west, south, east, north, densify_pts=51)
    if not np.isfinite([left, bottom, right, top]).all() or left > right:
        return None
    width, height = grid.width, grid.height
    return np.array([[left - width, bottom - height, right + width, top + height]])
