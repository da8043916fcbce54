"""Grids of cells in a coordinate reference system (CRS), the cells on them, and chip ids.

The fixed grid is one grid per six-degree UTM zone and hemisphere. Its origin is the zone's, so that everyone's chips
line up. An aligned grid has its origin at the upper left corner of a raster.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from geoembed.errors import ChipError
from geoembed.ground import crs
from geoembed.ground.lattice import Lattice
from geoembed.names import CHIP_ID
from geoembed.outputs import digests

SOUTH_LIMIT, NORTH_LIMIT = -80.0, 84.0
"""Limits of UTM in degrees north (NGA.STND.0037, The Universal Grids)."""


@dataclass(frozen=True)
class Grid:
    """A grid of cells of `size` x `size` pixels.

    Cell (column, row) has its lower left corner at (x + column * size * dx, y + row * size * dy) where rows grow
    northward, and its upper left corner at (x + column * size * dx, y - row * size * dy) where they grow southward.

    name: the beginning of its chip ids.
    crs: authority code or WKT.
    x, y: the origin, in units of the CRS.
    dx, dy: width and height of a pixel in units of the CRS, both above 0.
    size: pixels along a cell's side.
    northward: whether rows grow northward.
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
    def lattice(self) -> Lattice:
        """Return the lattice of the cells' pixels."""
        return Lattice(self.crs, self.x, self.y, self.dx, self.dy)

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
        """Return the length of a cell's shorter side in metres; in a geographic CRS as if along a meridian."""
        return min(self.width, self.height) * crs.metres_per_unit(self.crs)

    @property
    def upward(self) -> int:
        """Return +1 where rows grow northward, else -1."""
        return 1 if self.northward else -1

    def centres(self, columns: NDArray[Any], rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return x and y, each (N,), of the centres of cells, in the grid's CRS."""
        return self.x + (columns + 0.5) * self.width, self.y + (rows + 0.5) * self.height * self.upward

    def lonlat(self, columns: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float64]:
        """Return the centres of cells, (N, 2): degrees east in [-180, 180) and degrees north (EPSG:4326).

        They are infinite or NaN where they are not on Earth.
        """
        lon, lat = crs.transformer(self.crs, crs.LONLAT).transform(*self.centres(columns, rows))
        with np.errstate(invalid="ignore"):
            return np.stack([(np.asarray(lon) + 180.0) % 360.0 - 180.0, np.asarray(lat)], axis=1)

    def corners(self, columns: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float64]:
        """Return the corners of cells, (N, 4, 2), counter-clockwise from the lower left, degrees (EPSG:4326).

        Longitudes run on past 180 where a cell crosses the antimeridian.
        """
        lon, lat = crs.transformer(self.crs, crs.LONLAT).transform(*self._corners(columns, rows))
        lon = np.asarray(lon)
        crossing = np.ptp(lon, axis=1) > 180.0
        lon = np.where(crossing[:, None] & (lon < 0.0), lon + 360.0, lon)
        return np.stack([lon, np.asarray(lat)], axis=2)

    def on_earth(self, columns: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which cells, (N,), are on Earth with all corners: the edge of a map of the world cuts through some."""
        x, y = self._corners(columns, rows)
        lon, lat = crs.transformer(self.crs, crs.LONLAT).transform(x, y)
        if crs.circle(self.crs):
            return np.asarray(np.isfinite(lat).all(axis=1))
        # PROJ gives places to points beyond the edge of some maps, elsewhere on these.
        x_again, y_again = crs.transformer(crs.LONLAT, self.crs).transform(lon, lat)
        off = np.maximum(np.abs(x_again - x), np.abs(y_again - y))
        return np.asarray((off <= max(self.width, self.height)).all(axis=1))

    def _corners(self, columns: NDArray[Any], rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return x and y of the corners of cells, each (N, 4), counter-clockwise from the lower left."""
        x, y = self.centres(columns, rows)
        half_w, half_h = self.width / 2, self.height / 2
        xs = np.stack([x - half_w, x + half_w, x + half_w, x - half_w], axis=1)
        return xs, np.stack([y - half_h, y - half_h, y + half_h, y + half_h], axis=1)

    def column_at(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """Return the columns of the cells at x in the grid's CRS."""
        return np.floor((np.asarray(x) - self.x) / self.width).astype(np.int64)

    def row_at(self, y: NDArray[Any]) -> NDArray[np.int64]:
        """Return the rows of the cells at y in the grid's CRS."""
        return np.floor((np.asarray(y) - self.y) / self.height * self.upward).astype(np.int64)

    def upper_left(self, column: int, row: int) -> tuple[float, float]:
        """Return x and y of a cell's upper left corner, in the grid's CRS."""
        top = self.y + (row + 1) * self.height if self.northward else self.y - row * self.height
        return self.x + column * self.width, top

    def chip_id(self, column: int, row: int) -> str:
        """Return a cell's chip id, for example 32N-4480-00112-01134."""
        return f"{self.name}-{column:05d}-{row:05d}"


@dataclass(frozen=True, eq=False)
class Cells:
    """N cells, on one grid or on several.

    grids: the grids.
    grid_of: (N,) position in `grids` of each cell's grid.
    columns, rows: (N,) position of each cell on its grid.
    """

    grids: tuple[Grid, ...]
    grid_of: NDArray[np.int64]
    columns: NDArray[np.int64]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.columns)

    def __getitem__(self, which: NDArray[Any] | list[int]) -> Self:
        """Return the cells chosen by a mask or by positions, with their outlines where these are computed already."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        chosen: dict[str, Any] = {name: value[which] for name, value in values.items() if isinstance(value, np.ndarray)}
        part = replace(self, **chosen)
        if "outlines" in self.__dict__:
            part.__dict__["outlines"] = self.outlines[which]
        return part

    @property
    def grid(self) -> Grid:
        """Return the grid of cells that all lie on one; raises ValueError where they lie on several."""
        (grid,) = self.grids
        return grid

    def by_grid(self) -> Iterator[tuple[Grid, NDArray[np.int64]]]:
        """Yield each grid that has cells, and the cells' positions."""
        order = np.argsort(self.grid_of, kind="stable")
        ends = np.searchsorted(self.grid_of[order], np.arange(len(self.grids) + 1))
        for number, grid in enumerate(self.grids):
            if ends[number] < ends[number + 1]:
                yield grid, order[ends[number] : ends[number + 1]]

    @cached_property
    def chip_ids(self) -> list[str]:
        """Return the chip ids of the cells."""
        places = zip(self.grid_of.tolist(), self.columns.tolist(), self.rows.tolist(), strict=True)
        return [self.grids[number].chip_id(column, row) for number, column, row in places]

    @cached_property
    def outlines(self) -> NDArray[Any]:
        """Return the outlines, (N,) shapely geometries in EPSG:4326; cells that cross 180 degrees are cut there."""
        corners = self._corners()
        outlines: NDArray[Any] = np.asarray(shapely.polygons(corners))
        for i in np.flatnonzero((corners[:, :, 0] > 180.0).any(axis=1)):
            outlines[i] = _cut_at_180(outlines[i])
        return outlines

    def bounds(self) -> NDArray[np.float64]:
        """Return west, south, east, north in degrees (EPSG:4326), (N, 4); west > east where a cell crosses 180."""
        corners = self._corners()
        bounds = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        bounds[bounds[:, 2] > 180.0, 2] -= 360.0
        return bounds

    def lonlat(self) -> NDArray[np.float64]:
        """Return the centres, (N, 2): degrees east in [-180, 180) and degrees north (EPSG:4326)."""
        points = np.empty((len(self), 2))
        for grid, positions in self.by_grid():
            points[positions] = grid.lonlat(self.columns[positions], self.rows[positions])
        return points

    def _corners(self) -> NDArray[np.float64]:
        corners = np.empty((len(self), 4, 2))
        for grid, positions in self.by_grid():
            corners[positions] = grid.corners(self.columns[positions], self.rows[positions])
        return corners


def utm(zone: int, south: bool, size: int, resolution: float) -> Grid:
    """Return the fixed grid of a UTM zone (1-60) and hemisphere; `resolution` is in metres per pixel."""
    letter, base = ("S", 32700) if south else ("N", 32600)
    name = f"{zone:02d}{letter}-{np.format_float_positional(size * resolution, precision=9, trim='-')}"
    return Grid(name, f"EPSG:{base + zone}", 0.0, 0.0, resolution, resolution, size, northward=True)


def aligned(lattice: Lattice, size: int) -> Grid:
    """Return the grid of cells of `size` pixels whose origin is the corner (x, y) of a raster's lattice.

    Its name is a hash of CRS, pixel size and origin, and the size.
    """
    name = crs.name(lattice.crs)
    code = digests.of_value([name, lattice.dx, lattice.dy, lattice.x, lattice.y])[:8]
    return Grid(f"{code}-{size}", name, lattice.x, lattice.y, lattice.dx, lattice.dy, size, northward=False)


def cells(grids: Iterable[Grid], chip_ids: NDArray[Any]) -> Cells:
    """Return the cells of chip ids, in their order; raises ChipError for what is no chip id on these grids."""
    grids = tuple(grids)
    names, columns, rows = parse(chip_ids)
    number_of = {grid.name: number for number, grid in enumerate(grids)}
    unique_names, inverse = np.unique(names, return_inverse=True)
    for name in unique_names.tolist():
        if name not in number_of:
            raise ChipError(f"chips of the grid {name}, which is not described; make the file again with --overwrite")
    numbers = np.array([number_of[name] for name in unique_names.tolist()], dtype=np.int64)
    return Cells(grids, numbers[inverse], columns, rows)


def parse(chip_ids: NDArray[Any]) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.int64]]:
    """Return grid names, columns and rows of chip ids, each (N,); raises ChipError for what is no chip id."""
    names, columns, rows = [], [], []
    for chip_id in chip_ids.tolist():
        parts = CHIP_ID.match(str(chip_id))
        if parts is None:
            raise ChipError(f"{str(chip_id)!r} is no chip id; make the file that holds it again with --overwrite")
        names.append(parts["name"])
        columns.append(int(parts["column"]))
        rows.append(int(parts["row"]))
    return np.array(names, np.str_), np.array(columns, np.int64), np.array(rows, np.int64)


def keys(columns: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a number per cell, (N,), that differs between all cells of a grid with |column| and |row| below 2^31."""
    return columns * 2**32 + rows


def _cut_at_180(outline: Any) -> Any:
    west = shapely.intersection(outline, shapely.box(0.0, -90.0, 180.0, 90.0))
    east = shapely.intersection(outline, shapely.box(180.0, -90.0, 540.0, 90.0))
    return shapely.multipolygons([west, shapely.transform(east, lambda points: points - [360.0, 0.0])])
