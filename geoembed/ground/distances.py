"""Distances between places on the Earth."""

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod


def metres(lonlat: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return geodesic distances in metres on the WGS84 ellipsoid.

    Places are (..., 2), degrees east and north, of shapes that broadcast.
    """
    start, end = np.broadcast_arrays(lonlat, other)
    _, _, distance = Geod(ellps="WGS84").inv(start[..., 0], start[..., 1], end[..., 0], end[..., 1])
    return np.asarray(distance)
