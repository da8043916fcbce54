"""Cells' outlines in any coordinate reference system."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from geoembed.ground import crs as crs_
from geoembed.ground.grid import Cells

SIDE_PARTS = 4
"""Straight pieces of a cell's side in another CRS. A UTM side of 4.5 km at 60 degrees north then lies within 5 cm."""


def turns(crs: str) -> tuple[float, ...]:
    """Return what to add to x so as to meet data a whole turn away: degrees in a geographic CRS, else only 0.

    A chip that crosses 180 degrees lies at both ends of a map of the world.
    """
    return (-360.0, 0.0, 360.0) if crs_.is_geographic(crs) else (0.0,)


def rings(crs: str, cells: Cells) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Yield, per grid, the outlines of its cells (n, points, 2), counter-clockwise, x and y in `crs`, and positions.

    Longitudes run on past 180 where a cell crosses it; points outside the CRS's domain are infinite.
    """
    geographic = len(turns(crs)) > 1
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
        if geographic:
            xs = xs - 360.0 * np.round((xs - xs[:, :1]) / 360.0)
        yield np.stack([xs, ys], axis=2), positions
