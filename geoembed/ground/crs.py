"""Coordinate reference systems (CRS), told by WKT or authority code: whether two are one, and the way between them."""

from __future__ import annotations

from functools import lru_cache

from pyproj import CRS, Transformer

LONLAT = "EPSG:4326"
"""Degrees; in this package always in the order east, north."""


@lru_cache(maxsize=1024)
def same(one: str, other: str) -> bool:
    """Tell whether two CRS are the same, however they are written and whatever their axis order."""
    first, second = CRS.from_user_input(one), CRS.from_user_input(other)
    if one == other or first.equals(second, ignore_axis_order=True):
        return True
    code = first.to_epsg()
    return code is not None and code == second.to_epsg()


@lru_cache(maxsize=1024)
def transformer(source: str, target: str) -> Transformer:
    """Return the transformation between two CRS, in x, y order (east, north) on both sides."""
    return Transformer.from_crs(source, target, always_xy=True)


@lru_cache(maxsize=1024)
def metres_per_unit(crs: str) -> float:
    """Return how many metres a unit of a CRS's axes is; a degree is 60 nautical miles, as along a meridian."""
    axis = CRS.from_user_input(crs).axis_info[0]
    return 1852.0 * 60.0 if axis.unit_name == "degree" else float(axis.unit_conversion_factor)


@lru_cache(maxsize=1024)
def is_geographic(crs: str) -> bool:
    """Tell whether a CRS has longitudes, on which 360 degrees on is the same place."""
    return bool(CRS.from_user_input(crs).is_geographic)


def name(crs: str) -> str:
    """Return a CRS by its authority's code where it has one, such as EPSG:32632, else as it is written."""
    known = CRS.from_user_input(crs).to_authority(min_confidence=100)
    return ":".join(known) if known else crs


@lru_cache(maxsize=1024)
def horizontal(crs: str) -> str:
    """Return a CRS without its heights, as WKT where it has some (EPSG:4326+5773), else as it is written."""
    known = CRS.from_user_input(crs)
    return known.to_2d().to_wkt() if len(known.axis_info) > 2 else crs
