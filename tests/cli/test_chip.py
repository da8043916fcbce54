import json
from pathlib import Path

import geopandas
import pytest
import shapely
from conftest import Run


def test_it_prints_its_folder_as_spelled(place: Path, run: Run) -> None:
    result = run("chip", "--aoi", "./aoi.gpkg", "-o", "./out//chips")
    assert (result.exit_code, result.stdout) == (0, "out/chips\n")
    assert (place / "out/chips/index.gpkg").exists()
    assert (place / "out/chips/index.qml").exists()
    assert "100 chips: 100 cells cut, 0 kept" in result.stderr
    assert "neighbouring chips" in result.stderr


def test_json_has_path_and_counts(place: Path, run: Run) -> None:
    result = run("chip", "--aoi", "aoi.gpkg", "--json")
    printed = json.loads(result.stdout)
    assert printed["path"] == "chips"
    assert printed["counts"]["chips"] == printed["counts"]["coh"] == 100


def test_sources_can_be_named_without_a_file(place: Path, run: Run) -> None:
    (place / "geoembed.toml").unlink()
    result = run("chip", "--aoi", "aoi.gpkg", "--source", "s1=s1.tif", "--size", "20")
    assert result.exit_code == 0
    assert list(json.loads((place / "chips/chips.json").read_text())["modalities"]) == ["s1"]


def test_a_missing_area_is_one_line(place: Path, run: Run) -> None:
    result = run("chip", "--aoi", "nowhere.gpkg")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "geoembed: nowhere.gpkg: no such file; name a vector file of polygons\n"


def test_other_options_are_refused_with_the_remedy(place: Path, run: Run) -> None:
    assert run("chip", "--aoi", "aoi.gpkg").exit_code == 0
    result = run("chip", "--aoi", "aoi.gpkg", "--size", "20")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "size was 16, now 20" in result.stderr
    assert "--overwrite" in result.stderr


def test_of_several_layers_of_areas_one_is_chosen(place: Path, run: Run) -> None:
    areas = geopandas.read_file("aoi.gpkg")
    areas.to_file("areas.gpkg", layer="whole")
    corner = areas.geometry.iloc[0].bounds
    part = shapely.box(corner[0], corner[1], (corner[0] + corner[2]) / 2, corner[3])
    geopandas.GeoDataFrame(geometry=[part], crs=areas.crs).to_file("areas.gpkg", layer="west", mode="a")
    result = run("chip", "--aoi", "areas.gpkg")
    assert result.exit_code == 1
    assert "areas.gpkg: has 2 polygon layers, whole, west; choose one, as in --layer whole" in result.stderr
    assert "chips: 100 cells cut" in run("chip", "--aoi", "areas.gpkg", "--layer", "whole").stderr
    result = run("chip", "--aoi", "areas.gpkg", "--layer", "west")
    assert result.exit_code == 1 and 'layer was "whole", now "west"' in result.stderr
    assert "did you mean west?" in run("chip", "--aoi", "areas.gpkg", "--layer", "wets").stderr


def test_very_many_cells_are_cut_where_their_number_is_confirmed(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoembed.chips.layout.MOST_CELLS", 50)
    result = run("chip", "--aoi", "aoi.gpkg")
    assert (result.exit_code, result.stdout) == (1, "")
    option, number = result.stderr.split()[-2:]
    assert option == "--cells"
    assert run("chip", "--aoi", "aoi.gpkg", option, number).exit_code == 0
    assert run("chip", "--aoi", "aoi.gpkg", option, number).exit_code == 0, "the word is not part of the record"
