import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas.testing
import numpy as np
import pytest
import rasterio
import shapely
from conftest import WriteArea, WriteRaster, square

from geoembed.chips import cutting, layout
from geoembed.chips import folder as chip_folder
from geoembed.errors import ChipError, ConfigError, ImageryError, StaleError
from geoembed.imagery import warp
from geoembed.imagery.modalities import BUILT_IN, Modality, Source
from geoembed.outputs import journal
from geoembed.progress import Result
from geoembed.steps import chip

S2, S1, COH = BUILT_IN
NAMES = ("jja_red", "jja_green", "jja_blue")
GENERATOR = np.random.default_rng(1)


def placed(modality: Modality, *paths: Path, **keys: object) -> Modality:
    return replace(modality, sources=(Source(tuple(map(str, paths)), **keys),))  # type: ignore[arg-type]


@pytest.fixture
def numbers() -> np.ndarray:
    return GENERATOR.integers(1, 5000, (3, 200, 200), dtype="uint16")


@pytest.fixture
def scene(write_raster: WriteRaster, numbers: np.ndarray) -> Modality:
    """Red, green and blue, two by two kilometres, on the pixels of the fixed grid."""
    path = write_raster("s2.tif", numbers, x=499_200.0, y=4_999_680.0, names=NAMES, scale=1e-4, nodata=0)
    return placed(S2, path)


@pytest.fixture
def area(write_area: WriteArea) -> Path:
    return write_area("aoi.gpkg", square(499_200, 4_997_760, 1920), names=("here",))


def cut(
    area: Path, *modalities: Modality, output: Path | None = None, size: int | None = 32, **keys: object
) -> Result[Any]:
    output = output or area.parent / "chips"
    return chip.chip((area,), source=modalities, output=output, size=size, **keys)  # type: ignore[arg-type]


def pixels(folder: Path, chip_id: str, modality: str) -> np.ndarray:
    with rasterio.open(chip_folder.path_of(folder, chip_id, modality)) as file:
        return np.asarray(file.read())


def test_pixels_equal_the_source_bit_for_bit(area: Path, scene: Modality, numbers: np.ndarray, tmp_path: Path) -> None:
    outcome = cut(area, scene)
    assert outcome.paths == (tmp_path / "chips",)
    assert outcome.counts["chips"] == 36
    chipset = chip_folder.read(tmp_path / "chips")
    assert list(chipset.index.columns) == ["chip_id", "aoi", "split", "s2", "s2_digest", "geometry"]
    assert chipset.channels == {"s2": NAMES}
    for chip_id in chipset.index.chip_id:
        with rasterio.open(chipset.path_of(chip_id, "s2")) as file:
            assert (file.crs.to_epsg(), file.nodata, file.descriptions) == (32632, 0, NAMES)
            assert (file.scales, file.offsets) == ((1e-4,) * 3, (0.0,) * 3)
            assert file.compression.name == "zstd"
            assert file.block_shapes[0] == (32, 32)
            column, row = int((file.bounds.left - 499_200) / 10), int((4_999_680 - file.bounds.top) / 10)
            assert (file.read() == numbers[:, row : row + 32, column : column + 32]).all()
    values = chip_folder.read_chip(chipset.path_of(chipset.index.chip_id[0], "s2")).values
    assert values.dtype == np.float32
    assert 0.0 < values.min() < values.max() <= 0.5


def test_a_source_in_another_zone_gives_what_a_warp_of_the_scene_gives(
    area: Path, write_raster: WriteRaster, tmp_path: Path
) -> None:
    from rasterio.warp import Resampling, reproject, transform

    (x,), (y,) = transform("EPSG:32632", "EPSG:32633", [500_160.0], [4_998_720.0])
    y_, x_ = np.mgrid[:400, :400]
    image = (2000 + 900 * np.sin(x_ / 9.0) * np.cos(y_ / 13.0))[None].astype("int16")
    path = write_raster(
        "z.tif", image, x=round(x) - 2003.0, y=round(y) + 2001.0, crs="EPSG:32633", names=("jja_red",), scale=1e-4
    )
    cut(area, placed(S2, path))
    chipset = chip_folder.read(tmp_path / "chips")
    assert len(chipset.index) == 36
    out = np.zeros((1, 192, 192), dtype="int16")
    transform_ = rasterio.Affine(10.0, 0.0, 499_200.0, 0.0, -10.0, 4_999_680.0)
    with rasterio.open(path) as file:
        reproject(
            rasterio.band(file, 1),
            out[0],
            dst_transform=transform_,
            dst_crs="EPSG:32632",
            resampling=Resampling.bilinear,
        )
    for chip_id in chipset.index.chip_id:
        with rasterio.open(chipset.path_of(chip_id, "s2")) as file:
            column, row = int((file.bounds.left - 499_200) / 10), int((4_999_680 - file.bounds.top) / 10)
            difference = file.read(1).astype(int) - out[0, row : row + 32, column : column + 32]
            assert np.abs(difference).max() <= 1


def test_a_modality_with_too_few_valid_pixels_is_absent(
    area: Path, scene: Modality, write_raster: WriteRaster, tmp_path: Path
) -> None:
    decibels = np.full((2, 200, 200), -12.0, dtype="float64")
    decibels[:, :, 96:] = np.nan
    decibels[:, :, 64:80] = np.nan
    path = write_raster("s1.tif", decibels, x=499_200.0, y=4_999_680.0, names=("jja_vv", "jja_vh"))
    outcome = cut(area, scene, placed(S1, path), min_valid=0.6)
    index = chip_folder.read(tmp_path / "chips").index
    fractions = index.s1.dropna()
    assert outcome.counts["s1"] == len(fractions) == 12
    assert (fractions == 1.0).all()
    assert index.s2.notna().all()
    missing = index.chip_id[index.s1.isna()]
    assert not any(chip_folder.path_of(tmp_path / "chips", chip_id, "s1").exists() for chip_id in missing)


def test_channels_without_a_valid_pixel_are_missing_from_the_chip(
    area: Path, scene: Modality, write_raster: WriteRaster, tmp_path: Path
) -> None:
    west = GENERATOR.integers(1, 99, (1, 200, 96), dtype="uint16")
    path = write_raster("son.tif", west, x=499_200.0, y=4_999_680.0, names=("son_red",), scale=1e-4, nodata=0)
    both = replace(scene, sources=(*scene.sources, Source((str(path),))))
    cut(area, both)
    chipset = chip_folder.read(tmp_path / "chips")
    assert chipset.channels["s2"] == (*NAMES, "son_red")
    assert (chipset.index.s2 == 1.0).all()
    combinations = {chip_folder.read_chip(chipset.path_of(chip_id, "s2")).channels for chip_id in chipset.index.chip_id}
    assert combinations == {NAMES, (*NAMES, "son_red")}


def test_another_offset_is_converted_to_the_first_ones(area: Path, write_raster: WriteRaster, tmp_path: Path) -> None:
    half = np.full((1, 200, 100), 2000, dtype="int16")
    west = write_raster("w.tif", half, x=499_200.0, y=4_999_680.0, names=("jja_red",))
    east = write_raster("e.tif", half, x=500_200.0, y=4_999_680.0, names=("jja_red",))
    sources = Source((str(west),), scale=1e-4), Source((str(east),), scale=1e-4, offset=-0.1)
    cut(area, replace(S2, sources=sources))
    index = chip_folder.read(tmp_path / "chips").index
    lon = index.geometry.bounds.minx
    for chip_id, numbers in ((index.chip_id[lon.argmin()], 2000), (index.chip_id[lon.argmax()], 1000)):
        assert (pixels(tmp_path / "chips", chip_id, "s2") == numbers).all()


def test_global_seasonal_tiles(write_area: WriteArea, write_raster: WriteRaster, tmp_path: Path) -> None:
    """Tiles are placed by name; a missing file is a missing channel, a missing tile nodata."""
    amplitude = np.full((1, 1200, 1200), 5000, dtype="uint16")
    coherence = GENERATOR.integers(1, 100, (1, 1200, 1200), dtype="uint8")
    place = {"x": 9.0, "y": 46.0, "pixel": 1 / 1200, "crs": "EPSG:4326"}
    write_raster("tiles/N46E009/N46E009_summer_vv_AMP.tif", amplitude, **place)
    write_raster("tiles/N46E009/N46E009_summer_vv_COH12.tif", coherence, **place)
    write_raster("tiles/N46E009/N46E009_fall_vv_COH12.tif", coherence, **place)
    area = write_area("aoi.gpkg", square(9.97, 45.5, 0.06), crs="EPSG:4326")
    outcome = cut(area, placed(S1, tmp_path / "tiles"), placed(COH, tmp_path / "tiles"), size=100)
    chipset = chip_folder.read(tmp_path / "chips")
    assert chipset.channels == {"s1": ("jja_vv",), "coh": ("jja_coh12", "son_coh12")}
    assert outcome.counts["left_out_without_imagery"] > 0
    value = chip_folder.read_chip(chipset.path_of(chipset.index.chip_id[0], "s1")).values
    assert np.nanmax(np.abs(value - (20 * np.log10(5000) - 83))) < 1e-3
    coh = chip_folder.read_chip(chipset.path_of(chipset.index.chip_id[0], "coh")).values
    assert 0.0 < np.nanmin(coh) < np.nanmax(coh) < 1.0


def test_aligned_chips_are_the_scenes_own_pixels(
    write_raster: WriteRaster, write_area: WriteArea, tmp_path: Path
) -> None:
    numbers = GENERATOR.integers(-9, 9999, (3, 100, 100), dtype="int16")
    path = write_raster("s2.tif", numbers, x=600_001.3, y=5_100_007.7, names=NAMES, scale=1e-4)
    area = write_area("aoi.gpkg", square(600_000, 5_099_000, 1_100))
    cut(area, placed(S2, path), size=16, align="s2")
    chipset = chip_folder.read(tmp_path / "chips")
    (lattice,) = chipset.grids
    assert all(chip_id.startswith(lattice.name) for chip_id in chipset.index.chip_id)
    whole = 0
    for chip_id in chipset.index.chip_id:
        with rasterio.open(chipset.path_of(chip_id, "s2")) as file:
            row, column = round((5_100_007.7 - file.bounds.top) / 10), round((file.bounds.left - 600_001.3) / 10)
            expected = numbers[:, row : row + 16, column : column + 16]
            assert (file.read()[:, : expected.shape[1], : expected.shape[2]] == expected).all()
            whole += expected.shape[1:] == (16, 16)
    assert whole == 36
    with pytest.raises(ConfigError, match="--resolution"):
        cut(area, placed(S2, path), size=16, align="s2", resolution=10.0, output=tmp_path / "other")
    with pytest.raises(ConfigError, match="--align s1"):
        cut(area, placed(S2, path), size=16, align="s1", output=tmp_path / "other")


def stamps(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.tif")}


def test_a_second_run_keeps_everything_and_renews_the_index(area: Path, scene: Modality, tmp_path: Path) -> None:
    cut(area, scene)
    folder = tmp_path / "chips"
    before, index = stamps(folder), (folder / chip_folder.INDEX).stat().st_mtime_ns
    digest = chip_folder.read(folder).digest
    outcome = cut(area, scene)
    assert (outcome.counts["cells_kept"], outcome.counts["cells_cut"]) == (36, 0)
    assert stamps(folder) == before
    assert (folder / chip_folder.INDEX).stat().st_mtime_ns > index
    assert chip_folder.read(folder).digest == digest


@pytest.mark.parametrize("kept", [None, 0, 400])
def test_a_style_that_is_lost_or_cut_is_made_anew(
    area: Path, scene: Modality, tmp_path: Path, kept: int | None
) -> None:
    cut(area, scene)
    style = tmp_path / "chips/index.qml"
    made, index = style.read_bytes(), (tmp_path / "chips/index.gpkg").read_bytes()
    style.unlink() if kept is None else style.write_bytes(made[:kept])
    cut(area, scene)
    assert (style.read_bytes(), (tmp_path / "chips/index.gpkg").read_bytes()) == (made, index)
    style.write_bytes(b"<qgis>mine</qgis>")
    cut(area, scene)
    assert style.read_bytes() == b"<qgis>mine</qgis>"


def test_what_is_missing_is_made(area: Path, scene: Modality, tmp_path: Path) -> None:
    cut(area, scene)
    folder = tmp_path / "chips"
    content = {path: path.read_bytes() for path in folder.rglob("*.tif")}
    lost = sorted(content)[:3]
    for path in lost:
        path.unlink()
    outcome = cut(area, scene)
    assert outcome.counts["cells_cut"] == 3
    assert {path: path.read_bytes() for path in folder.rglob("*.tif")} == content
    (folder / chip_folder.INDEX).unlink()
    with pytest.raises(ChipError, match="not finished"):
        chip_folder.read(folder)
    assert cut(area, scene).counts["cells_cut"] == 0
    assert len(chip_folder.read(folder).index) == 36


def test_a_killed_run_goes_on(area: Path, scene: Modality, tmp_path: Path) -> None:
    program = (
        "import geoembed; steps = geoembed.chip.steps('aoi.gpkg', source={'s2': 's2.tif'}, size=8);"
        "[print(step.done, flush=True) for step in steps]"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while float(process.stdout.readline()) == 0.0:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    folder = tmp_path / "chips"
    with (folder / chip.JOURNAL).open("a") as file:
        file.write('{"32N-80-half a li')
    done = len(cutting.finished(journal.read(folder / chip.JOURNAL)[1]))
    assert done > 0
    outcome = cut(area, scene, size=8)
    assert outcome.counts["cells_kept"] == done
    assert outcome.counts["chips"] == 576
    assert not list(folder.rglob(".part-*"))
    fresh = cut(area, scene, size=8, output=tmp_path / "fresh")
    assert fresh.counts["chips"] == 576
    geopandas.testing.assert_geodataframe_equal(
        chip_folder.read(folder).index, chip_folder.read(tmp_path / "fresh").index
    )


def test_other_options_are_refused(area: Path, scene: Modality, tmp_path: Path) -> None:
    cut(area, scene)
    for update in (False, True):
        with pytest.raises(StaleError, match=r"options \(min_valid was 0.5, now 0.9\).*--overwrite"):
            cut(area, scene, min_valid=0.9, update=update)


def test_a_source_is_told_by_content_not_by_time(area: Path, scene: Modality, tmp_path: Path) -> None:
    cut(area, scene)
    digest = chip_folder.read(tmp_path / "chips").digest
    os.utime(tmp_path / "s2.tif", (1, 1))
    outcome = cut(area, scene)
    assert (outcome.counts["cells_cut"], outcome.counts["cells_kept"]) == (0, 36)
    assert chip_folder.read(tmp_path / "chips").digest == digest
    stamps = json.loads((tmp_path / "chips/chips.json").read_text())["made_from"]["stamps"]
    assert [stamp.split()[-1] for stamp in stamps] == ["1000000000"], "the new stamp is recorded"


def test_a_newer_source_is_refused_until_update(area: Path, scene: Modality, tmp_path: Path) -> None:
    cut(area, scene)
    with rasterio.open(tmp_path / "s2.tif", "r+") as file:
        file.write(file.read() // 2)
    with pytest.raises(StaleError, match=r"other inputs \(sources differs\); pass --update"):
        cut(area, scene)
    assert cut(area, scene, update=True).counts["cells_cut"] == 36
    assert cut(area, scene).counts["cells_cut"] == 0


def test_overwrite_deletes_only_what_geoembed_made(area: Path, scene: Modality, tmp_path: Path) -> None:
    cut(area, scene)
    folder = tmp_path / "chips"
    (folder / "s2" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError):
        cut(area, scene, align="coh", overwrite=True)
    assert len(stamps(folder)) == 36, "inputs are checked before anything is deleted"
    outcome = cut(area, scene, size=16, overwrite=True)
    assert outcome.counts["chips"] == 144
    assert len(stamps(folder)) == 144
    assert (folder / "s2" / "notes.txt").read_text() == "mine"


def test_a_folder_of_others_is_left_alone(area: Path, scene: Modality, tmp_path: Path) -> None:
    (tmp_path / "chips").mkdir()
    (tmp_path / "chips" / "diary.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ChipError, match="was not made by geoembed"):
            cut(area, scene, overwrite=overwrite)


def test_nothing_to_cut_is_an_error_that_tells_why(write_area: WriteArea, scene: Modality, tmp_path: Path) -> None:
    dot = write_area("dot.gpkg", square(499_200, 4_997_760, 10))
    with pytest.raises(
        ChipError, match=r"dot.gpkg: holds the centre of no cell .* 0.32 km wide, the imagery 1.99 x 2 km"
    ):
        cut(dot, scene)
    away = write_area("away.gpkg", square(10.3, 45.1, 0.02), crs="EPSG:4326")
    with pytest.raises(ChipError, match=r"lies at 10.3 E to 10.32 E, 45.1 N .*, where .* \(s2: 8.99 E to 9.015 E"):
        cut(away, scene)
    assert not (tmp_path / "chips").exists()


def hidden(path: Path) -> None:
    """Make all pixels nodata but a corner of 8 x 8."""
    with rasterio.open(path, "r+") as file:
        numbers = file.read()
        corner = numbers[:, :8, :8].copy()
        numbers[:] = 0
        numbers[:, :8, :8] = corner
        file.write(numbers)


def test_a_run_that_made_nothing_leaves_nothing_that_refuses_the_next(
    area: Path, scene: Modality, tmp_path: Path
) -> None:
    hidden(tmp_path / "s2.tif")
    with pytest.raises(ChipError, match=r"fullest cell has 6.25 % valid pixels, less than --min-valid 0.5.*0.06"):
        cut(area, scene)
    assert not (tmp_path / "chips").exists()
    assert cut(area, scene, min_valid=0.06).counts["chips"] == 1
    with pytest.raises(StaleError, match=r"min_valid was 0.06, now 0.5"):
        cut(area, scene)


def test_a_run_that_failed_gives_way_to_one_with_other_options(
    area: Path, scene: Modality, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its chips stay for a run of the same options, and go without --overwrite for any other."""
    monkeypatch.setattr(cutting, "BLOCK_HEIGHT", 32)
    monkeypatch.setattr(cutting, "BLOCK_WIDTH", 32)
    mosaic, calls = warp.mosaic, iter(range(100))

    def breaking(*words: Any) -> Any:
        if next(calls) == 20:
            raise ImageryError("s2.tif: its pixels cannot be read; mend it")
        return mosaic(*words)

    for min_valid, kept in ((0.5, True), (0.9, False)):
        calls = iter(range(100))
        monkeypatch.setattr(warp, "mosaic", breaking)
        with pytest.raises(ImageryError, match="cannot be read"):
            cut(area, scene)
        assert 0 < len(stamps(tmp_path / "chips")) < 36
        monkeypatch.setattr(warp, "mosaic", mosaic)
        counts = cut(area, scene, min_valid=min_valid).counts
        assert (counts["cells_kept"] > 0, counts["chips"], len(stamps(tmp_path / "chips"))) == (kept, 36, 36)
        assert not chip_folder.read_description(tmp_path / "chips").failed
        shutil.rmtree(tmp_path / "chips")


def test_values_that_are_impossible_are_refused_before_anything_is_written_or_deleted(
    area: Path, scene: Modality, write_raster: WriteRaster, tmp_path: Path
) -> None:
    cut(area, scene)
    before = stamps(tmp_path / "chips")
    power = np.exp(GENERATOR.normal(size=(2, 200, 200))).astype("float32")
    path = write_raster("s1.tif", power, x=499_200.0, y=4_999_680.0, names=("jja_vv", "jja_vh"))
    with pytest.raises(ImageryError, match=r"s1.tif: jja_vv, jja_vh: .* power; write stored = .linear. under .*s1"):
        cut(area, scene, placed(S1, path), overwrite=True)
    assert stamps(tmp_path / "chips") == before
    with pytest.raises(ImageryError):
        cut(area, placed(S1, path), output=tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert cut(area, placed(S1, path, stored="linear"), output=tmp_path / "new").counts["s1"] == 36


def test_the_ranges_of_values_are_told_and_kept(area: Path, scene: Modality, numbers: np.ndarray) -> None:
    report = cut(area, scene).report
    assert report["faults"] == [] and list(report["ranges"]) == ["s2"]
    red = report["ranges"]["s2"]["jja_red"]
    assert (red["count"], red["valid"]) == (40_000, 1.0)
    for key, value in (("minimum", numbers[0].min()), ("p99", np.percentile(numbers[0], 99))):
        assert red[key] == pytest.approx(value * 1e-4, rel=1e-4)
    assert cut(area, scene).report == report, "of the run that cut the chips"


def test_the_size_is_chosen_by_area_and_imagery(
    area: Path, scene: Modality, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(layout, "ENOUGH", 30)
    with caplog.at_level("INFO", logger="geoembed"):
        counts = cut(area, scene, size=None).counts
    assert (counts["size"], counts["chips"], counts["area_with_imagery"]) == (32, 36, 1.0)
    told = "chips of 32 pixels are cut: area and imagery have room for about 36 of them (and for 0 of 448, 1 of 224"
    assert told in caplog.text


def test_chips_that_are_there_keep_their_size(area: Path, scene: Modality, tmp_path: Path) -> None:
    cut(area, scene, size=64)
    assert cut(area, scene, size=None).counts["cells_cut"] == 0
    with rasterio.open(tmp_path / "s2.tif", "r+") as file:
        file.write(file.read() // 2 + 1)
    assert cut(area, scene, size=None, update=True).counts["size"] == 64
    assert cut(area, scene, size=None, overwrite=True).counts["size"] == 16


def test_what_lies_outside_all_imagery_is_told(
    scene: Modality, write_area: WriteArea, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="geoembed"):
        counts = cut(write_area("twice.gpkg", shapely.box(499_200, 4_997_680, 503_200, 4_999_680)), scene).counts
    assert counts["area_with_imagery"] == pytest.approx(0.5, abs=2e-3)
    assert "50 % of the area has imagery" in caplog.text
    # Cells that touch the raster are looked at, and those beside: 6 columns of 6 rows are chips.
    assert counts["chips"] == 36 and 6 <= counts["left_out_without_imagery"] <= 18


@pytest.mark.parametrize("align", [None, "s2"])
def test_of_too_few_chips_the_size_that_gives_most_is_chosen(area: Path, scene: Modality, align: str | None) -> None:
    counts = cut(area, scene, size=None, align=align).counts
    assert (counts["size"], counts["chips"]) == (16, 144)


def test_the_whole_earth_as_area_takes_as_long_as_its_imagery(scene: Modality, write_area: WriteArea) -> None:
    counts = cut(write_area("earth.gpkg", shapely.box(-180, -60, 180, 83), crs="EPSG:4326"), scene, size=None).counts
    assert (counts["size"], 100 < counts["chips"] < 200) == (16, True)


def test_every_size_can_be_written(area: Path, scene: Modality, tmp_path: Path) -> None:
    for size in (7, 48):
        cut(area, scene, size=size, output=tmp_path / f"chips{size}")
        chipset = chip_folder.read(tmp_path / f"chips{size}")
        with rasterio.open(chipset.path_of(chipset.index.chip_id[0], "s2")) as file:
            assert (file.width, file.height, file.block_shapes[0]) == (size, size, (size, size))


def test_a_broken_chip_is_named(area: Path, scene: Modality, tmp_path: Path) -> None:
    cut(area, scene)
    chipset = chip_folder.read(tmp_path / "chips")
    path = chipset.path_of(chipset.index.chip_id[0], "s2")
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ChipError, match=f"{path.name}: cannot be read"):
        chip_folder.read_chip(path)
    path.unlink()
    with pytest.raises(ChipError, match=f"{path.name}: missing"):
        chip_folder.read_chip(path)


def test_a_broken_description_is_named(area: Path, scene: Modality, tmp_path: Path) -> None:
    cut(area, scene)
    description = tmp_path / "chips" / chip_folder.DESCRIPTION
    whole = description.read_bytes()
    for damage in (b"", whole[:-30], whole.replace(b'"size": 32', b'"size": 33')):
        description.write_bytes(damage)
        with pytest.raises(
            ChipError, match=r"chips.json: (is empty|cannot be read|was edited or damaged).*run `geoembed chip"
        ):
            chip_folder.read(tmp_path / "chips")
        assert cut(area, scene).counts["cells_cut"] == 0
        assert json.loads(description.read_bytes()) == json.loads(whole)


def test_sizes_make_sense(area: Path, scene: Modality) -> None:
    for keys in ({"resolution": -10.0}, {"resolution": float("nan")}, {"size": 0}):
        with pytest.raises(ConfigError, match=r"--(size|resolution) \S+: give"):
            cut(area, scene, **keys)


def test_a_resumed_journal_holds_each_list_of_channels_once(area: Path, scene: Modality, tmp_path: Path) -> None:
    cut(area, scene)
    contents = cutting.finished(journal.read(tmp_path / "chips" / chip.JOURNAL)[1])
    assert len({id(held["s2"].channels) for held in contents.values()}) == 1


def test_a_broken_index_is_written_anew(area: Path, scene: Modality, tmp_path: Path) -> None:
    cut(area, scene)
    index = tmp_path / "chips" / chip_folder.INDEX
    whole = chip_folder.read(tmp_path / "chips").index
    index.write_bytes(index.read_bytes()[:5000])
    assert cut(area, scene).counts["cells_cut"] == 0
    geopandas.testing.assert_geodataframe_equal(chip_folder.read(tmp_path / "chips").index, whole)


def test_statistics_beside_a_raster_change_nothing(area: Path, scene: Modality, tmp_path: Path) -> None:
    cut(area, scene)
    sidecar = tmp_path / "s2.tif.aux.xml"
    text = '<PAMDataset><PAMRasterBand band="1"><Metadata>{}</Metadata></PAMRasterBand></PAMDataset>'
    sidecar.write_text(text.format('<MDI key="STATISTICS_MEAN">12.5</MDI>'))
    assert cut(area, scene).counts["cells_cut"] == 0
    sidecar.write_text(text.format('<MDI key="OTHER">1</MDI>'))
    with pytest.raises(StaleError, match="sources differs"):
        cut(area, scene)
