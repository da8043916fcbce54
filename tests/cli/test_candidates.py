"""What TAB offers, from the files at hand."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import geopandas
import pytest
import shapely
from typer.testing import CliRunner

from geoembed.cli import app
from geoembed.fits import classifiers


def tab(words: str) -> list[str]:
    """What TAB offers after the last of some words, as the completion for bash asks for it."""
    variables = {"_GEOEMBED_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    result = CliRunner().invoke(app, [], prog_name="geoembed", env=variables)
    assert (result.exit_code, result.stderr) == (0, ""), words
    return result.stdout.split()


def test_classifiers_and_lists_of_them(here: Path) -> None:
    assert tab("geoembed probe --classifier ") == [*classifiers.TABLE]
    others = [name for name in classifiers.TABLE if name != "logistic"]
    assert tab("geoembed evaluate --classifiers logistic,") == [f"logistic,{name}" for name in others]


def test_features_of_the_embeddings_at_hand(here: Path, tmp_path: Path) -> None:
    assert set(tab("geoembed probe --features ")) == {"s2", "s1", "coh", "fused", "concat"}
    assert tab("geoembed probe --features f") == ["fused"]
    assert set(tab("geoembed search --by ")) == {"s2", "s1", "coh", "fused"}
    others = ("coh", "fused", "concat", "subsets")
    assert set(tab("geoembed evaluate --features s1,s2,")) == {f"s1,s2,{name}" for name in others}
    shutil.copy("embeddings.h5", tmp_path / "other.h5")
    assert tab(f"geoembed probe {tmp_path / 'other.h5'} --features c") == ["coh", "concat"]
    assert tab(f"geoembed probe {tmp_path}/o") == [f"{tmp_path}/other.h5"]


def test_modalities_of_chips_and_model(here: Path, tmp_path: Path) -> None:
    assert tab("geoembed pretrain --modalities ") == ["s2", "s1", "coh"]
    assert tab("geoembed embed --modalities s1,c") == ["s1,coh"]
    config = json.loads(Path("model/config.json").read_text())
    del config["model"]["channels"]["coh"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert tab(f"geoembed embed --model {tmp_path} --modalities ") == ["s2", "s1"]


def test_classes_of_the_raster_at_hand_else_of_the_legend(here: Path) -> None:
    assert tab("geoembed label landcover.tif --class ") == ["cropland", "water"]
    assert tab("geoembed label --class m") == ["mangroves", "moss_and_lichen"]


def test_columns_of_the_labels_at_hand(here: Path, tmp_path: Path) -> None:
    assert tab("geoembed probe --labels labels/water.gpkg --target ") == ["label", "fraction", "valid"]
    table = geopandas.GeoDataFrame(
        {"kind": ["a"], "height": [1.5]}, geometry=[shapely.Point(8.0, 45.0)], crs="EPSG:4326"
    )
    table.to_file(tmp_path / "own.geojson")
    table.to_file(tmp_path / "own.gpkg", layer="mine")
    (tmp_path / "own.csv").write_text("kind;height;lon;lat\na;1.5;8.0;45.0\n")
    for ending, columns in (("geojson", []), ("gpkg", []), ("csv", ["lon", "lat"])):
        assert tab(f"geoembed evaluate --labels {tmp_path}/own.{ending} --target ") == ["kind", "height", *columns]


def test_label_files_models_and_chip_folders(here: Path, tmp_path: Path) -> None:
    assert "labels/water.gpkg" in tab("geoembed probe --labels ")
    assert tab("geoembed evaluate --labels labels/w") == ["labels/water.gpkg"]
    assert tab("geoembed embed --model ") == ["model"]
    assert tab("geoembed embed ") == tab("geoembed label landcover.tif --chips ") == ["chips"]
    assert tab("geoembed embed ./c") == ["./chips"]
    assert tab("geoembed probe ") == ["embeddings.h5"]


@pytest.mark.parametrize(
    "words",
    ["embed nothing --modalities ", "probe nothing.h5 --features ", "probe landcover.tif --features ",
     "label s2.tif nothing.tif --class z", "probe --labels landcover.gpkg --target ", "embed --model nothing/"],
)  # fmt: skip
def test_what_cannot_be_read_offers_nothing_in_silence(here: Path, words: str) -> None:
    assert tab(f"geoembed {words}") == []


def test_broken_settings_are_not_what_tab_is_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "geoembed.toml").write_text("[chip")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEOEMBED_CHIP_SZIE", "3")
    assert tab("geoembed probe --classifier r") == ["ridge"]


def test_it_takes_no_time_and_loads_nothing_slow(here: Path) -> None:
    program = (
        "import os, sys, time; sys.argv = ['geoembed']; from geoembed.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "slow = {'torch', 'geopandas', 'pandas', 'sklearn', 'scipy', 'pyogrio', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'loaded {slow}' if slow else f'{time.process_time()}' if time.process_time() > 1.5 else 0)"
    )
    for words in ("probe --features ", "label landcover.tif --class ", "probe --labels labels/water.gpkg --target "):
        words = f"geoembed {words}"
        variables = {"_GEOEMBED_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2]), **variables}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert (done.returncode, done.stderr) == (0, "") and done.stdout, words
