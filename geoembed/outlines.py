"""Chips' outlines in any coordinate reference system."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed import grid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

SIDE_PARTS = 4
"""Straight pieces of a cell's side in another CRS. A UTM side of 4.5 km at 60 degrees north then lies within 5 cm."""


@lru_cache(maxsize=256)
def same_crs(one: str, other: str) -> bool:
    """Tell whether two CRS are the same, however they are written and whatever their axis order."""
    from pyproj import CRS

    first, second = CRS.from_user_input(one), CRS.from_user_input(other)
    if first.equals(second, ignore_axis_order=True):
        return True
    code = first.to_epsg()
    return code is not None and code == second.to_epsg()


def turns(crs: str) -> tuple[float, ...]:
    """Return what to add to x so as to meet data a whole turn away: degrees in a geographic CRS, else only 0.

    A chip that crosses 180 degrees lies at both ends of a map of the world.
    """
    from pyproj import CRS

    return (-360.0, 0.0, 360.0) if CRS.from_user_input(crs).is_geographic else (0.0,)


def rings(
    crs: str, grids: Sequence[grid.Grid], chip_ids: NDArray[Any]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Yield, per grid, the outlines of its chips (n, points, 2), counter-clockwise, x and y in `crs`, and their rows.

    Longitudes run on past 180 where a chip crosses it; points outside the CRS's domain are infinite.
    """
    from pyproj import Transformer

    names, cells = grid_cells(chip_ids)
    geographic = len(turns(crs)) > 1
    for one in grids:
        rows = np.flatnonzero(names == one.name)
        x, y = one.centres(cells[rows, 0], cells[rows, 1])
        same = same_crs(one.crs, crs)
        side = np.linspace(-0.5, 0.5, (1 if same else SIDE_PARTS) + 1)[:-1]
        edge = np.full(side.size, 0.5)
        across, up = np.concatenate([side, edge, -side, -edge]), np.concatenate([-edge, side, edge, -side])
        xs, ys = x[:, None] + across * one.width, y[:, None] + up * one.height
        if not same:
            xs, ys = Transformer.from_crs(one.crs, crs, always_xy=True).transform(xs, ys)
        if geographic:
            xs = xs - 360.0 * np.round((xs - xs[:, :1]) / 360.0)
        yield np.stack([xs, ys], axis=2), rows


def grid_cells(chip_ids: NDArray[Any]) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Return the grid names (N,) and the columns and rows (N, 2) of chip ids."""
    parsed = [grid.parse(str(chip_id)) for chip_id in chip_ids]
    cells = np.array([(column, row) for _, column, row in parsed], dtype=np.int64).reshape(-1, 2)
    return np.array([name for name, _, _ in parsed], dtype=np.str_), cells
