"""Tiles of whole degrees: which ones lie near a place, and what they are called."""

from typing import Any

import numpy as np
import shapely

PAD = 0.01
"""Degrees around a tile in which it counts as near, as pixels at an edge are made of those beyond it too."""


def name(latitude: int, longitude: int) -> str:
    """Return what a tile with a corner at whole degrees north and east is called, such as N48W090, N00E000 or S01W180.

    No tile is called S00 or W000.
    """
    return f"{'S' if latitude < 0 else 'N'}{abs(latitude):02d}{'W' if longitude < 0 else 'E'}{abs(longitude):03d}"


def upper_left(ground: Any) -> list[tuple[int, int]]:
    """Return degrees north and east of the upper left corners of the tiles of 1 x 1 degree near a place, in order.

    ground: a geometry, or an array of them, in degrees (EPSG:4326), which may run past 180.
    """
    grid = np.meshgrid(np.arange(90, -90, -1), np.arange(-180, 180), indexing="ij")
    north, west = grid[0].ravel(), grid[1].ravel()
    tree = shapely.STRtree(shapely.get_parts(ground))
    near: set[int] = set()
    for turn in (-360, 0, 360):
        boxes = shapely.box(west + turn - PAD, north - 1 - PAD, west + turn + 1 + PAD, north + PAD)
        near.update(tree.query(boxes, predicate="intersects")[0].tolist())
    return [(int(north[tile]), int(west[tile])) for tile in sorted(near)]
