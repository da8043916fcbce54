"""Coordinate reference systems (CRS), given as WKT or authority code: comparing, converting and naming them."""

import math
from functools import lru_cache

from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

LONLAT = "EPSG:4326"
"""WGS 84 in degrees; in this package always in the order east, north."""


@lru_cache(maxsize=1024)
def same(first: str, second: str) -> bool:
    """Tell whether two CRS are the same, however they are written and whatever their axis order."""
    a, b = CRS.from_user_input(first), CRS.from_user_input(second)
    if first == second or a.equals(b, ignore_axis_order=True):
        return True
    code = a.to_epsg()
    return code is not None and code == b.to_epsg()


@lru_cache(maxsize=1024)
def transformer(source: str, target: str) -> Transformer:
    """Return the transformation between two CRS, in x, y order (east, north) on both sides."""
    return Transformer.from_crs(source, target, always_xy=True)


@lru_cache(maxsize=1024)
def metres_per_unit(crs: str) -> float:
    """Return the length in metres of a unit of a CRS's axes; of a degree, that along a meridian: 60 nautical miles."""
    parsed = CRS.from_user_input(crs)
    factor = float(parsed.axis_info[0].unit_conversion_factor)  # to metres or radians
    return 1852.0 * 60.0 * round(math.degrees(factor), 12) if parsed.is_geographic else factor


@lru_cache(maxsize=1024)
def circle(crs: str) -> float | None:
    """Return how many units of x are once round the Earth, 360 of degrees; None where x is no longitude.

    The longitudes of a rotated pole, a derived CRS, are none: they say nothing of how far east a place lies.
    """
    parsed = CRS.from_user_input(crs)
    if not parsed.is_geographic or parsed.is_derived:
        return None
    return round(2.0 * math.pi / float(parsed.axis_info[0].unit_conversion_factor), 9)


@lru_cache(maxsize=1024)
def is_on_earth(crs: str) -> bool:
    """Tell whether a CRS leads to longitudes and latitudes on the Earth; local ones and those of Mars do not."""
    geodetic = CRS.from_user_input(crs).geodetic_crs
    if geodetic is None or not geodetic.is_geographic:
        return False
    try:
        transformer(crs, LONLAT)
    except ProjError:
        return False
    return True


def name(crs: str) -> str:
    """Return a CRS's authority code such as EPSG:32632, or the CRS as it is written where it has none."""
    authority_and_code = CRS.from_user_input(crs).to_authority(min_confidence=100)
    return ":".join(authority_and_code) if authority_and_code else crs


@lru_cache(maxsize=1024)
def horizontal(crs: str) -> str:
    """Return the horizontal part, as WKT, of a CRS with heights such as EPSG:4326+5773; others as they are written."""
    parsed = CRS.from_user_input(crs)
    return parsed.to_2d().to_wkt() if len(parsed.axis_info) > 2 else crs
