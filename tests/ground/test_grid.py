import numpy as np
import pytest
import shapely
from pyproj import Transformer

from geoembed.ground import grid


def test_a_cell_lies_where_its_id_says() -> None:
    lattice = grid.utm(32, False, 448, 10.0)
    assert lattice.chip_id(112, 1134) == "32N-4480-00112-01134"
    assert lattice.upper_left(112, 1134) == (112 * 4480, 1135 * 4480)
    x, y = lattice.centres(np.array([112]), np.array([1134]))
    assert (x[0], y[0]) == (112.5 * 4480, 1134.5 * 4480)
    assert (lattice.column_at(x)[0], lattice.row_at(y)[0]) == (112, 1134)
    assert lattice.crs == "EPSG:32632"
    assert grid.utm(5, True, 16, 10.0).crs == "EPSG:32705"


def test_rows_of_an_aligned_grid_grow_southward_from_the_anchor() -> None:
    lattice = grid.aligned("EPSG:32632", 10.0, 10.0, 500_003.0, 5_000_007.0, 16)
    assert lattice.upper_left(0, 0) == (500_003.0, 5_000_007.0)
    assert lattice.upper_left(2, 3) == (500_323.0, 5_000_007.0 - 480.0)
    assert lattice.row_at(np.array([5_000_006.0, 5_000_008.0])).tolist() == [0, -1]
    assert grid.parse(lattice.chip_id(-3, 12)) == (lattice.name, -3, 12)


def test_the_name_of_an_aligned_grid_depends_on_pixel_and_anchor() -> None:
    one = grid.aligned("EPSG:32632", 10.0, 10.0, 0.0, 0.0, 16)
    others = [
        grid.aligned("EPSG:32632", 20.0, 20.0, 0.0, 0.0, 16),
        grid.aligned("EPSG:32632", 10.0, 10.0, 5.0, 0.0, 16),
        grid.aligned("EPSG:32633", 10.0, 10.0, 0.0, 0.0, 16),
    ]
    assert len({one.name, *(other.name for other in others)}) == 4


@pytest.mark.parametrize("bad", ["", "32N", "32N-4480", "32N-4480-a-b", "hello"])
def test_what_is_no_chip_id_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="is no chip id"):
        grid.parse(bad)


def test_footprints_are_the_cells_corners() -> None:
    lattice = grid.utm(32, False, 448, 10.0)
    (outline,), bounds = grid.footprints([lattice], np.array([lattice.chip_id(112, 1134)]))
    lon, lat = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True).transform(112 * 4480, 1134 * 4480)
    assert np.allclose(shapely.get_coordinates(outline)[0], [lon, lat])
    assert np.allclose(bounds[0], outline.bounds)


def test_a_cell_over_180_degrees_is_cut_there() -> None:
    lattice = grid.utm(1, False, 448, 10.0)
    columns = np.arange(20, 60)
    ids = np.array([lattice.chip_id(column, 200) for column in columns])
    outlines, bounds = grid.footprints([lattice], ids)
    cut = bounds[:, 0] > bounds[:, 2]
    assert cut.sum() == 1
    (parts,) = outlines[cut]
    assert parts.geom_type == "MultiPolygon"
    assert all(abs(lon) <= 180.0 for lon in shapely.get_coordinates(parts)[:, 0])
    assert parts.area == pytest.approx(outlines[~cut][0].area, rel=0.01)
    centres = grid.centres([lattice], ids)
    assert ((centres[:, 0] >= -180.0) & (centres[:, 0] < 180.0)).all()


def test_a_side_in_metres() -> None:
    assert grid.utm(32, False, 32, 10.0).side_metres == 320.0
    assert grid.aligned("EPSG:4326", 1 / 1200, 1 / 1200, 0.0, 0.0, 12).side_metres == pytest.approx(1111, rel=0.01)
