"""geoembed label worldcover, from a server on loopback."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import geopandas
import landcover
import numpy as np
import pytest
from canned import Canned
from conftest import Run
from synthetic import LATTICE, chip_folder, ids

from geoembed.errors import FetchError, LabelError, StaleError
from geoembed.ground import grid
from geoembed.outputs import geopackage
from geoembed.steps.label import label

HERE = f"/{landcover.KEY.format('N45E006')}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Canned]:
    """A server that has the tile of the chips in the working folder."""
    canned = Canned()
    canned.answers[HERE] = landcover.tile(45, 6)
    monkeypatch.chdir(tmp_path)
    Path("geoembed.toml").write_text(f'[fetch]\nworldcover = "{canned.url}"\ntries = 1\n')
    chip_folder(Path("chips"), ids(LATTICE, 12, 9))
    yield canned
    canned.close()


def rows(path: Path) -> geopandas.GeoDataFrame:
    return geopandas.read_file(path).set_index("chip_id").sort_index()


def test_labels_are_those_of_the_whole_tile(server: Canned, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "geoembed")
    done = label("worldcover", classes=("water", "trees"))
    assert done.paths == (Path("labels/water.gpkg"), Path("labels/trees.gpkg"))
    assert "processed by ESA WorldCover consortium; CC-BY-4.0" in caplog.text
    Path("whole.tif").write_bytes(server.answers[HERE])  # type: ignore[arg-type]
    label("whole.tif", classes=("water=80", "trees=10"), output="expected")
    for name in ("water", "trees"):
        found, expected = rows(Path(f"labels/{name}.gpkg")), rows(Path(f"expected/{name}.gpkg"))
        assert len(found) == 108
        assert (found[["fraction", "valid", "label"]] == expected[["fraction", "valid", "label"]]).all(axis=None)
        assert 0 < found["fraction"].mean() < 1


def test_all_classes_have_the_names_of_the_legend(server: Canned) -> None:
    done = label("worldcover", threshold=0.2)
    assert done.paths == (Path("labels/worldcover.gpkg"),)
    assert {"water", "tree_cover", "built_up"} <= set(rows(done.path)["label"])


def test_a_run_again_keeps_the_labels_with_the_cache_alone_and_without_it(server: Canned) -> None:
    made = geopackage.record_of(label("worldcover", classes="water").path, "labels")
    asked = len(server.asked)
    assert label("worldcover", classes="water", offline=True).counts["files_kept"] == 1
    assert len(server.asked) == asked
    for path in Path("cache/worldcover").iterdir():
        path.unlink()
    assert label("worldcover", classes="water").counts["files_kept"] == 1
    with pytest.raises(FetchError, match=r"^worldcover: 1 of 1 tiles not fetched; run again"):
        label("worldcover", classes="water", offline=True, cache="elsewhere")
    done = label("worldcover", classes="water", cache="elsewhere", output="other.gpkg")
    assert geopackage.record_of(done.path, "labels") == made


def test_other_chips_are_other_inputs_and_no_other_options(server: Canned) -> None:
    label("worldcover", classes="water")
    chip_folder(Path("chips"), ids(LATTICE, 40, 40))
    with pytest.raises(StaleError, match=r"made from other inputs .*pass --update"):
        label("worldcover", classes="water")
    label("worldcover", classes="water", update=True)
    assert len(rows(Path("labels/water.gpkg"))) == 1600


def test_chips_at_sea_get_no_label_and_a_tile_that_fails_is_an_error(
    server: Canned, caplog: pytest.LogCaptureFixture
) -> None:
    # Cells of 32 km from 8 to 9.5 degrees east lie on N45E006, which the server has, and on N45E009.
    lattice = grid.utm(32, south=False, size=32, resolution=1000.0)
    chip_folder(Path("chips"), ids(lattice, 6, 1, 13, 160), (lattice,))
    beyond = f"/{landcover.KEY.format('N45E009')}"
    server.answers[beyond] = 403
    with pytest.raises(FetchError, match=r"^worldcover: 1 of 2 tiles not fetched; run again, which fetches the rest$"):
        label("worldcover", classes="water")
    assert "403" in caplog.text
    assert not Path("labels").exists()
    asked = len([path for path, _ in server.asked if path == HERE])
    del server.answers[beyond]
    done = label("worldcover", classes="water")
    assert len([path for path, _ in server.asked if path == HERE]) == asked, "what is there is not fetched again"
    assert "worldcover: 1 of 2 tiles do not exist, as at sea" in caplog.text
    assert 0 < done.counts["chips_without_valid_pixels"] < 6
    assert done.counts["chips_labelled"] + done.counts["chips_without_valid_pixels"] == 6


def test_chips_that_are_all_at_sea_are_an_error(server: Canned) -> None:
    del server.answers[HERE]
    with pytest.raises(LabelError, match=r"^worldcover: has nothing where the chips of chips lie; label them from"):
        label("worldcover", classes="water")


def test_a_file_of_that_name_is_meant_where_there_is_one(server: Canned) -> None:
    Path("worldcover").mkdir()
    Path("worldcover/N45E006.tif").write_bytes(server.answers[HERE])  # type: ignore[arg-type]
    assert label("worldcover", classes="water").counts["chips_labelled"] == 108
    assert not server.asked
    assert not Path("cache").exists()


def test_own_rasters_fill_what_it_lacks(server: Canned) -> None:
    del server.answers[HERE]
    server.answers[HERE.replace("N45E006", "N45E009")] = landcover.tile(45, 9)
    Path("own.tif").write_bytes(landcover.tile(45, 6))
    with pytest.raises(LabelError, match="has nothing where"):
        label(("own.tif", "worldcover"), classes="water")
    lattice = grid.utm(32, south=False, size=32, resolution=1000.0)
    chip_folder(Path("chips"), ids(lattice, 6, 1, 13, 160), (lattice,))
    done = label(("own.tif", "worldcover"), classes="water", output="both.gpkg")
    assert (rows(done.path)["valid"] > 0.8).all()
    assert len(rows(done.path)) == 6


def test_the_command_prints_the_label_file(server: Canned, run: Run) -> None:
    done = run("label", "worldcover", "--class", "water", "--cache", "kept")
    assert (done.exit_code, done.stdout) == (0, "labels/water.gpkg\n"), done.stderr
    done = run("label", "worldcover", "--class", "water", "--cache", "kept", "--offline")
    assert (done.exit_code, done.stdout) == (0, "labels/water.gpkg\n"), done.stderr
    done = run("label", "worldcover", "--class", "water", "--cache", "none", "--offline")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "geoembed: worldcover: 1 of 1 tiles not fetched; run again" in done.stderr
    assert np.isfinite(rows(Path("labels/water.gpkg"))["fraction"]).all()
