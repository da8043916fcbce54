"""Outlines of cells in any coordinate reference system (CRS)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from geoembed.ground import crs as crs_
from geoembed.ground.grid import Cells

SIDE_PARTS = 4
"""Straight pieces that replace a cell's side in another CRS; a UTM side of 4.5 km at 60 degrees north is 5 cm off."""


EQUAL_AREA, ROUND_THE_EARTH = "EPSG:6933", 2 * 17367530.445
"""Cylindrical equal-area projection of WGS84, in metres, and how wide its map of the Earth is."""


def areas(cells: Cells) -> NDArray[np.float64]:
    """Return the area of each cell on the WGS84 ellipsoid, (N,) square metres."""
    square_metres = np.empty(len(cells))
    for points, positions in rings(EQUAL_AREA, cells):
        x, y = points[:, :, 0] - points[:, :1, 0], points[:, :, 1]
        x = x - ROUND_THE_EARTH * np.round(x / ROUND_THE_EARTH)  # of cells that cross 180 degrees
        square_metres[positions] = 0.5 * (x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y).sum(axis=1)
    return square_metres


def rings(crs: str, cells: Cells) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Yield, grid by grid, cells' outlines, counter-clockwise, (n, points, 2) x and y in `crs`, and positions (n,).

    Points outside the CRS's domain are infinite. In a geographic CRS longitudes run on past 180 where a cell crosses
    it, and each outline is yielded three times, 360 degrees apart, to meet data at both ends of a map of the world.
    """
    circle = crs_.circle(crs)
    for grid, positions in cells.by_grid():
        x, y = grid.centres(cells.columns[positions], cells.rows[positions])
        same = crs_.same(grid.crs, crs)
        # Offsets from the centre, in cells, along the lower, right, upper and left side.
        side = np.linspace(-0.5, 0.5, (1 if same else SIDE_PARTS) + 1)[:-1]
        edge = np.full(side.size, 0.5)
        across, up = np.concatenate([side, edge, -side, -edge]), np.concatenate([-edge, side, edge, -side])
        xs, ys = x[:, None] + across * grid.width, y[:, None] + up * grid.height
        if not same:
            xs, ys = crs_.transformer(grid.crs, crs).transform(xs, ys)
        if circle:
            xs = xs - circle * np.round((xs - xs[:, :1]) / circle)
        for turn in (-circle, 0.0, circle) if circle else (0.0,):
            yield np.stack([xs + turn, ys], axis=2), positions
