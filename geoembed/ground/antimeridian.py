"""Shapes in degrees (EPSG:4326) that cross 180 degrees, where longitudes begin anew."""

from typing import Any

import numpy as np
import shapely


def cut(shape: Any) -> Any:
    """Return polygons with longitudes from -180 to 180, in parts where they ran on past these."""
    west, _, east, _ = shape.bounds
    if west >= -180.0 and east <= 180.0:
        return shape
    turns = 360.0 * np.arange(np.floor((west + 180.0) / 360.0), np.floor((east + 180.0) / 360.0) + 1)
    parts = [_between(shape, turn) for turn in turns]
    return shapely.union_all([part for part in parts if part.area > 0])


def _between(shape: Any, turn: float) -> Any:
    part = shapely.intersection(shape, shapely.box(turn - 180.0, -90.0, turn + 180.0, 90.0))
    return shapely.transform(part, lambda points: points - [turn, 0.0])


def joined(shape: Any) -> Any:
    """Return a shape with longitudes from 0 to 360, so that what is cut at 180 degrees is whole."""
    return shapely.transform(shape, lambda points: np.column_stack([points[:, 0] % 360.0, points[:, 1]]))
