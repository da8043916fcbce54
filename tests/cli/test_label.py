from pathlib import Path

import geopandas
import rasterio.shutil
from conftest import Run
from typer.testing import CliRunner

from geoembed.cli import app


def test_it_prints_a_file_per_class(here: Path, run: Run, tmp_path: Path) -> None:
    result = run("label", "landcover.tif", "--class", "water", "--class", "crops=40", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [str(tmp_path / "out" / name) for name in ("water.gpkg", "crops.gpkg")]
    water = geopandas.read_file(tmp_path / "out" / "water.gpkg")
    crops = geopandas.read_file(tmp_path / "out" / "crops.gpkg")
    assert ((water.fraction + crops.fraction - 1.0).abs() < 1e-9).all()
    assert set(water.label) == {0, 1}
    assert (tmp_path / "out" / "water.qml").exists()


def test_an_unknown_class_names_the_nearest(here: Path, run: Run, tmp_path: Path) -> None:
    result = run("label", "landcover.tif", "--class", "watr", "-o", tmp_path / "x.gpkg")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "water" in result.stderr
    assert result.stderr.count("\n") == 1


def test_missing_chips_say_what_to_run(here: Path, run: Run, tmp_path: Path) -> None:
    result = run("label", "landcover.tif", "--class", "water", "--chips", tmp_path / "none")
    assert result.exit_code == 1
    assert "no chips here; name a folder that has them, such as chips\n" in result.stderr


def test_a_threshold_needs_classes(here: Path, run: Run, tmp_path: Path) -> None:
    for words in (("--kind", "numbers"), ("--above", 20)):
        result = run("label", "landcover.tif", "--threshold", 0.5, *words, "-o", tmp_path / "x.gpkg")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "--threshold is for classes" in result.stderr


def test_all_classes_of_a_raster_are_one_file(here: Path, run: Run, tmp_path: Path) -> None:
    result = run("label", "landcover.tif", "--names", "crops=40,water=80", "-o", tmp_path / "x.gpkg")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'x.gpkg'}\n"), result.stderr
    table = geopandas.read_file(tmp_path / "x.gpkg")
    assert set(table.label) == {"water", "crops"}
    assert ((table.share_water > 0.5) == (table.label == "water")).all()
    result = run("label", "landcover.tif", "-o", tmp_path / "y.gpkg")
    assert (
        result.exit_code == 0 and "taken as classes; --names names them, --kind numbers averages them" in result.stderr
    )


def test_the_chips_can_come_from_stdin(here: Path, run: Run, tmp_path: Path) -> None:
    words = ["label", "landcover.tif", "--class", "water", "--chips", "-", "-o", str(tmp_path / "x.gpkg")]
    result = CliRunner().invoke(app, words, input="chips\n")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'x.gpkg'}\n"), result.stderr


def test_what_a_vrt_may_name_can_be_said(place: Path, run: Run) -> None:
    assert run("chip", "--aoi", "aoi.gpkg").exit_code == 0
    Path("below").mkdir()
    rasterio.shutil.copy("landcover.tif", "below/v.vrt", driver="VRT")
    result = run("label", "below/v.vrt", "--class", "water=80")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is a VRT that names landcover.tif, which lies neither" in result.stderr
    option, value = result.stderr.split()[-2:]
    assert option == "--outside"
    result = run("label", "below/v.vrt", "--class", "water=80", option, value)
    assert result.exit_code == 0, result.stderr
