"""Chips and labels from whatever GDAL opens by name: the same pixels, whatever they lie in."""

import tarfile
import zipfile
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from conftest import WriteArea, WriteRaster, require, square
from typer.testing import CliRunner

from geoembed.chips import folder as chip_folder
from geoembed.cli import app

SIDE, SIZE = 64, 16
LEFT, TOP = 499_200.0, 4_999_680.0
NUMBERS = np.random.default_rng(4).integers(1, 5000, (1, SIDE, SIDE), dtype="uint16")
SETTINGS = '[chip]\nsize = 16\n[label]\nchips = "chips"\n[modalities.s2]\nnames = ["jja_red"]\nscale = 0.0001\n'
ADDRESSES = {
    "a.tif": "GTiff",
    "a.vrt": "VRT",
    "a.img": "HFA",
    "a.jp2": "JP2OpenJPEG",
    "a.nc": "netCDF",
    "netcdf:a.nc:Band1": "netCDF",
    "a.zip": "GTiff",
    "/vsizip/a.zip/deep/a.tif": "GTiff",
    "/vsitar/a.tar/a.tif": "GTiff",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_raster: WriteRaster, write_area: WriteArea) -> Path:
    """A working folder with an area, settings, and a.tif of 4 x 4 cells."""
    monkeypatch.chdir(tmp_path)
    write_raster("a.tif", NUMBERS, x=LEFT, y=TOP, nodata=0)
    write_area("aoi.gpkg", square(LEFT, TOP - SIDE * 10.0, SIDE * 10.0))
    (tmp_path / "geoembed.toml").write_text(SETTINGS)
    return tmp_path


def make(name: str, driver: str) -> None:
    """Make the file of an address out of a.tif, which then goes."""
    require(driver)
    options = {"QUALITY": "100", "REVERSIBLE": "YES"} if driver == "JP2OpenJPEG" else {}
    if driver != "GTiff":
        rasterio.shutil.copy("a.tif", name, driver=driver, **options)
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.write("a.tif", "deep/a.tif")
    with tarfile.open("a.tar", "w") as tar:
        tar.add("a.tif")


def run(*words: object) -> Any:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.stderr
    return result


def expected_of(chip_id: str) -> np.ndarray:
    """The numbers of a cell, by plain arithmetic on its id."""
    column, row = (int(part) for part in chip_id.split("-")[-2:])
    left, top = round((column * 160.0 - LEFT) / 10.0), round((TOP - (row + 1) * 160.0) / 10.0)
    return np.asarray(NUMBERS[:, top : top + SIZE, left : left + SIZE])


@pytest.mark.parametrize("address", ADDRESSES)
def test_chips_and_labels_are_the_pixels_of_any_address(here: Path, address: str) -> None:
    make("a.nc" if address.endswith("Band1") else address, ADDRESSES[address])
    if "tif" not in address.rpartition("/")[2] and not address.endswith(".vrt"):
        Path("a.tif").unlink()
    run("chip", "--aoi", "aoi.gpkg", "--source", f"s2={address}", "-q")
    found = chip_folder.read(Path("chips"))
    assert len(found.index) == 16
    for chip_id in found.index["chip_id"]:
        with rasterio.open(found.path_of(chip_id, "s2")) as file:
            assert (file.read() == expected_of(chip_id)).all()
            assert file.descriptions == ("jja_red",)
    run("label", address, "-o", "means.gpkg", "-q")
    table = geopandas.read_file("means.gpkg")
    assert table["value"].to_numpy() == pytest.approx([expected_of(chip_id).mean() for chip_id in table["chip_id"]])
    assert run("label", address, "-o", "means.gpkg", "--json").stdout.count('"files_kept": 1') == 1
    run("chip", "--aoi", "aoi.gpkg", "--source", f"s2={address}", "-q")


def test_settings_in_another_folder_lead_to_the_same_data_set(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("a.nc", "netCDF")
    text = SETTINGS.replace("[modalities.s2]\n", '[modalities.s2]\nsource = "netcdf:a.nc:Band1"\n')
    (here / "geoembed.toml").write_text(text)
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    run("--config", "../geoembed.toml", "chip", "--aoi", "../aoi.gpkg", "-o", "one", "-q")
    (here / "geoembed.toml").write_text(
        SETTINGS.replace("size = 16\n", 'size = 16\nsource = ["s2=/vsizip/a.zip/deep/a.tif"]\n')
    )
    run("--config", "../geoembed.toml", "chip", "--aoi", "../aoi.gpkg", "-o", "two", "-q")
    one, two = (chip_folder.read(Path(name)) for name in ("one", "two"))
    assert one.index.equals(two.index)
    for chip_id in one.index["chip_id"]:
        with rasterio.open(one.path_of(chip_id, "s2")) as first, rasterio.open(two.path_of(chip_id, "s2")) as second:
            assert (first.read() == second.read()).all()


def test_another_variable_of_one_file_is_another_input(here: Path) -> None:
    require("netCDF")
    with rasterio.open("a.tif") as file:
        profile = {**file.profile, "count": 2}
    with rasterio.open("b.tif", "w", **profile) as file:
        file.write(np.concatenate([NUMBERS, NUMBERS[:, ::-1]]))
    rasterio.shutil.copy("b.tif", "b.nc", driver="netCDF")
    run("chip", "--aoi", "aoi.gpkg", "--source", "s2=netcdf:b.nc:Band1", "-q")
    run("label", "netcdf:b.nc:Band1", "-o", "x.gpkg", "-q")
    for words in (["label", "netcdf:b.nc:Band2", "-o", "x.gpkg"],
                  ["chip", "--aoi", "aoi.gpkg", "--source", "s2=netcdf:b.nc:Band2"]):  # fmt: skip
        result = CliRunner().invoke(app, words)
        assert (result.exit_code, "made " in result.stderr, "s differs" in result.stderr) == (1, True, True)


def test_labels_take_their_name_from_the_variable(here: Path) -> None:
    make("a.nc", "netCDF")
    run("chip", "--aoi", "aoi.gpkg", "--source", "s2=a.tif", "-q")
    assert run("label", "netcdf:a.nc:Band1", "-q").stdout == "labels/Band1.gpkg\n"


@pytest.mark.parametrize("fault", ["complex", "upside down", "missing", "text", "no crs", "url"])
def test_what_cannot_be_used_is_refused_in_the_same_words(here: Path, write_raster: WriteRaster, fault: str) -> None:
    run("chip", "--aoi", "aoi.gpkg", "--source", "s2=a.tif", "-q")
    address = "https://127.0.0.1:1/x/b.tif" if fault == "url" else "b.tif"
    if fault in ("complex", "no crs", "upside down"):
        numbers = NUMBERS.astype("complex64") if fault == "complex" else NUMBERS
        write_raster("b.tif", numbers, x=LEFT, y=TOP, crs=None if fault == "no crs" else "EPSG:32632")
    if fault == "upside down":
        with rasterio.open("b.tif", "r+") as file:
            file.transform = Affine(10.0, 0.0, LEFT, 0.0, 10.0, TOP - SIDE * 10.0)
    if fault == "text":
        Path("b.tif").write_text("no raster")
    words = ["chip", "--aoi", "aoi.gpkg", "--source", f"s2={address}", "-o", "x"], ["label", address, "-o", "x.gpkg"]
    told = [CliRunner().invoke(app, words_) for words_ in words]
    assert [result.exit_code for result in told] == [1, 1]
    assert all(result.stderr.startswith(f"geoembed: {address}: ") for result in told)
    # GDAL remembers that a server did not answer, and then says so in other words.
    assert fault == "url" or told[0].stderr == told[1].stderr


def test_heights_in_a_crs_are_no_hindrance(here: Path, write_raster: WriteRaster) -> None:
    write_raster("b.tif", NUMBERS, x=LEFT, y=TOP, crs="EPSG:32632+5773")
    run("chip", "--aoi", "aoi.gpkg", "--source", "s2=b.tif", "-q")
    chip_id = chip_folder.read(Path("chips")).index["chip_id"].iloc[0]
    with rasterio.open(chip_folder.path_of(Path("chips"), chip_id, "s2")) as file:
        assert (file.read() == expected_of(chip_id)).all()
    run("label", "b.tif", "-o", "means.gpkg", "-q")
    value = geopandas.read_file("means.gpkg").set_index("chip_id").loc[chip_id, "value"]
    assert value == pytest.approx(expected_of(chip_id).mean())
