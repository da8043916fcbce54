"""What messages of `chip` tell to do is done literally, and `chip` then cuts the right values."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from conftest import Run, WriteArea, WriteRaster, square
from rasterio.control import GroundControlPoint
from rasterio.transform import from_gcps

from geoembed.chips import folder as chip_folder

LEFT, TOP, SIDE = 499_200.0, 4_999_680.0, 192
GENERATOR = np.random.default_rng(3)
LAND = GENERATOR.gamma(4.0, 0.03, (13, SIDE, SIDE))
DECIBEL = GENERATOR.normal(-11.0, 3.0, (2, SIDE, SIDE))
SETTING = re.compile(r'(\w+) = (\[\{.*?\}\]|\[.*?\]|"[^"]*"|-?[\d.]+(?:e[-+]?\d+)?)')


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_area: WriteArea) -> Path:
    monkeypatch.chdir(tmp_path)
    write_area("aoi.gpkg", square(LEFT, TOP - SIDE * 10.0, SIDE * 10.0))
    return tmp_path


def write_settings(modality: str, settings: dict[str, str]) -> None:
    lines = [f"{key} = {value}" for key, value in settings.items()]
    Path("geoembed.toml").write_text("\n".join(["[chip]", "size = 32", f"[modalities.{modality}]", *lines, ""]))


def applied(run: Run, modality: str, settings: dict[str, str], *, unit: bool = False) -> tuple[list[str], Any]:
    """Run `chip`, write the settings that a refusal names, and so on until it ends well; the refusals, the last run."""
    refusals: list[str] = []
    for _ in range(4):
        write_settings(modality, settings)
        result = run("chip", "--aoi", "aoi.gpkg", "--json")
        if result.exit_code == 0:
            return refusals, result
        refusals.append(result.stderr.splitlines()[-1])
        remedies = dict(SETTING.findall(refusals[-1].partition(": ")[2].replace("in place of source", "")))
        insists = remedies.pop("unit", None)
        settings |= {"unit": insists} if unit and insists else remedies
    raise AssertionError(refusals)


def chip_values(modality: str) -> tuple[tuple[str, ...], np.ndarray, tuple[slice, slice]]:
    """Channels and values of a chip, and where it lies in the rasters."""
    chipset = chip_folder.read(Path("chips"))
    path = chipset.path_of(chipset.index["chip_id"].iloc[7], modality)
    with rasterio.open(path) as file:
        row, column = round((TOP - file.bounds.top) / 10.0), round((file.bounds.left - LEFT) / 10.0)
    chip = chip_folder.read_chip(path)
    return chip.channels, chip.values, (slice(row, row + 32), slice(column, column + 32))


@pytest.mark.parametrize(("count", "red"), [(3, 0), (10, 2), (12, 3), (13, 3)])
def test_bands_without_names(here: Path, run: Run, write_raster: WriteRaster, count: int, red: int) -> None:
    write_raster("s2.tif", np.round(LAND[:count] * 1e4).astype("uint16"), x=LEFT, y=TOP)
    refusals, _ = applied(run, "s2", {"source": '"s2.tif"'})
    assert f"s2.tif: {count} bands without description; write " in refusals[0]
    assert "write scale = 0.0001 under [modalities.s2]" in refusals[1] and len(refusals) == 2
    channels, values, place = chip_values("s2")
    assert channels == ("jja_red", "jja_green", "jja_blue")
    bands = [red, red - 1, red - 2] if count > 3 else [0, 1, 2]
    np.testing.assert_allclose(values, np.round(LAND[bands] * 1e4)[:, *place] / 1e4, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_radar_without_names_in_linear_power(here: Path, run: Run, write_raster: WriteRaster, count: int) -> None:
    write_raster("s1.tif", (10.0 ** (DECIBEL[:count] / 10.0)).astype("float32"), x=LEFT, y=TOP)
    refusals, result = applied(run, "s1", {"source": '"s1.tif"'})
    assert ["names = " in refusals[0], 'stored = "linear"' in refusals[1], len(refusals)] == [True, True, 2]
    channels, values, place = chip_values("s1")
    assert channels == ("jja_vv", "jja_vh")[:count]
    np.testing.assert_allclose(values, DECIBEL[:count, *place], rtol=1e-4)
    assert json.loads(result.stdout)["ranges"]["s1"]["jja_vv"]["median"] == pytest.approx(
        np.median(DECIBEL[0]), rel=1e-3
    )


def test_three_names_for_twelve_bands(here: Path, run: Run, write_raster: WriteRaster) -> None:
    write_raster("s2.tif", np.round(LAND[:12] * 1e4).astype("uint16"), x=LEFT, y=TOP, scale=1e-4)
    refusals, _ = applied(run, "s2", {"source": '"s2.tif"', "names": '["son_red", "son_green", "son_blue"]'})
    assert "12 bands but 3 names; write bands = [4, 3, 2] beside names" in refusals[0] and len(refusals) == 1
    channels, values, place = chip_values("s2")
    assert channels == ("son_red", "son_green", "son_blue")
    np.testing.assert_allclose(values[0], np.round(LAND[3] * 1e4)[place] / 1e4, rtol=1e-5)


@pytest.mark.parametrize("fill", [-9999.0, 9.969209968386869e36])
def test_a_fill_without_a_tag(here: Path, run: Run, write_raster: WriteRaster, fill: float) -> None:
    numbers = LAND[:3].astype("float32")
    numbers[:, :40, :50] = fill
    write_raster("s2.tif", numbers, x=LEFT, y=TOP, names=("jja_red", "jja_green", "jja_blue"))
    refusals, result = applied(run, "s2", {"source": '"s2.tif"'})
    assert len(refusals) == 1 and "which no tag says is no value" in refusals[0]
    told = json.loads(result.stdout)
    assert told["ranges"]["s2"]["jja_red"]["minimum"] > 0.0 and told["faults"] == []


def test_a_scale_of_0(here: Path, run: Run, write_raster: WriteRaster) -> None:
    write_raster("s2.tif", (LAND[:1] * 1e4).astype("uint16"), x=LEFT, y=TOP, names=("jja_red",), scale=0.0)
    refusals, _ = applied(run, "s2", {"source": '"s2.tif"'})
    assert len(refusals) == 1 and "its scale is 0" in refusals[0]
    _, values, place = chip_values("s2")
    np.testing.assert_allclose(values[0], (LAND[0] * 1e4).astype("uint16")[place] / 1e4, rtol=1e-5)


def test_who_insists_names_another_unit(here: Path, run: Run, write_raster: WriteRaster) -> None:
    write_raster("s2.tif", (LAND[:1] * 1e4).astype("uint16"), x=LEFT, y=TOP, names=("jja_red",))
    refusals, _ = applied(run, "s2", {"source": '"s2.tif"'}, unit=True)
    assert len(refusals) == 1
    _, values, place = chip_values("s2")
    assert (values[0] == (LAND[0] * 1e4).astype("uint16")[place]).all()
    assert chip_folder.read(Path("chips")).units["s2"] == "counts"


@pytest.mark.parametrize("folder", ["", "below/"])
def test_the_offset_of_one_scene_of_two(
    here: Path, run: Run, write_raster: WriteRaster, write_area: WriteArea, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """The remedy names the file, is right for both, and is relative to the settings file."""
    half, numbers = SIDE // 2, np.round(LAND[:3] * 1e4).astype("uint16")
    names = {"names": ("jja_red", "jja_green", "jja_blue"), "scale": 1e-4, "y": TOP}
    write_raster(f"{folder}a.tif", numbers[:, :, :half], x=LEFT, **names)
    write_raster(f"{folder}b.tif", numbers[:, :, half:] + 1000, x=LEFT + 10.0 * half, **names)
    config = Path(f"{folder}geoembed.toml")
    config.write_text('[chip]\nsize = 32\n[modalities.s2]\nsource = "*.tif"\n')
    words = ("--config", config, "chip", "--aoi", "aoi.gpkg", "--json")
    (fault,) = json.loads(run(*words).stdout)["faults"]
    assert fault.startswith("b.tif: jja_red, jja_green, jja_blue: the darkest pixels have 0.1")
    ((key, value),) = SETTING.findall(fault)
    config.write_text(config.read_text() + f"{key} = {value}\n")
    told = json.loads(run(*words, "--overwrite").stdout)
    assert told["faults"] == [] and told["counts"]["chips"] == 36
    chipset = chip_folder.read(Path("chips"))
    for chip_id in chipset.index["chip_id"]:
        with rasterio.open(chipset.path_of(chip_id, "s2")) as file:
            row, column = round((TOP - file.bounds.top) / 10.0), round((file.bounds.left - LEFT) / 10.0)
        expected = numbers[:, row : row + 32, column : column + 32] / 1e4
        np.testing.assert_allclose(chip_folder.read_chip(chipset.path_of(chip_id, "s2")).values, expected, atol=1e-6)


def test_ground_control_points_alone_are_warped(here: Path, run: Run, write_raster: WriteRaster) -> None:
    numbers = np.round(LAND[:1] * 1e4).astype("uint16")
    write_raster("s2.tif", numbers, x=LEFT, y=TOP, names=("jja_red",), scale=1e-4)
    with rasterio.open("s2.tif") as file:
        profile, bounds = file.profile, rasterio.warp.transform_bounds(file.crs, "EPSG:4326", *file.bounds)
    west, south, east, north = bounds
    corners = ((0, 0, west, north), (0, SIDE, east, north), (SIDE, 0, west, south), (SIDE, SIDE, east, south))
    points = [GroundControlPoint(*corner) for corner in corners]
    assert from_gcps(points).c == pytest.approx(west)
    del profile["transform"]
    with rasterio.open("gcps.tif", "w", **{**profile, "crs": "EPSG:4326", "gcps": points}) as file:
        file.write(numbers)
        file.descriptions, file.scales = ("jja_red",), (1e-4,)
    result = run("chip", "--aoi", "aoi.gpkg", "--source", "s2=gcps.tif", "--size", 32)
    command = result.stderr.strip().partition("warp it first: ")[2].split()
    assert "ground control points" in result.stderr and "edit-info" not in result.stderr
    assert command == ["gdalwarp", "-t_srs", "EPSG:4326", "gcps.tif", "OUT.tif"]
    if shutil.which("gdalwarp") is None:
        pytest.skip("this machine has no gdalwarp")
    subprocess.run([*command, "-q"], check=True)
    assert run("chip", "--aoi", "aoi.gpkg", "--source", "s2=OUT.tif", "--size", 32).exit_code == 0


@pytest.mark.parametrize("words", [["--size", "448"], ["--size", "128", "--min-valid", "1"]])
def test_a_size_that_a_message_names_gives_about_as_many_chips(
    here: Path, run: Run, write_raster: WriteRaster, words: list[str]
) -> None:
    numbers = np.round(LAND[:1] * 1e4).astype("uint16")
    write_raster("s2.tif", numbers, x=LEFT + 330.0, y=TOP - 330.0, names=("jja_red",), scale=1e-4)
    failed = run("chip", "--aoi", "aoi.gpkg", "--source", "s2=s2.tif", *words)
    assert failed.exit_code == 1 and "pixels or" in failed.stderr and "km wide, the imagery 1.9" in failed.stderr
    sizes = re.findall(r"--size (\d+) for about ([\d,]+) chips", failed.stderr)
    assert sizes
    for size, count in sizes[-2:]:
        told = run(
            "chip", "--aoi", "aoi.gpkg", "--source", "s2=s2.tif", "--size", size, *words[2:], "--json", "-o", size
        )
        assert json.loads(told.stdout)["counts"]["chips"] == pytest.approx(int(count), rel=0.2)
