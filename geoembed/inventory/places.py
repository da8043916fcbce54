"""Where things lie, JSON-ready: CRS, bounds in degrees, areas."""

from collections.abc import Sequence
from typing import Any

import geopandas
import numpy as np
from numpy.typing import NDArray

from geoembed.ground import crs as crs_
from geoembed.ground.lattice import GeoBox

EQUAL_AREA = "EPSG:6933"
"""WGS 84 / NSIDC EASE-Grid 2.0 Global, in which areas are those on the ground."""


def of_table(table: geopandas.GeoDataFrame) -> dict[str, Any]:
    """Return CRS, bounds and, of polygons, the area of a table's geometries."""
    if table.crs is None or not len(table):
        return {"crs": None}
    lonlat = table.geometry.to_crs(crs_.LONLAT)
    place: dict[str, Any] = {"crs": crs_.name(table.crs.to_wkt()), "bounds": bounds(lonlat.bounds.to_numpy())}
    area = table.geometry.to_crs(EQUAL_AREA).area.sum() / 1e6
    return place | ({"area_km2": float(f"{area:.6g}")} if np.isfinite(area) and area > 0 else {})


def of_boxes(boxes: Sequence[GeoBox]) -> dict[str, Any]:
    """Return CRSs and bounds of rectangles of pixels."""
    rows = []
    for box in boxes:
        corners = box.bounds
        if not crs_.same(box.crs, crs_.LONLAT):
            corners = crs_.transformer(box.crs, crs_.LONLAT).transform_bounds(*corners)
        rows.append(corners)
    names = dict.fromkeys(crs_.name(box.crs) for box in boxes)
    return {"crs": list(names) if len(names) > 1 else next(iter(names)), "bounds": bounds(np.array(rows))}


def bounds(rows: NDArray[Any]) -> dict[str, float] | None:
    """Return west, south, east, north in degrees (EPSG:4326) around rows of these, (N, 4).

    Where rows cross 180 degrees, their west being above their east, so do the bounds.
    """
    rows = np.asarray(rows, dtype=float)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        return None
    west, south, east, north = rows.T
    crosses = (west > east).any()
    low = west[west > 0].min() if crosses else west.min()
    high = east[east < 0].max() if crosses else east.max()
    values = (low, south.min(), high, north.max())
    return {
        name: round(float(value), 5) for name, value in zip(("west", "south", "east", "north"), values, strict=True)
    }
