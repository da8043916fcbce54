"""Footprints of others become cells that lie where they lie."""

from __future__ import annotations

import geopandas
import numpy as np
import pytest
import shapely

from geoembed.errors import EmbeddingsError
from geoembed.exchange import footprints
from geoembed.ground import grid


def squares(x: float, y: float, side: float, n: int, step: float | None = None) -> np.ndarray:
    steps = np.arange(n) * (step or side)
    return np.array([shapely.box(x + i, y + j, x + i + side, y + j + side) for j in steps for i in steps], object)


def in_degrees(shapes: np.ndarray, crs: str) -> np.ndarray:
    found: np.ndarray = geopandas.GeoSeries(shapes, crs=crs).to_crs("EPSG:4326").to_numpy()
    return found


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:32633", "EPSG:32719"])
def test_squares_of_utm_written_in_degrees_are_these_squares(crs: str) -> None:
    shapes = squares(399_960.0, 4_900_020.0, 5120.0, 6)
    placed = footprints.place(in_degrees(shapes, crs), "EPSG:4326")
    assert (len(placed.cells.grids), placed.changed) == (1, 0)
    (lattice,) = placed.cells.grids
    assert (lattice.crs, lattice.width, lattice.height) == (crs, 5120.0, 5120.0)
    assert placed.cell_of.tolist() == list(range(36))
    x, y = lattice.centres(placed.cells.columns, placed.cells.rows)
    np.testing.assert_allclose(np.stack([x, y], 1), shapely.get_coordinates(shapely.centroid(shapes)), atol=1.0)
    again = grid.cells(placed.cells.grids, np.array(placed.cells.chip_ids))
    np.testing.assert_array_equal(again.columns, placed.cells.columns)


def test_tiles_over_a_zones_edge_stay_on_their_own_grid() -> None:
    shapes = squares(760_000.0, 5_000_000.0, 10_000.0, 4)  # east of 12 degrees, where zone 33 begins
    placed = footprints.place(in_degrees(shapes, "EPSG:32632"), "EPSG:4326")
    assert [lattice.crs for lattice in placed.cells.grids] == ["EPSG:32632"] and placed.changed == 0


def test_tenths_of_degrees_stay_degrees() -> None:
    placed = footprints.place(squares(10.0, 50.0, 0.1, 3), "EPSG:4326")
    (lattice,) = placed.cells.grids
    assert lattice.crs == "EPSG:4326" and lattice.width == pytest.approx(0.1)
    np.testing.assert_allclose(placed.cells.bounds()[4], [10.1, 50.1, 10.2, 50.2], atol=1e-6)


def test_overlapping_squares_take_a_grid_for_each_shift() -> None:
    placed = footprints.place(squares(500_000.0, 5_000_000.0, 100.0, 4, step=50.0), "EPSG:32632")
    assert len(placed.cells) == 16 and len(placed.cells.grids) == 4


def test_points_are_pixels_and_twins_are_one_cell() -> None:
    points = np.array([shapely.Point(9.001, 45.0), shapely.Point(9.001, 45.0), None, shapely.Point(15.5, -3.0)], object)
    placed = footprints.place(points, "EPSG:4326")
    assert placed.cell_of.tolist() == [0, 0, -1, 1] and len(placed.cells) == 2
    assert {lattice.width for lattice in placed.cells.grids} == {10.0}
    lonlat = placed.cells.lonlat()
    np.testing.assert_allclose(lonlat, [[9.001, 45.0], [15.5, -3.0]], atol=1e-4)


def test_other_shapes_become_their_bounds_and_are_counted() -> None:
    triangle = shapely.Polygon([(500_000, 5_000_000), (501_000, 5_000_000), (500_000, 5_001_000)])
    placed = footprints.place(np.array([triangle], object), "EPSG:32632")
    assert placed.changed == 1 and placed.cells.grid.width == 1000.0


def test_footprints_on_no_lattice_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprints, "MOST_GRIDS", 3)
    with pytest.raises(EmbeddingsError, match="on 4 different grids; pool them over chips with --chips"):
        footprints.place(squares(500_000.0, 5_000_000.0, 100.0, 4, step=50.0), "EPSG:32632")
