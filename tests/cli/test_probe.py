import json
from pathlib import Path

import geopandas
from conftest import Run
from typer.testing import CliRunner

from geoembed.chips import folder as chip_folder
from geoembed.cli import app


def test_it_maps_every_chip(here: Path, run: Run, tmp_path: Path) -> None:
    result = run("probe", "--labels", "labels/water.gpkg", "--n", 30, "-o", tmp_path / "map")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'map' / 'predictions.gpkg'}\n"), result.stderr
    table = geopandas.read_file(tmp_path / "map" / "predictions.gpkg")
    assert len(table) == len(chip_folder.read(here / "chips").index)
    assert {"chip_id", "split", "prediction", "confidence", "p_0", "p_1", "geometry"} <= set(table.columns)
    assert json.loads((tmp_path / "map" / "metrics.json").read_text())["scores"]["all"]["balanced_accuracy"] > 0.8


def test_a_fitted_probe_maps_again(here: Path, run: Run, tmp_path: Path) -> None:
    assert run("probe", "--labels", "labels/water.gpkg", "-o", tmp_path / "map").exit_code == 0
    (fitted,) = (tmp_path / "map").glob("*.skops")
    result = run("probe", "--apply", fitted, "-o", tmp_path / "again")
    assert result.exit_code == 0, result.stderr
    first, second = (geopandas.read_file(tmp_path / name / "predictions.gpkg") for name in ("map", "again"))
    assert (first.prediction == second.prediction).all()


def test_labels_or_apply(here: Path, run: Run) -> None:
    result = run("probe")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "--labels" in result.stderr


def test_an_unknown_feature_names_the_nearest(here: Path, run: Run, tmp_path: Path) -> None:
    result = run("probe", "--labels", "labels/water.gpkg", "--features", "fussed", "-o", tmp_path / "map")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "fused" in result.stderr


def test_options_of_fitting_do_not_go_with_apply(here: Path, run: Run, tmp_path: Path) -> None:
    for words in (
        ("--n", 30),
        ("--draw", "random"),
        ("--decide", "balanced"),
        ("--classifier", "knn"),
        ("--features", "s1"),
        ("--seed", 0),
    ):
        result = run("probe", "--apply", tmp_path / "none", *words)
        assert (result.exit_code, result.stdout) == (1, "")
        assert words[0] in result.stderr
    assert run("probe", "--apply", tmp_path / "none", "--target", "label").exit_code == 1


def test_the_probe_can_come_from_stdin(here: Path, run: Run, tmp_path: Path) -> None:
    assert run("probe", "--labels", "labels/water.gpkg", "-o", tmp_path / "map").exit_code == 0
    words = ["probe", "--apply", "-", "-o", str(tmp_path / "again")]
    result = CliRunner().invoke(app, words, input=f"{tmp_path / 'map'}\n")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'again' / 'predictions.gpkg'}\n"), result.stderr
