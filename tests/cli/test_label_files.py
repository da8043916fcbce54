"""Label files of every kind through probe and evaluate."""

import json
from pathlib import Path

import geopandas
import pytest
from conftest import Run


def rows_of(path: Path) -> geopandas.GeoDataFrame:
    """Labels of `water` as points, as people note them."""
    table = geopandas.read_file(path)
    middles = table.to_crs("EPSG:32632").centroid.to_crs("EPSG:4326")
    return geopandas.GeoDataFrame(
        {"Class": table.label.map({0: "land", 1: "water"}), "Lon": middles.x, "Lat": middles.y}, geometry=middles
    )


def test_points_of_a_csv_give_the_map_of_the_labels(here: Path, run: Run, tmp_path: Path) -> None:
    points = rows_of(here / "labels" / "water.gpkg")
    points.drop(columns="geometry").to_csv(tmp_path / "mine.csv", sep=";", decimal=",", index=False)
    for labels, folder in ((tmp_path / "mine", "a"), ("water", "b")):  # found without an ending, and in labels/
        result = run("probe", "--labels", labels, "-o", tmp_path / folder)
        assert result.exit_code == 0, result.stderr
    mine, theirs = (geopandas.read_file(tmp_path / folder / "predictions.gpkg") for folder in ("a", "b"))
    assert (mine.label.map({"land": 0, "water": 1}) == theirs.label).all()
    again = run("probe", "--labels", tmp_path / "mine.csv", "-o", tmp_path / "a")
    assert (again.exit_code, again.stdout) == (0, f"{tmp_path / 'a' / 'predictions.gpkg'}\n")


def test_how_labels_are_read_is_part_of_the_record(here: Path, run: Run, tmp_path: Path) -> None:
    points = rows_of(here / "labels" / "water.gpkg").to_crs("EPSG:32632")
    points.assign(geometry=points.buffer(20)).to_file(tmp_path / "ponds.gpkg")
    words = ["probe", "--labels", tmp_path / "ponds.gpkg", "-o", tmp_path / "map"]
    result = run(*words, "--overlap", "half")
    assert result.exit_code == 1 and "--overlap any labels" in result.stderr
    result = run(*words)
    assert result.exit_code == 0 and "--overlap half leaves them out" in result.stderr
    assert run(*words, "--overlap", "any").exit_code == 1  # made with other options
    assert run(*words, "--overlap", "any", "--overwrite").exit_code == 0
    made_from = json.loads((tmp_path / "map" / "metrics.json").read_text())["made_from"]
    assert made_from["options"]["overlap"] == "any" and made_from["options"]["target"] == "Class"


@pytest.mark.parametrize("command", ["probe", "evaluate"])
def test_x_and_y_ask_for_their_crs(here: Path, run: Run, tmp_path: Path, command: str) -> None:
    points = rows_of(here / "labels" / "water.gpkg").to_crs("EPSG:32632")
    table = points.assign(X=points.geometry.x, Y=points.geometry.y, w=1.0)[["Class", "X", "Y", "w"]]
    table.to_csv(tmp_path / "mine.csv", index=False)
    words = [command, "--labels", tmp_path / "mine.csv", "-o", tmp_path / "out"]
    result = run(*words)
    assert result.exit_code == 1 and "pass --crs" in result.stderr
    words += ["--crs", "EPSG:32632", "--weight", "w", *(["--dry-run"] if command == "evaluate" else [])]
    result = run(*words)
    assert result.exit_code == 0, result.stderr
    assert "no chip has several labels, so column w changes nothing" in result.stderr


def test_reading_does_not_go_with_apply(here: Path, run: Run, tmp_path: Path) -> None:
    for words in (("--overlap", "any"), ("--crs", 4326), ("--weight", "w"), ("--layer", "a")):
        result = run("probe", "--apply", tmp_path / "none", *words)
        assert (result.exit_code, words[0] in result.stderr) == (1, True)
