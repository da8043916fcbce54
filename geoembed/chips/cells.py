"""Which cells of the fixed grid, or of a grid anchored on imagery, areas of interest take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

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


@dataclass(frozen=True, eq=False)
class Taken(Cells):
    """Cells of one grid that an area takes, from north to south and west to east."""

    area: Area


def fixed(areas: Sequence[Area], size: int, resolution: float) -> tuple[list[Taken], int]:
    """Return the cells of the fixed grid that areas take, and how many lie beyond UTM.

    A cell is taken where its centre lies in the area and in its zone's longitudes, west edge included; centres beyond
    80 degrees south or 84 north are the ones left out. A cell in two areas belongs to the first.
    size: pixels along a cell's side; resolution: metres per pixel.
    """
    taken, beyond = [], 0
    for area in areas:
        found, far = _fixed_of(area, size, resolution)
        taken += found
        beyond += far
    return _first_come(taken), beyond


def aligned(areas: Sequence[Area], rasters: Sequence[Raster], size: int, recorded: Sequence[Grid]) -> list[Taken]:
    """Return the cells of grids anchored on rasters: one grid per CRS and pixel lattice.

    A grid's anchor is the upper left corner of the first raster on the lattice, in name order, unless `recorded` has a
    grid on that lattice. A cell is taken where its centre lies in the area and on one of the lattice's rasters, and in
    no cell of an earlier lattice: ground that two lattices cover would else be in two chips, and maybe two splits.
    """
    extents: dict[Grid, list[tuple[float, float, float, float]]] = {}
    for raster in sorted(rasters, key=lambda raster: (PurePath(raster.address).name, raster.address)):
        anchored = next((grid for grid in [*recorded, *extents] if _on(grid, raster, size)), None)
        extents.setdefault(anchored or grids.aligned(raster.lattice, size), []).append(raster.bounds)
    taken = []
    for area in areas:
        for grid, bounds in extents.items():
            found = _aligned_of(area, grid, np.unique(np.array(bounds), axis=0))
            taken += [found] if found is not None else []
    return _apart(_first_come(taken))


def _on(grid: Grid, raster: Raster, size: int) -> bool:
    """Tell whether a raster's pixels lie on the pixels of an aligned grid."""
    return grid.size == size and not grid.northward and grid.lattice.offset(raster) is not None


def _first_come(taken: Sequence[Taken]) -> list[Taken]:
    """Give each cell to the first area that takes it."""
    seen: dict[Grid, Any] = {}
    kept = []
    for cells in taken:
        keys = grids.keys(cells.columns, cells.rows)
        new = ~np.isin(keys, seen.get(cells.grid, []))
        seen[cells.grid] = np.union1d(seen.get(cells.grid, []), keys)
        if new.any():
            kept.append(cells[new])
    return kept


def _apart(taken: Sequence[Taken]) -> list[Taken]:
    """Leave out cells whose centre lies in a cell of an earlier grid."""
    kept: list[Taken] = []
    for cells in taken:
        new = np.ones(len(cells), dtype=bool)
        for earlier in kept:
            if earlier.grid != cells.grid:
                way = crs.transformer(cells.grid.crs, earlier.grid.crs)
                x, y = map(np.asarray, way.transform(*cells.grid.centres(cells.columns, cells.rows)))
                there = np.isfinite(x) & np.isfinite(y)
                keys = grids.keys(earlier.grid.column_at(x[there]), earlier.grid.row_at(y[there]))
                new[there] &= ~np.isin(keys, grids.keys(earlier.columns, earlier.rows))
        if new.any():
            kept.append(cells[new])
    return kept


def _fixed_of(area: Area, size: int, resolution: float) -> tuple[list[Taken], int]:
    found: dict[Grid, list[NDArray[np.int64]]] = {}
    beyond = 0
    for west, south, east, north in _parts_lonlat(area):
        for zone, lon_0, lon_1 in _zones(west, east):
            for southern in (True, False):
                lat_0, lat_1 = (south, min(north, 0.0)) if southern else (max(south, 0.0), north)
                if lat_0 > lat_1:
                    continue
                grid = grids.utm(zone, southern, size, resolution)
                for columns, rows in _candidates(grid, (lon_0, lat_0, lon_1, lat_1)):
                    keep, far = _in_zone(area, grid, columns, rows, zone, southern)
                    beyond += far
                    found.setdefault(grid, []).append(np.stack([columns[keep], rows[keep]], axis=1))
    return [taken for grid, pieces in found.items() if (taken := _sorted(area, grid, pieces)) is not None], beyond


def _sorted(area: Area, grid: Grid, pieces: list[NDArray[np.int64]]) -> Taken | None:
    cells = np.unique(np.concatenate(pieces), axis=0)
    if not len(cells):
        return None
    order = np.lexsort((cells[:, 0], -grid.upward * cells[:, 1]))
    return Taken((grid,), np.zeros(len(cells), np.int64), cells[order, 0], cells[order, 1], area)


def _parts_lonlat(area: Area) -> Iterator[tuple[float, float, float, float]]:
    """Yield west, south, east, north (degrees; west may pass -180 and east 180) of each part of an area."""
    bounds = shapely.bounds(shapely.get_parts(area.polygon))
    if crs.same(area.crs, crs.LONLAT):
        yield from (tuple(map(float, part)) for part in bounds)  # type: ignore[misc]
        return
    transform = crs.transformer(area.crs, crs.LONLAT)
    for part in bounds:
        west, south, east, north = transform.transform_bounds(part[0], part[1], part[2], part[3], densify_pts=51)
        if not np.isfinite([west, south, east, north]).all():
            raise AoiError(f"area {area.name!r}: does not lie on the Earth in its CRS; mend its coordinates or CRS")
        yield west, south, east + 360.0 if east < west else east, north


def _zones(west: float, east: float) -> Iterator[tuple[int, float, float]]:
    """Yield UTM zone, west and east (degrees in -180 to 180) of the parts of a range of longitudes."""
    for k in range(int(np.floor((west + 180.0) / 6.0)), int(np.floor((east + 180.0) / 6.0)) + 1):
        zone_west = -180.0 + 6.0 * k
        turn = 360.0 * np.floor(k / 60)
        yield k % 60 + 1, max(west, zone_west) - turn, min(east, zone_west + 6.0) - turn


def _candidates(
    grid: Grid, box: tuple[float, float, float, float]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield columns and rows of all cells near a box of longitudes and latitudes, some million at a time."""
    west, south, east, north = box
    transform = crs.transformer(crs.LONLAT, grid.crs)
    south, north = max(south, -89.9), min(north, 89.9)
    left, bottom, right, top = transform.transform_bounds(west, south, east, north, densify_pts=51)
    yield from _covering(grid, left, bottom, right, top)


def _covering(
    grid: Grid, left: float, bottom: float, right: float, top: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
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
    points = grid.lonlat(columns, rows)
    lon, lat = points[:, 0], points[:, 1]
    west = -180.0 + 6.0 * (zone - 1)
    keep = (lon >= west) & (lon < west + 6.0) & ((lat < 0.0) if southern else (lat >= 0.0))
    keep[keep] = holds(area, points[keep])
    reached = (lat >= grids.SOUTH_LIMIT) & (lat <= grids.NORTH_LIMIT)
    return keep & reached, int((keep & ~reached).sum())


def _aligned_of(area: Area, grid: Grid, extents: NDArray[np.float64]) -> Taken | None:
    """Return the cells of an aligned grid whose centre lies in an area and on one of the rasters of the lattice.

    extents: (R, 4) left, bottom, right, top of the rasters, in the grid's CRS.
    """
    pieces = []
    for left, bottom, right, top in extents:
        for columns, rows in _covering(grid, left, bottom, right, top):
            x, y = grid.centres(columns, rows)
            keep = (x >= left) & (x < right) & (y >= bottom) & (y < top)
            columns, rows = columns[keep], rows[keep]
            keep = holds(area, grid.lonlat(columns, rows))
            pieces.append(np.stack([columns[keep], rows[keep]], axis=1))
    return _sorted(area, grid, pieces) if pieces else None
