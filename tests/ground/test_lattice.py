import pytest
from affine import Affine
from pyproj import CRS

from geoembed.ground.lattice import TOLERANCE, GeoBox, Lattice

TEN_METRES = Lattice("EPSG:32632", 500_000.0, 5_000_000.0, 10.0, 10.0)


def box(x: float, y: float, dx: float = 10.0, dy: float = 10.0, crs: str = "EPSG:32632", side: int = 100) -> GeoBox:
    return GeoBox(crs, Affine(dx, 0.0, x, 0.0, -dy, y), side, side)


def test_pixels_of_one_lattice_are_found_by_row_and_column() -> None:
    assert TEN_METRES.offset(box(500_030.0, 4_999_950.0)) == (5, 3)
    assert TEN_METRES.offset(box(499_970.0, 5_000_050.0)) == (-5, -3)
    assert TEN_METRES.offset(box(500_030.0, 4_999_950.0, crs=CRS.from_epsg(32632).to_wkt("WKT1_GDAL"))) == (5, 3)


@pytest.mark.parametrize("shift", [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)])
def test_corners_may_differ_by_the_tolerance(shift: tuple[float, float]) -> None:
    for share, expected in ((0.9, (5, 3)), (1.1, None)):
        x, y = (10.0 * TOLERANCE * share * direction for direction in shift)
        assert TEN_METRES.offset(box(500_030.0 + x, 4_999_950.0 + y)) == expected


def test_pixel_sizes_may_not_run_apart_over_the_box() -> None:
    # Over 100 pixels a pixel that is 0.9e-4 larger is 0.009 pixels too far, over 200 it is 0.018.
    assert TEN_METRES.offset(box(500_030.0, 4_999_950.0, dx=10.0009)) == (5, 3)
    assert TEN_METRES.offset(box(500_030.0, 4_999_950.0, dy=10.0009, side=200)) is None
    assert TEN_METRES.offset(box(500_030.0, 4_999_950.0, dx=20.0, dy=20.0)) is None


def test_another_crs_is_another_lattice() -> None:
    assert TEN_METRES.offset(box(500_030.0, 4_999_950.0, crs="EPSG:32633")) is None


def test_a_part_has_its_own_corner_and_the_same_lattice() -> None:
    part = box(500_000.0, 5_000_000.0).part(-2, 7, 5, 9)
    assert part.bounds == (500_070.0, 4_999_970.0, 500_160.0, 5_000_020.0)
    assert TEN_METRES.offset(part) == (-2, 7)
    assert (part.height, part.width, part.lattice.dx) == (5, 9, 10.0)
