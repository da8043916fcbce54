import numpy as np
import pytest
from pyproj import Geod
from synthetic import LATTICE, ids

from geoembed.ground import grid, outlines


def area(ring: np.ndarray) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def test_in_the_grids_own_crs_cells_are_their_corners() -> None:
    chip_ids = ids(LATTICE, 3, 2)
    ((points, rows),) = outlines.rings("EPSG:32632", grid.cells((LATTICE,), chip_ids))
    assert points.shape == (6, 4, 2) and rows.tolist() == list(range(6))
    assert points[0].tolist() == [
        [480_000, 5_120_000],
        [480_320, 5_120_000],
        [480_320, 5_120_320],
        [480_000, 5_120_320],
    ]


def test_in_another_crs_sides_bend_and_areas_hold() -> None:
    wide = grid.utm(32, south=False, size=448, resolution=10.0)
    chip_ids = np.array([wide.chip_id(60, 1500)])
    ((points, _),) = outlines.rings("EPSG:3035", grid.cells((wide,), chip_ids))  # equal area
    assert points.shape == (1, 16, 2)
    # UTM stretches lengths by up to 0.04 % here, areas by twice that
    assert area(points[0]) == pytest.approx(4480.0**2, rel=2e-3)


def test_longitudes_run_on_over_180() -> None:
    lattice = grid.utm(1, south=True, size=32, resolution=1000.0)
    columns = np.arange(int(lattice.column_at(np.array([100_000.0]))[0]), 12)
    chip_ids = np.array([lattice.chip_id(c, 280) for c in columns.tolist()])
    cells = grid.cells((lattice,), chip_ids)
    west, middle, east = (points for points, _ in outlines.rings("EPSG:4326", cells))
    assert np.ptp(middle[:, :, 0], axis=1).max() < 1.0
    for turned, degrees in ((west, -360.0), (east, 360.0)):
        assert (turned == middle + np.array([degrees, 0.0])).all()
    assert len(list(outlines.rings("EPSG:32601", cells))) == 1


@pytest.mark.parametrize("zone, row", [(32, 11), (32, 1500), (60, 40), (1, 40)])
def test_areas_are_geodesic(zone: int, row: int) -> None:
    wide = grid.utm(zone, south=False, size=448, resolution=10.0)
    cells = grid.cells((wide,), np.array([wide.chip_id(column, row) for column in (37, 111, 185)]))
    points, positions = next(iter(outlines.rings("EPSG:4326", cells)))
    wanted = [Geod(ellps="WGS84").polygon_area_perimeter(*ring.T)[0] for ring in points[np.argsort(positions)]]
    assert outlines.areas(cells) == pytest.approx(wanted, rel=1e-5)
