"""Pictures of small maps: where cells lie, what colours they have, and which are wrong."""

import base64
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chip_folders import make_chips
from PIL import Image

from geoembed.evaluation import atlas, pictures
from geoembed.evaluation.pictures import Picture
from geoembed.fits.assessment import Assessment
from geoembed.fits.heldout import BY_FOLDS, HeldOut
from geoembed.ground import grid
from geoembed.labels.targets import Targets
from geoembed.outputs import colours

GRIDS = (grid.utm(32, south=False, size=8, resolution=10), grid.utm(33, south=False, size=8, resolution=10))
IDS = np.array(
    ["32N-80-00010-00020", "32N-80-00012-00020", "32N-80-00010-00021", "33N-80-00001-00001", "32N-80-00500-00500"]
)
AOI = np.array(["west", "west", "west", "west", "east"])


def sheets() -> list[atlas.Sheet]:
    return atlas.sheets(AOI, grid.cells(GRIDS, IDS))


def pixels(picture: Picture) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGBA"))


def assessment(truth: list[float], decided: list[list[int]], everywhere: list[int]) -> Assessment:
    fitted: Any = None
    held = HeldOut(
        BY_FOLDS, 5, np.arange(len(truth)), np.array(truth), np.zeros((len(decided), len(truth), 2)),
        np.array(decided), ("0", "1"),
    )  # fmt: skip
    return Assessment(np.arange(2), fitted, np.empty((5, 2)), np.array(everywhere), held, None, ())


def test_an_area_is_a_sheet_for_each_of_its_grids() -> None:
    east, west, beyond = sheets()
    assert (east.name, west.name, beyond.name) == ("east", "west, 32N-80", "west, 33N-80")
    assert (west.height, west.width) == (2, 3)
    assert list(zip(west.rows.tolist(), west.columns.tolist(), strict=True)) == [(1, 0), (1, 2), (0, 0)]
    assert west.scale == atlas.LARGEST and replace(west, height=900, width=900).scale == 400 / 900


def test_the_areas_of_most_chips_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas, "MOST_AREAS", 1)
    shown, elsewhere = atlas.most(sheets())
    assert [sheet.name for sheet in shown] == ["west, 32N-80"] and elsewhere == 2


def test_cells_have_the_colours_of_their_classes_and_errors_stand_out() -> None:
    below = atlas.grounds(AOI, grid.cells(GRIDS, IDS), None, np.arange(5))
    task = Targets("water", "label", np.array([1.0, 0.0, 1.0, np.nan, np.nan]), (0, 1))
    # The first chip is wrong in one of three repetitions, the third in two of three; the others were not tested.
    found = assessment([1, 0, 1], [[1, 0, 0], [0, 0, 0], [1, 0, 1]], [1, 0, 1, 1, 0])
    usable = np.array([True, True, True, True, False])
    drawn = atlas.of_task(below, task, found, usable)
    assert [category.name for category in drawn.legend] == ["not water", "water"] and drawn.shown == ""
    west = drawn.panels[1]
    assert (west.tested, west.wrong, west.errors.caption) == (3, 1, "1 of 3 wrong")
    size = atlas.LARGEST
    mapped, errors = pixels(west.mapped), pixels(west.errors)
    assert mapped.shape == (2 * size, 3 * size, 4) and mapped[size // 2, size * 3 // 2, 3] == 0, "no cell there"
    water = 0.1 * np.array(atlas.PLAIN) + 0.9 * np.array(colours.rgb("#0064C8"))
    middle = size // 2
    np.testing.assert_allclose(mapped[middle, middle, :3], water, atol=12)  # WebP is not exact
    np.testing.assert_allclose(mapped[middle + size, middle + 2 * size, :3], atlas.PLAIN, atol=12)
    np.testing.assert_allclose(errors[middle, middle, :3], colours.rgb(atlas.WRONG), atol=12)
    assert errors[middle + size, middle, 2] > errors[middle + size, middle, 0] + 40, "right ones are blue"


def test_numbers_are_coloured_in_steps_and_the_worst_tenth_is_wrong() -> None:
    below = atlas.grounds(AOI, grid.cells(GRIDS, IDS), None, np.arange(5))
    fitted: Any = None
    truth, predicted = np.zeros(5), np.array([0.0, 1.0, 2.0, 3.0, 5.0])
    held = HeldOut(BY_FOLDS, 5, np.arange(5), truth, predicted[None], np.empty((1, 0), np.int64), ())
    found = Assessment(np.arange(5), fitted, predicted, np.empty(0, np.int64), held, None, ())
    drawn = atlas.of_task(below, Targets("height", "value", truth, ()), found, np.ones(5, dtype=bool))
    assert [category.name for category in drawn.legend][::4] == ["0 to 1", "4 to 5"]
    assert drawn.far == pytest.approx(np.quantile(predicted, 0.9)) and sum(panel.wrong for panel in drawn.panels) == 1


def test_imagery_lies_below_where_chips_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chipset = make_chips(tmp_path / "chips", n=30, absent=0.2)
    album = pictures.album(chipset)
    shown = next(iter(album.stretches))
    index = chipset.index
    cells, aoi = grid.cells(chipset.grids, index["chip_id"].to_numpy()), index["aoi"].to_numpy().astype(str)
    below = atlas.grounds(aoi, cells, album, np.arange(len(index)))
    assert below.shown == f"{shown}: {album.legend(shown)}"
    has = index[shown].notna().to_numpy()
    for sheet, picture in zip(below.sheets, below.below, strict=True):
        for chip, (top, bottom, left, right) in zip(sheet.chips, sheet.boxes(), strict=True):
            plain = bool((picture[top:bottom, left:right, :3] == atlas.PLAIN).all())
            assert plain != has[chip]
    monkeypatch.setattr(atlas, "MOST_CHIPS", 10)
    assert atlas.grounds(aoi, cells, album, np.arange(len(index))).shown == "", "too many to read"
