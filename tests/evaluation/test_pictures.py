"""Galleries of made-up chips: what is shown, captions, and what is left out."""

import base64
from pathlib import Path

import numpy as np
import pytest
from chip_folders import make_chips, renew_index
from pyproj import Geod
from rasterio.io import MemoryFile

from geoembed.chips import folder as chip_folder
from geoembed.chips import thumbnails
from geoembed.evaluation import pictures
from geoembed.ground import grid

CHANNELS = {
    "s2": ("djf_red", "djf_green", "djf_blue", "jja_red", "jja_green", "jja_blue"),
    "s1": ("djf_vv", "djf_vh"),
    "coh": ("jja_coh12",),
}


@pytest.fixture(scope="module")
def chipset(tmp_path_factory: pytest.TempPathFactory) -> chip_folder.ChipSet:
    return make_chips(tmp_path_factory.mktemp("pictures") / "chips", n=30, channels=CHANNELS, absent=0.2)


def rows_with(chipset: chip_folder.ChipSet, *modalities: str) -> np.ndarray:
    return np.flatnonzero(chipset.index[list(modalities)].notna().all(axis=1).to_numpy())


def test_an_album_tells_what_it_shows(chipset: chip_folder.ChipSet) -> None:
    album = pictures.album(chipset)
    assert album.legend("s2") == "red djf_red, green djf_green, blue djf_blue"
    assert album.legend("s1") == "red djf_vv, green djf_vh, blue djf_vv - djf_vh"
    assert album.legend("coh") == "grey jja_coh12"
    assert {name: len(one.low) for name, one in album.stretches.items()} == {"s2": 3, "s1": 3, "coh": 1}


def test_a_picture_shows_the_pixels_of_its_chip(chipset: chip_folder.ChipSet) -> None:
    album, row = pictures.album(chipset), int(rows_with(chipset, "s2")[0])
    found = album.picture(row, "s2", "5 km")
    chip_id, aoi = chipset.index["chip_id"][row], chipset.index["aoi"][row]
    assert found is not None and found.caption == f"{aoi}, 5 km" and found.alt == f"s2 of chip {chip_id}, {aoi}"
    values = chip_folder.read_chip(chipset.path_of(chip_id, "s2")).values[:3].astype(float)
    with MemoryFile(base64.b64decode(found.uri.partition(",")[2])) as memory, memory.open() as file:
        shown = file.read()[:, ::6, ::6]
    assert np.abs(shown - 255 * album.stretches["s2"](values)).max() <= 0.5 + 1e-6


def test_brightness_is_that_of_train_chips(chipset: chip_folder.ChipSet) -> None:
    train = chipset.index[(chipset.index["split"] == "train") & chipset.index["s1"].notna()]
    assert len(train) <= pictures.CHIPS
    read = [chip_folder.read_chip(chipset.path_of(one, "s1")).values for one in train["chip_id"]]
    wanted, found = thumbnails.stretch(read), pictures.album(chipset).stretches["s1"]
    np.testing.assert_allclose(found.low, wanted.low)
    np.testing.assert_allclose(found.high, wanted.high)


def test_a_gallery_tells_area_and_distance(chipset: chip_folder.ChipSet) -> None:
    album, rows = pictures.album(chipset), rows_with(chipset, "s2", "s1")
    queries, neighbours = rows[:2], np.stack([rows[[0, 3, 4]], [rows[2], rows[5], -1]])
    found = pictures.gallery("s2 to s1", "Nearest.", album, queries, neighbours, "s2", "s1")
    assert (found.title, found.note) == ("s2 to s1", "Nearest.")
    assert [len(row) for row in found.rows] == [4, 3]
    assert found.rows[0][0].caption == chipset.index["aoi"][rows[0]] and found.rows[0][0].alt.startswith("s2 of chip")
    assert found.rows[0][1].caption.endswith(", the same chip") and found.rows[0][1].alt.startswith("s1 of chip")
    ids = chipset.index["chip_id"].to_numpy(str)
    (east, north), (east_too, north_too) = grid.cells(chipset.grids, ids[[rows[0], rows[3]]]).lonlat()
    metres = Geod(ellps="WGS84").inv(east, north, east_too, north_too)[2]
    assert found.rows[0][2].caption == f"{chipset.index['aoi'][rows[3]]}, {metres / 1000:.1f} km"


@pytest.mark.parametrize(
    ("query", "place", "told"),
    [
        ((9.0, 45.0), (9.004, 45.0), "0.3 km"),
        ((9.0, 45.0), (9.0, 45.1), "11 km"),
        ((179.9, 0.0), (-179.9, 0.0), "22 km"),
        ((0.0, 0.0), (180.0, 0.0), "20,004 km"),
    ],
)
def test_distances(query: tuple[float, float], place: tuple[float, float], told: str) -> None:
    assert pictures._distance(np.array(query), np.array(place), same=False) == told


def test_what_has_no_picture_is_left_out(tmp_path: Path) -> None:
    chipset = make_chips(tmp_path / "chips", n=12, channels=CHANNELS, absent=0.4, seed=1)
    ids = chipset.index["chip_id"].to_numpy(str)
    here = rows_with(chipset, "s2", "s1")
    absent = np.flatnonzero(chipset.index["s1"].isna().to_numpy())
    broken = int(here[-1])
    chipset.path_of(ids[broken], "s1").write_bytes(b"no chip")
    album = pictures.album(chipset)
    assert album.picture(int(absent[0]), "s1") is None and album.picture(broken, "s1") is None
    assert album.picture(broken, "fused") is None and album.legend("fused") == ""
    neighbours = np.array([[here[1], absent[0], broken], [absent[0], broken, -1]])
    found = pictures.gallery("s1", "", album, here[:2], neighbours, "s2", "s1")
    assert len(found.rows) == 1 and len(found.rows[0]) == 2


def test_channels_that_not_all_chips_have_are_not_shown(tmp_path: Path) -> None:
    chipset = make_chips(tmp_path / "chips", n=10, channels={"s2": CHANNELS["s2"]})
    summer = make_chips(tmp_path / "other", n=10, channels={"s2": CHANNELS["s2"][3:]})
    chip_id = chipset.index["chip_id"][0]
    summer.path_of(chip_id, "s2").rename(chipset.path_of(chip_id, "s2"))
    chipset = renew_index(tmp_path / "chips")
    assert pictures.album(chipset).legend("s2") == "red jja_red, green jja_green, blue jja_blue"


def test_a_modality_without_readable_chips_has_no_pictures(tmp_path: Path) -> None:
    chipset = make_chips(tmp_path / "chips", n=4, channels={"s1": CHANNELS["s1"], "coh": CHANNELS["coh"]})
    for path in (chipset.folder / "coh").rglob("*.tif"):
        path.write_bytes(b"no chip")
    album = pictures.album(chipset)
    assert album.picture(0, "coh") is None and album.picture(0, "s1") is not None
