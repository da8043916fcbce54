from pathlib import Path

import numpy as np
import pytest
from synthetic import LATTICE, ids, raster

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
