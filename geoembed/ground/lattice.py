"""Lattices: where pixels without end lie on the ground. Boxes: rectangles of such pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoembed.ground import crs as crs_

TOLERANCE = 0.01
"""Distance in pixels up to which two pixel corners count as the same.

The tiles of a mosaic store rounded corners and pixel sizes, which put them some thousandths of a pixel apart. Copying
pixels that are so little off is more exact than GDAL's warp, which finds source pixels to an eighth of a pixel only.
"""

MESH = 21
"""Points along a side of a box that tell where it lies in another CRS."""


@dataclass(frozen=True)
class Lattice:
    """Pixels without end, in rows from north to south.

    crs: WKT or authority code.
    x, y: any corner of pixels, in units of the CRS.
    dx, dy: width and height of a pixel in units of the CRS, both above 0.
    """

    crs: str
    x: float
    y: float
    dx: float
    dy: float

    def offset(self, box: GeoBox) -> tuple[int, int] | None:
        """Return (row, column) of a box's upper left pixel on this lattice, None where its pixels lie on another.

        Both ends of the box are compared: small differences in pixel size add up over many pixels.
        """
        if not crs_.same(self.crs, box.crs):
            return None
        left, bottom, right, top = box.bounds
        first_column, last_column = (left - self.x) / self.dx, (right - self.x) / self.dx
        first_row, last_row = (self.y - top) / self.dy, (self.y - bottom) / self.dy
        row, column = round(first_row), round(first_column)
        shifts = first_row - row, last_row - row - box.height, first_column - column, last_column - column - box.width
        return (row, column) if max(map(abs, shifts)) <= TOLERANCE else None


@dataclass(frozen=True)
class GeoBox:
    """A rectangle of pixels on the ground, north up (the GeoBox of odc-geo).

    crs: WKT or authority code.
    transform: maps (column, row) to (x, y) in units of the CRS; (0, 0) is the upper left corner.
    height, width: number of rows and columns.
    """

    crs: str
    transform: Affine
    height: int
    width: int

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Return left, bottom, right, top in units of the CRS."""
        left, top = self.transform @ (0, 0)
        right, bottom = self.transform @ (self.width, self.height)
        return left, bottom, right, top

    @property
    def lattice(self) -> Lattice:
        """Return the lattice that its pixels belong to."""
        transform = self.transform
        return Lattice(self.crs, transform.c, transform.f, transform.a, -transform.e)

    def mesh(self, crs: str) -> NDArray[np.float64]:
        """Return x and y in a CRS of points spread over the box, (MESH, MESH, 2), infinite where they are not on Earth.

        Where x is a longitude it runs on past 180 degrees, if the box crosses these and holds no pole.
        """
        left, bottom, right, top = self.bounds
        x, y = np.meshgrid(np.linspace(left, right, MESH), np.linspace(top, bottom, MESH))
        if crs_.same(crs, self.crs):
            return np.stack([x, y], axis=2)
        mesh = np.stack(crs_.transformer(self.crs, crs).transform(x, y), axis=2)
        if crs_.circle(self.crs) is None:  # PROJ gives places to points beyond the edge of some maps of the world
            again = np.stack(crs_.transformer(crs, self.crs).transform(mesh[..., 0], mesh[..., 1]), axis=2)
            with np.errstate(invalid="ignore"):
                off = np.abs(again - np.stack([x, y], axis=2)).max(axis=2)
            # There and back again may take two ways from datum to datum, some hundred metres apart.
            near = 1e-3 * max(right - left, top - bottom) + 1000.0 / crs_.metres_per_unit(self.crs)
            mesh[~(off <= near)] = np.inf
        return _running_on(mesh, crs_.circle(crs))

    def part(self, row: int, column: int, height: int, width: int) -> GeoBox:
        """Return the box whose upper left pixel is (row, column) of this one, inside it or not."""
        return GeoBox(self.crs, self.transform @ Affine.translation(column, row), height, width)


def _running_on(mesh: NDArray[np.float64], circle: float | None) -> NDArray[np.float64]:
    """Return a mesh (n, n, 2) whose longitudes do not jump by a circle from point to point; None: x is no longitude."""
    x, finite = mesh[..., 0], np.isfinite(mesh).all(axis=2)
    if circle is None or not finite.any():
        return mesh
    # The outer rows may lie on a pole, where any longitude is right.
    near = np.unwrap(x[MESH // 2], period=circle) if finite.all() else np.full(MESH, x[finite][0])
    x[finite] -= circle * np.round((x - near)[finite] / circle)
    return mesh
