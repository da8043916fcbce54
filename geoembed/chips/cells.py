"""Which cells of the fixed grid, or of a grid anchored on imagery, areas of interest take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.errors import AoiError
from geoembed.ground import crs, grid
from geoembed.ground.aoi import Area, holds
from geoembed.ground.grid import Grid
from geoembed.imagery.rasters import Raster

if TYPE_CHECKING:
    from numpy.typing import NDArray

CANDIDATES = 1_000_000
"""Cells tested at a time, which bounds memory."""


@dataclass(frozen=True)
class Taken:
    """Cells of one grid that an area takes: columns and rows, shape (N,), from north to south and west to east."""

    area: Area
    grid: Grid
    columns: NDArray[np.int64]
    rows: NDArray[np.int64]

    @property
    def chip_ids(self) -> list[str]:
        """Return the ids of the cells."""
        return self.grid.chip_ids(self.columns, self.rows)


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
    lattices: dict[Grid, list[tuple[float, float, float, float]]] = {}
    for raster in sorted(rasters, key=lambda one: (one.path.name, str(one.path))):
        anchored = next((one for one in [*recorded, *lattices] if _on(one, raster, size)), None)
        lattices.setdefault(anchored or _anchored(raster, size), []).append(raster.bounds)
    taken = []
    for area in areas:
        for lattice, extents in lattices.items():
            found = _aligned_of(area, lattice, np.unique(np.array(extents), axis=0))
            taken += [found] if found is not None else []
    return _apart(_first_come(taken))


def _anchored(raster: Raster, size: int) -> Grid:
    left, _, _, top = raster.bounds
    return grid.aligned(crs.name(raster.crs), raster.transform.a, -raster.transform.e, left, top, size)


def _on(lattice: Grid, raster: Raster, size: int) -> bool:
    """Tell whether a raster's pixels lie on a grid's pixel lattice."""
    if lattice.size != size or lattice.northward:
        return False
    left, _, _, top = raster.bounds
    column, row = (left - lattice.x) / lattice.dx, (lattice.y - top) / lattice.dy
    same_pixel = np.isclose([raster.transform.a, -raster.transform.e], [lattice.dx, lattice.dy], rtol=1e-9).all()
    return bool(
        same_pixel
        and abs(column - round(column)) < 1e-3
        and abs(row - round(row)) < 1e-3
        and crs.same(raster.crs, lattice.crs)
    )


def _first_come(taken: Sequence[Taken]) -> list[Taken]:
    """Give each cell to the first area that takes it."""
    seen: dict[Grid, Any] = {}
    kept = []
    for one in taken:
        keys = grid.keys(one.columns, one.rows)
        new = ~np.isin(keys, seen.get(one.grid, []))
        seen[one.grid] = np.union1d(seen.get(one.grid, []), keys)
        if new.any():
            kept.append(Taken(one.area, one.grid, one.columns[new], one.rows[new]))
    return kept


def _apart(taken: Sequence[Taken]) -> list[Taken]:
    """Leave out cells whose centre lies in a cell of an earlier grid."""
    kept: list[Taken] = []
    for one in taken:
        new = np.ones(len(one.columns), dtype=bool)
        for earlier in kept:
            if earlier.grid != one.grid:
                way = crs.transformer(one.grid.crs, earlier.grid.crs)
                x, y = (np.asarray(values) for values in way.transform(*one.grid.centres(one.columns, one.rows)))
                there = np.isfinite(x) & np.isfinite(y)
                keys = grid.keys(earlier.grid.column_at(x[there]), earlier.grid.row_at(y[there]))
                new[there] &= ~np.isin(keys, grid.keys(earlier.columns, earlier.rows))
        if new.any():
            kept.append(Taken(one.area, one.grid, one.columns[new], one.rows[new]))
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
                lattice = grid.utm(zone, southern, size, resolution)
                for columns, rows in _candidates(lattice, (lon_0, lat_0, lon_1, lat_1)):
                    keep, far = _in_zone(area, lattice, columns, rows, zone, southern)
                    beyond += far
                    found.setdefault(lattice, []).append(np.stack([columns[keep], rows[keep]], axis=1))
    return [taken for lattice, pieces in found.items() if (taken := _sorted(area, lattice, pieces)) is not None], beyond


def _sorted(area: Area, lattice: Grid, pieces: list[NDArray[np.int64]]) -> Taken | None:
    cells = np.unique(np.concatenate(pieces), axis=0)
    if not len(cells):
        return None
    order = np.lexsort((cells[:, 0], -lattice.upward * cells[:, 1]))
    return Taken(area, lattice, cells[order, 0], cells[order, 1])


def _parts_lonlat(area: Area) -> Iterator[tuple[float, float, float, float]]:
    """Yield west, south, east, north (degrees; west may pass -180 and east 180) of each part of an area."""
    import shapely

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
    lattice: Grid, box: tuple[float, float, float, float]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield columns and rows of all cells near a box of longitudes and latitudes, some million at a time."""
    west, south, east, north = box
    transform = crs.transformer(crs.LONLAT, lattice.crs)
    south, north = max(south, -89.9), min(north, 89.9)
    left, bottom, right, top = transform.transform_bounds(west, south, east, north, densify_pts=51)
    yield from _block(lattice, left, bottom, right, top)


def _block(
    lattice: Grid, left: float, bottom: float, right: float, top: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    ends = lattice.row_at(np.array([bottom, top]))
    sides = lattice.column_at(np.array([left, right]))
    columns = np.arange(sides[0] - 1, sides[1] + 2)
    all_rows = np.arange(ends.min() - 1, ends.max() + 2)
    step = max(1, CANDIDATES // len(columns))
    for start in range(0, len(all_rows), step):
        rows = all_rows[start : start + step]
        yield np.tile(columns, len(rows)), np.repeat(rows, len(columns))


def _in_zone(
    area: Area, lattice: Grid, columns: NDArray[np.int64], rows: NDArray[np.int64], zone: int, southern: bool
) -> tuple[NDArray[np.bool_], int]:
    points = grid.lonlat(lattice, columns, rows)
    lon, lat = points[:, 0], points[:, 1]
    west = -180.0 + 6.0 * (zone - 1)
    keep = (lon >= west) & (lon < west + 6.0) & ((lat < 0.0) if southern else (lat >= 0.0))
    keep[keep] = holds(area, points[keep])
    reached = (lat >= grid.SOUTH_LIMIT) & (lat <= grid.NORTH_LIMIT)
    return keep & reached, int((keep & ~reached).sum())


def _aligned_of(area: Area, lattice: Grid, extents: NDArray[np.float64]) -> Taken | None:
    """Return the cells of an aligned grid whose centre lies in an area and on one of the rasters of the lattice.

    extents: (R, 4) left, bottom, right, top of the rasters, in the grid's CRS.
    """
    pieces = []
    for left, bottom, right, top in extents:
        for columns, rows in _block(lattice, left, bottom, right, top):
            x, y = lattice.centres(columns, rows)
            keep = (x >= left) & (x < right) & (y >= bottom) & (y < top)
            columns, rows = columns[keep], rows[keep]
            keep = holds(area, grid.lonlat(lattice, columns, rows))
            pieces.append(np.stack([columns[keep], rows[keep]], axis=1))
    return _sorted(area, lattice, pieces) if pieces else None
