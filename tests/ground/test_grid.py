import numpy as np
import pytest
import shapely
from pyproj import Transformer
from synthetic import LATTICE, ids

from geoembed.errors import ChipError
from geoembed.ground import grid
from geoembed.ground.lattice import Lattice


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
    lattice = grid.aligned(Lattice("EPSG:32632", 500_003.0, 5_000_007.0, 10.0, 10.0), 16)
    assert lattice.upper_left(0, 0) == (500_003.0, 5_000_007.0)
    assert lattice.upper_left(2, 3) == (500_323.0, 5_000_007.0 - 480.0)
    assert lattice.row_at(np.array([5_000_006.0, 5_000_008.0])).tolist() == [0, -1]
    cells = grid.cells([lattice], np.array([lattice.chip_id(-3, 12)]))
    assert (cells.grid, cells.columns.tolist(), cells.rows.tolist()) == (lattice, [-3], [12])


def test_the_name_of_an_aligned_grid_depends_on_pixel_and_anchor() -> None:
    first = grid.aligned(Lattice("EPSG:32632", 0.0, 0.0, 10.0, 10.0), 16)
    others = [
        grid.aligned(Lattice("EPSG:32632", 0.0, 0.0, 20.0, 20.0), 16),
        grid.aligned(Lattice("EPSG:32632", 5.0, 0.0, 10.0, 10.0), 16),
        grid.aligned(Lattice("EPSG:32633", 0.0, 0.0, 10.0, 10.0), 16),
    ]
    assert len({first.name, *(other.name for other in others)}) == 4


@pytest.mark.parametrize("bad", ["", "32N", "32N-4480", "32N-4480-a-b", "hello"])
def test_what_is_no_chip_id_is_refused(bad: str) -> None:
    with pytest.raises(ChipError, match="is no chip id"):
        grid.parse(np.array([bad]))


def test_ids_of_another_grid_are_refused() -> None:
    with pytest.raises(ChipError, match="grid 32N-4480, which is not described"):
        grid.cells([grid.utm(33, False, 448, 10.0)], np.array(["32N-4480-00112-01134"]))


def test_cells_of_several_grids_keep_the_files_order() -> None:
    west, east = grid.utm(32, False, 448, 10.0), grid.utm(33, False, 448, 10.0)
    chip_ids = [west.chip_id(112, 1134), east.chip_id(111, 1134), west.chip_id(113, 1134)]
    cells = grid.cells([east, west], np.array(chip_ids))
    assert cells.chip_ids == chip_ids
    assert [(found, positions.tolist()) for found, positions in cells.by_grid()] == [(east, [1]), (west, [0, 2])]
    alone = [grid.cells([east, west], np.array([chip_id])) for chip_id in chip_ids]
    assert (cells.lonlat() == np.concatenate([one.lonlat() for one in alone])).all()
    assert (cells.bounds() == np.concatenate([one.bounds() for one in alone])).all()
    assert (cells.outlines == np.concatenate([one.outlines for one in alone])).all()


def test_outlines_are_computed_once_and_go_with_some_of_the_cells() -> None:
    cells = grid.cells([LATTICE], ids(LATTICE, 4, 3))
    outlines = cells.outlines
    part = cells[[5, 2]]
    assert part.chip_ids == [cells.chip_ids[5], cells.chip_ids[2]]
    assert part.outlines[0] is outlines[5]
    assert part.outlines[1] is outlines[2]
    assert len(cells[np.zeros(12, dtype=bool)]) == 0


def test_footprints_are_the_cells_corners() -> None:
    lattice = grid.utm(32, False, 448, 10.0)
    cells = grid.cells([lattice], np.array([lattice.chip_id(112, 1134)]))
    (outline,), bounds = cells.outlines, cells.bounds()
    lon, lat = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True).transform(112 * 4480, 1134 * 4480)
    assert np.allclose(shapely.get_coordinates(outline)[0], [lon, lat])
    assert np.allclose(bounds[0], outline.bounds)


def test_a_cell_over_180_degrees_is_cut_there() -> None:
    lattice = grid.utm(1, False, 448, 10.0)
    columns = np.arange(20, 60)
    cells = grid.cells([lattice], np.array([lattice.chip_id(column, 200) for column in columns.tolist()]))
    outlines, bounds = cells.outlines, cells.bounds()
    cut = bounds[:, 0] > bounds[:, 2]
    assert cut.sum() == 1
    (parts,) = outlines[cut]
    assert parts.geom_type == "MultiPolygon"
    assert all(abs(lon) <= 180.0 for lon in shapely.get_coordinates(parts)[:, 0])
    assert parts.area == pytest.approx(outlines[~cut][0].area, rel=0.01)
    centres = cells.lonlat()
    assert ((centres[:, 0] >= -180.0) & (centres[:, 0] < 180.0)).all()


def test_a_side_in_metres() -> None:
    assert grid.utm(32, False, 32, 10.0).side_metres == 320.0
    assert grid.aligned(Lattice("EPSG:4326", 0.0, 0.0, 1 / 1200, 1 / 1200), 12).side_metres == pytest.approx(
        1111, rel=0.01
    )
