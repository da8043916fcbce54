"""Where chips lie: lattices of cells in a coordinate reference system (CRS), and the ids of their cells.

The fixed grid has one lattice per six-degree UTM zone and hemisphere, with its origin at the zone's own origin, so
that everyone's chips line up. An aligned grid is anchored at the upper left corner of a raster.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.ground import crs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

CHIP_ID = re.compile(r"^(?P<name>(?P<zone>[^-]+)-[^-]+)-(?P<column>-?\d+)-(?P<row>-?\d+)$")

SOUTH_LIMIT, NORTH_LIMIT = -80.0, 84.0
"""Latitudes between which UTM is defined, degrees north (NGA.STND.0037, The Universal Grids)."""


@dataclass(frozen=True)
class Grid:
    """A lattice of cells of `size` x `size` pixels.

    Pixels are `dx` wide and `dy` high (positive, in units of the CRS). Cell (column, row) has its lower left corner at
    (x + column * size * dx, y + row * size * dy) where rows grow northward, and its upper left corner at
    (x + column * size * dx, y - row * size * dy) where they grow southward.
    """

    name: str
    crs: str
    x: float
    y: float
    dx: float
    dy: float
    size: int
    northward: bool

    @property
    def width(self) -> float:
        """Return a cell's width in units of the CRS."""
        return self.size * self.dx

    @property
    def height(self) -> float:
        """Return a cell's height in units of the CRS."""
        return self.size * self.dy

    @property
    def side_metres(self) -> float:
        """Return about how long a cell's shorter side is on the ground, in metres."""
        return min(self.width, self.height) * crs.metres_per_unit(self.crs)

    @property
    def upward(self) -> int:
        """Return +1 where rows grow northward, else -1."""
        return 1 if self.northward else -1

    def centres(self, columns: NDArray[Any], rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return x and y of the centres of cells, in the grid's CRS."""
        return self.x + (columns + 0.5) * self.width, self.y + (rows + 0.5) * self.height * self.upward

    def column_at(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """Return the columns of the cells that hold x."""
        return np.floor((np.asarray(x) - self.x) / self.width).astype(np.int64)

    def row_at(self, y: NDArray[Any]) -> NDArray[np.int64]:
        """Return the rows of the cells that hold y."""
        return np.floor((np.asarray(y) - self.y) / self.height * self.upward).astype(np.int64)

    def upper_left(self, column: int, row: int) -> tuple[float, float]:
        """Return x and y of a cell's upper left corner, in the grid's CRS."""
        top = self.y + (row + 1) * self.height if self.northward else self.y - row * self.height
        return self.x + column * self.width, top

    def chip_id(self, column: int, row: int) -> str:
        """Return a cell's id, for example 32N-4480-00112-01134."""
        return f"{self.name}-{column:05d}-{row:05d}"

    def chip_ids(self, columns: NDArray[Any], rows: NDArray[Any]) -> list[str]:
        """Return the ids of cells."""
        return [self.chip_id(column, row) for column, row in zip(columns.tolist(), rows.tolist(), strict=True)]

    def to_json(self) -> dict[str, Any]:
        """Return the grid as a JSON-ready dict; `Grid(**value)` is its inverse."""
        return asdict(self)


def utm(zone: int, south: bool, size: int, resolution: float) -> Grid:
    """Return the fixed grid of UTM zone 1-60 on one hemisphere; `resolution` is metres per pixel."""
    letter, base = ("S", 32700) if south else ("N", 32600)
    name = f"{zone:02d}{letter}-{np.format_float_positional(size * resolution, precision=9, trim='-')}"
    return Grid(name, f"EPSG:{base + zone}", 0.0, 0.0, resolution, resolution, size, northward=True)


def aligned(crs: str, dx: float, dy: float, x: float, y: float, size: int) -> Grid:
    """Return the grid anchored at the upper left corner (x, y) of a raster with pixels of dx by dy in `crs`.

    Its name is a hash of CRS, pixel size and anchor, and the cell's size in pixels.
    """
    from geoembed.outputs import digests

    return Grid(f"{digests.of_value([crs, dx, dy, x, y])[:8]}-{size}", crs, x, y, dx, dy, size, northward=False)


def parse(chip_id: str) -> tuple[str, int, int]:
    """Return grid name, column and row of a chip id; ValueError if it is none."""
    match = CHIP_ID.match(chip_id)
    if match is None:
        raise ValueError(f"{chip_id!r} is no chip id")
    return match["name"], int(match["column"]), int(match["row"])


def lonlat(grid: Grid, columns: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return the centres of cells, shape (N, 2): degrees east in [-180, 180) and degrees north (EPSG:4326)."""
    lon, lat = crs.transformer(grid.crs, crs.LONLAT).transform(*grid.centres(np.asarray(columns), np.asarray(rows)))
    return np.stack([(np.asarray(lon) + 180.0) % 360.0 - 180.0, np.asarray(lat)], axis=1)


def centres(grids: Iterable[Grid], chip_ids: NDArray[Any]) -> NDArray[np.float64]:
    """Return the centres of chips, shape (N, 2): degrees east and north (EPSG:4326)."""
    points = np.empty((len(chip_ids), 2))
    for lattice, rows, cells in _by_grid(grids, chip_ids):
        points[rows] = lonlat(lattice, cells[:, 0], cells[:, 1])
    return points


def keys(columns: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return one number per cell of a grid; |column| and |row| stay below 2^31."""
    return columns * 2**32 + rows


def cells_of(chip_ids: NDArray[Any]) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Return the grid names (N,) and the columns and rows (N, 2) of chip ids."""
    parsed = [parse(str(chip_id)) for chip_id in chip_ids]
    cells = np.array([(column, row) for _, column, row in parsed], dtype=np.int64).reshape(-1, 2)
    return np.array([name for name, _, _ in parsed], dtype=np.str_), cells


def _by_grid(
    grids: Iterable[Grid], chip_ids: NDArray[Any]
) -> Iterator[tuple[Grid, NDArray[np.bool_], NDArray[np.int64]]]:
    """Yield each grid, which of the chips lie on it, and their columns and rows, shape (n, 2)."""
    by_name = {grid.name: grid for grid in grids}
    names, cells = cells_of(chip_ids)
    for name in np.unique(names):
        yield by_name[str(name)], names == name, cells[names == name]


def corners(grid: Grid, columns: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return the corners of cells, shape (N, 4, 2), counter-clockwise from the lower left, degrees (EPSG:4326).

    Longitudes run on past 180 where a cell crosses the antimeridian.
    """
    columns, rows = np.asarray(columns), np.asarray(rows)
    x, y = grid.centres(columns, rows)
    half_w, half_h = grid.width / 2, grid.height / 2
    xs = np.stack([x - half_w, x + half_w, x + half_w, x - half_w], axis=1)
    ys = np.stack([y - half_h, y - half_h, y + half_h, y + half_h], axis=1)
    lon, lat = crs.transformer(grid.crs, crs.LONLAT).transform(xs, ys)
    lon = np.asarray(lon)
    crossing = np.ptp(lon, axis=1) > 180.0
    lon = np.where(crossing[:, None] & (lon < 0.0), lon + 360.0, lon)
    return np.stack([lon, np.asarray(lat)], axis=2)


def footprints(grids: Iterable[Grid], chip_ids: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the outlines of chips as shapely geometries in EPSG:4326, and their bounds, shape (N, 4).

    Bounds are west, south, east, north in degrees; west > east, and the outline is a MultiPolygon cut at 180, where
    a chip crosses the antimeridian.
    """
    import shapely

    points = np.empty((len(chip_ids), 4, 2))
    for lattice, rows, cells in _by_grid(grids, chip_ids):
        points[rows] = corners(lattice, cells[:, 0], cells[:, 1])
    outlines: NDArray[Any] = np.asarray(shapely.polygons(points))
    bounds = shapely.bounds(outlines)
    for i in np.flatnonzero(bounds[:, 2] > 180.0):
        outlines[i] = _cut_at_180(outlines[i])
        bounds[i, 2] -= 360.0
    return outlines, bounds


def _cut_at_180(outline: Any) -> Any:
    import shapely

    west = shapely.intersection(outline, shapely.box(0.0, -90.0, 180.0, 90.0))
    east = shapely.intersection(outline, shapely.box(180.0, -90.0, 540.0, 90.0))
    return shapely.multipolygons([west, shapely.transform(east, lambda points: points - [360.0, 0.0])])
