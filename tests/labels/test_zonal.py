from pathlib import Path

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from synthetic import LATTICE, ids, raster

from geoembed.errors import ImageryError
from geoembed.ground import grid
from geoembed.imagery import sources
from geoembed.labels import zonal
from geoembed.progress import Progress

# The lower left corner of the cells that `ids` gives: column 1500, row 16000 of 320 m.
LEFT, BOTTOM = 480_000.0, 5_120_000.0
CELLS = grid.cells([LATTICE], ids(LATTICE, 5, 4))


def shares(paths: list[object], classes: list[list[int]] | None) -> zonal.Shares:
    steps = zonal.shares(sources.first_bands(map(str, paths), scaled=classes is None), CELLS, classes)
    while True:
        try:
            assert isinstance(next(steps), Progress)
        except StopIteration as stop:
            result: zonal.Shares = stop.value
            return result


def blocks_of(values: np.ndarray) -> list[np.ndarray]:
    """The pixels of each cell of a raster of 10 m over all cells, in the order of CELLS."""
    return [values[(3 - r) * 32 : (4 - r) * 32, c * 32 : (c + 1) * 32] for r in range(4) for c in range(5)]


def test_shares_and_means_are_those_of_the_pixels(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4, (128, 160)).astype("uint8")
    path = raster(tmp_path / "a.tif", values, LEFT, BOTTOM + 1280, 10.0, nodata=0)
    measured = shares([path], [[1], [2, 3]])
    cells = blocks_of(values)
    assert measured.valid == pytest.approx([(cell > 0).mean() for cell in cells])
    assert measured.sums[:, 0] == pytest.approx([(cell == 1).mean() for cell in cells])
    assert measured.sums[:, 1] == pytest.approx([(cell > 1).mean() for cell in cells])
    assert measured.pixels == pytest.approx({value: (values == value).sum() for value in (1, 2, 3)})
    assert measured.touched == {str(path)}
    means = shares([path], None)
    assert means.sums[:, 0] / means.valid == pytest.approx([cell[cell > 0].mean() for cell in cells])


def test_infinity_and_nan_are_no_values(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(128, 160)).astype("float32")
    values[:7], values[60:64], values[100:103] = np.nan, np.inf, -np.inf
    measured = shares([raster(tmp_path / "a.tif", values, LEFT, BOTTOM + 1280, 10.0)], None)
    cells = blocks_of(values)
    assert measured.valid == pytest.approx([np.isfinite(cell).mean() for cell in cells])
    expected = [cell[np.isfinite(cell)].astype("float64").mean() for cell in cells]
    assert measured.sums[:, 0] / measured.valid == pytest.approx(expected)


def test_blocks_do_not_change_what_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(2).integers(0, 4, (150, 170)).astype("uint8")
    options = {"nodata": 0, "tiled": True, "blockxsize": 16, "blockysize": 16}
    path = raster(tmp_path / "a.tif", values, LEFT - 33, BOTTOM + 1310, 9.0, **options)
    whole = shares([path], [[1], [2]])
    monkeypatch.setattr("geoembed.imagery.mosaics.BLOCK_PIXELS", 600)
    monkeypatch.setattr("geoembed.imagery.mosaics.BLOCK_SIDE", 32)
    pieces = shares([path], [[1], [2]])
    assert pieces.sums == pytest.approx(whole.sums, abs=1e-12)
    assert pieces.valid == pytest.approx(whole.valid, abs=1e-12)


def test_a_raster_beside_the_chips_touches_none(tmp_path: Path) -> None:
    near = raster(tmp_path / "a.tif", np.ones((128, 160), "uint8"), LEFT, BOTTOM + 1280, 10.0)
    far = raster(tmp_path / "b.tif", np.ones((128, 160), "uint8"), LEFT + 1e5, BOTTOM + 1280, 10.0)
    assert shares([near, far], [[1]]).touched == {str(near)}


@pytest.mark.parametrize("system", ["EPSG:3857", "ESRI:54009", "ESRI:54030"])
def test_chips_over_180_degrees_lie_at_both_ends_of_a_map_of_the_world(tmp_path: Path, system: str) -> None:
    """What GDAL samples: 1 west of 180 degrees, 2 east of it and 9 in the middle of the map, far from any chip."""
    to_map = Transformer.from_crs("EPSG:4326", system, always_xy=True)
    (left, right), (y, _) = to_map.transform([-180.0, 180.0], [-17.0, -17.0])
    left, right = 1.02 * left, 1.02 * right  # the edge of some maps is curved
    values = np.full((40, 4000), 9, "uint8")
    values[:, :400], values[:, -400:] = 2, 1
    pixel = (right - left) / 4000
    path = raster(tmp_path / "a.tif", values, left, y + 20 * pixel, pixel, crs=system)
    lattice = grid.utm(1, south=True, size=448, resolution=10.0)
    x, north = Transformer.from_crs("EPSG:4326", "EPSG:32701", always_xy=True).transform(-180.0, -17.0)
    columns = lattice.column_at(x) + np.arange(-1, 2)
    cells = grid.Cells((lattice,), np.zeros(3, np.int64), columns, np.full(3, lattice.row_at(north)))
    steps = zonal.shares(sources.first_bands([str(path)], scaled=False), cells, [[1], [2], [9]])
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            measured = stop.value
            break
    edge = lattice.column_at(x) * 4480.0
    west = np.clip((x - edge) / 4480, 0, 1)
    assert measured.valid == pytest.approx(1.0, abs=0.01)
    assert measured.sums[:, 0] == pytest.approx([1.0, west, 0.0], abs=0.03)
    assert measured.sums[:, 1] == pytest.approx([0.0, 1 - west, 1.0], abs=0.03)
    assert (measured.sums[:, 2] == 0.0).all()


def test_a_scale_of_0_is_refused(tmp_path: Path) -> None:
    path = raster(tmp_path / "a.tif", np.ones((128, 160), "uint8"), LEFT, BOTTOM + 1280, 10.0, scale=(1e-300, 0.0))
    with rasterio.open(path, "r+") as file:
        file.scales = (0.0,)
    with pytest.raises(ImageryError, match=r"a.tif: its scale tag is 0, .* gdal_edit.py -scale 1"):
        shares([path], None)
    assert shares([path], [[1]]).sums[:, 0] == pytest.approx(1.0)


def test_numbers_beyond_reason_are_counted(tmp_path: Path) -> None:
    values = np.full((128, 160), 3.0)
    values[0, :4] = 1e308, np.inf, -1e308, np.nan
    measured = shares([raster(tmp_path / "a.tif", values, LEFT, BOTTOM + 1280, 10.0)], None)
    assert measured.sums[:, 0] / measured.valid == pytest.approx(3.0)
    assert measured.valid.min() == pytest.approx(1 - 4 / 1024)
    assert measured.absurd == {str(tmp_path / "a.tif"): 3}
