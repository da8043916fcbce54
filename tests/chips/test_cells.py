import time

import numpy as np
import pytest
import shapely
from affine import Affine
from conftest import square
from pyproj import Transformer

from geoembed.chips import cells
from geoembed.ground.aoi import Area
from geoembed.ground.lattice import TOLERANCE
from geoembed.imagery.rasters import Encoding, Raster


def lonlat_area(polygon: object, name: str = "a") -> Area:
    return Area(name, polygon, "EPSG:4326")


def centres_of(area_cells: list[cells.AreaCells]) -> np.ndarray:
    return np.concatenate([one.lonlat() for one in area_cells])


def test_taken_are_exactly_the_cells_whose_centre_lies_inside() -> None:
    area = Area("a", square(400_000, 5_000_000, 10_000).difference(square(403_000, 5_003_000, 2_000)), "EPSG:32632")
    (area_cells,), beyond = cells.fixed([area], 32, 10.0)
    columns, rows = np.meshgrid(np.arange(1200, 1320), np.arange(15600, 15700))
    x, y = (columns.ravel() + 0.5) * 320, (rows.ravel() + 0.5) * 320
    inside = shapely.intersects_xy(area.polygon, x, y)
    expected = set(zip(columns.ravel()[inside].tolist(), rows.ravel()[inside].tolist(), strict=True))
    assert set(zip(area_cells.columns.tolist(), area_cells.rows.tolist(), strict=True)) == expected
    assert len(area_cells.columns) == len(expected) > 900
    assert beyond == 0


def test_an_area_over_two_zones_and_the_equator_takes_each_place_once() -> None:
    area = lonlat_area(shapely.box(5.9, -0.1, 6.1, 0.1))
    area_cells, _ = cells.fixed([area], 32, 10.0)
    assert {one.grid.name for one in area_cells} == {"31N-320", "31S-320", "32N-320", "32S-320"}
    for part in area_cells:
        centres = part.lonlat()
        west = 0.0 if part.grid.name.startswith("31") else 6.0
        assert ((centres[:, 0] >= west) & (centres[:, 0] < west + 6.0)).all()
        assert ((centres[:, 1] < 0.0) if "S" in part.grid.name else (centres[:, 1] >= 0.0)).all()
    # The cells' number times their area is the area's own, but for the edges.
    covered = sum(len(one.columns) for one in area_cells) * 320.0**2
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:8857", always_xy=True).transform([5.9, 6.1], [-0.1, 0.1])
    assert covered == pytest.approx((x[1] - x[0]) * (y[1] - y[0]), rel=0.02)


@pytest.mark.parametrize(
    "area",
    [
        lonlat_area(shapely.box(179.9, 10.0, 180.0, 10.2) | shapely.box(-180.0, 10.0, -179.9, 10.2)),
        lonlat_area(shapely.box(179.9, 10.0, 180.1, 10.2)),
        lonlat_area(shapely.box(-180.1, 10.0, -179.9, 10.2)),
        Area("a", shapely.transform(shapely.box(179.9, 10.0, 180.1, 10.2), lambda points: np.stack(
            Transformer.from_crs("EPSG:4326", "EPSG:3832", always_xy=True).transform(*points.T), axis=1)), "EPSG:3832"),
    ],
    ids=["two parts", "past 180", "before -180", "projected"],
)  # fmt: skip
def test_the_antimeridian_is_no_edge(area: Area) -> None:
    area_cells, _ = cells.fixed([area], 32, 10.0)
    assert sorted(one.grid.name for one in area_cells) == ["01N-320", "60N-320"]
    lon = centres_of(area_cells)[:, 0]
    assert (np.abs(np.abs(lon) - 180.0) <= 0.1).all()
    assert len(lon) == pytest.approx(2 * 10.94 * 22.12 / 0.32**2, rel=0.02)


def test_beyond_utm_is_left_out_and_counted() -> None:
    area_cells, beyond = cells.fixed([lonlat_area(shapely.box(9.0, 83.9, 9.5, 84.1))], 32, 10.0)
    assert (centres_of(area_cells)[:, 1] <= 84.0).all()
    assert beyond > 0
    assert beyond == pytest.approx(sum(len(one.columns) for one in area_cells), rel=0.3)


def test_a_cell_in_two_areas_belongs_to_the_first() -> None:
    earlier, later = (
        Area("one", square(400_000, 5_000_000, 5_000), "EPSG:32632"),
        Area("other", square(402_000, 5_000_000, 5_000), "EPSG:32632"),
    )
    both, _ = cells.fixed([earlier, later], 32, 10.0)
    alone, _ = cells.fixed([later], 32, 10.0)
    (cells_of_both,) = both
    first, second = (set(cells_of_both[cells_of_both.area_of == number].chip_ids) for number in (0, 1))
    assert cells_of_both.areas[0].name == "one"
    assert first.isdisjoint(second)
    assert set(alone[0].chip_ids) - first == second


def test_thousands_of_areas_take_a_second_and_each_its_own_cell() -> None:
    """Looked at one by one, each compared with all before it, 16,000 took 47 seconds. Each holds one centre."""
    column, row = (places.ravel() for places in np.meshgrid(np.arange(200), np.arange(100)))
    x, y = 360_000 + 320.0 * column, 5e6 + 320.0 * row
    polygons: np.ndarray = np.asarray(shapely.box(x, y, x + 320, y + 320))
    areas = [Area(f"parcel {number}", polygon, "EPSG:32632") for number, polygon in enumerate(polygons)]
    begin = time.process_time()
    (taken,), beyond = cells.fixed(areas, 32, 10.0)
    assert time.process_time() - begin < 10.0  # half a second
    assert (len(taken), beyond) == (20_000, 0)
    assert (taken.area_of == np.arange(20_000)).all()
    assert (taken.columns == column + 1125).all()
    assert (taken.rows == row + 15_625).all()


def test_longitudes_of_an_aligned_grid_may_run_from_0_to_360() -> None:
    """The raster's own lattice lies at 260 degrees east, which is 100 west."""
    scene = Raster("EPSG:4326", Affine(0.01, 0, 260.0, 0, -0.01, 41.0), 100, 100, "a", (1,), ("c",), (Encoding("u1"),))
    (taken,) = cells.aligned([lonlat_area(shapely.box(-99.84, 40.2, -99.36, 40.84))], [scene], 16, [])
    assert sorted(zip(taken.columns.tolist(), taken.rows.tolist(), strict=True)) == [
        (column, row) for column in (1, 2, 3) for row in (1, 2, 3, 4)
    ]


def raster(name: str, x: float, y: float, crs: str = "EPSG:32632", side: int = 100) -> Raster:
    encoding = Encoding("int16")
    return Raster(crs, Affine(10.0, 0.0, x, 0.0, -10.0, y), side, side, name, (1,), ("c",), (encoding,))


def test_one_grid_per_lattice_anchored_on_its_first_file() -> None:
    rasters = [
        raster("b.tif", 501_003, 5_000_007),
        raster("a.tif", 500_003, 5_000_007),
        raster("c.tif", 510_000, 5_000_007),
    ]
    area = Area("a", square(490_000, 4_990_000, 30_000), "EPSG:32632")
    area_cells = cells.aligned([area], rasters, 16, [])
    assert [(one.grid.x, one.grid.y) for one in area_cells] == [(500_003, 5_000_007), (510_000, 5_000_007)]
    # a and b together are 200 pixels wide: 12 whole cells; the next one's centre lies just on the edge.
    assert area_cells[0].columns.min() == 0
    assert area_cells[0].columns.max() == 11
    assert area_cells[0].rows.min() == 0


def test_a_recorded_grid_stays_when_a_file_comes_before() -> None:
    area = Area("a", square(490_000, 4_990_000, 30_000), "EPSG:32632")
    (before,) = cells.aligned([area], [raster("b.tif", 501_003, 5_000_007)], 16, [])
    with_more = [raster("a.tif", 500_003, 5_000_007), raster("b.tif", 501_003, 5_000_007)]
    (after,) = cells.aligned([area], with_more, 16, [before.grid])
    assert after.grid == before.grid
    assert set(before.chip_ids) <= set(after.chip_ids)
    assert after.columns.min() < 0


def test_rasters_within_the_tolerance_share_a_grid() -> None:
    area = Area("a", square(490_000, 4_990_000, 30_000), "EPSG:32632")
    for share, grids in ((0.9, 1), (1.1, 2)):
        shift = 10.0 * TOLERANCE * share
        rasters = [raster("a.tif", 500_003, 5_000_007), raster("b.tif", 501_003 + shift, 5_000_007 - shift)]
        assert len(cells.aligned([area], rasters, 16, [])) == grids


def test_ground_that_two_lattices_cover_is_in_one_chip() -> None:
    x, y = Transformer.from_crs("EPSG:32632", "EPSG:32633", always_xy=True).transform(500_003.0, 5_000_007.0)
    rasters = [raster("a.tif", 500_003, 5_000_007, side=400), raster("b.tif", round(x), round(y), "EPSG:32633", 400)]
    area = Area("a", square(490_000, 4_990_000, 30_000), "EPSG:32632")
    earlier, later = cells.aligned([area], rasters, 16, [])
    to_first = Transformer.from_crs("EPSG:32633", "EPSG:32632", always_xy=True)
    x_, y_ = to_first.transform(*later.grid.centres(later.columns, later.rows))
    columns_and_rows = set(zip(earlier.columns.tolist(), earlier.rows.tolist(), strict=True))
    centres = zip(earlier.grid.column_at(x_).tolist(), earlier.grid.row_at(y_).tolist(), strict=True)
    assert columns_and_rows.isdisjoint(centres)
    assert 0 < len(later.columns) < 200 < len(earlier.columns)
