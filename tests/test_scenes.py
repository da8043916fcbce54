"""Real Sentinel scenes by the command line: five places with Sentinel-2 and -1, and Naples with coherence."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import geopandas
import h5py
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely

from geoembed.chips import folder as chip_folder

pytestmark = pytest.mark.scenes

PLACES = ("282D_485L_3_3", "38D_378R_2_3", "433D_629L_3_1", "609U_541L_3_0", "637U_59R_1_3")
SHIFTED = "433D_629L_3_1"
"""Carries the offset of processing baseline 04.00, and its file does not say so."""

SETTINGS = """
[chip]
size = 16

[modalities.s2]
bands = [4, 3, 2]
names = ["jja_red", "jja_green", "jja_blue"]
scale = 0.0001
[[modalities.s2.sources]]
source = [{plain}]
[[modalities.s2.sources]]
source = "{data}/five-scenes/s2/{shifted}.tif"
offset = -0.1

[modalities.s1]
source = "{data}/five-scenes/s1"
names = ["jja_vv", "jja_vh"]
"""

COHERENCE = """
[modalities.coh]
source = "{data}/naples-coherence/mean_coherence.tif"
names = ["jja_coh12"]
"""


def geoembed(folder: Path, *words: object, status: int = 0) -> str:
    """Run the command in a folder; return what it prints."""
    done = subprocess.run(
        [Path(sys.executable).parent / "geoembed", *map(str, words)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == status, done.stderr
    return done.stdout.strip()


def outline(path: Path, name: str) -> geopandas.GeoDataFrame:
    with rasterio.open(path) as file:
        return geopandas.GeoDataFrame({"name": [name]}, geometry=[shapely.box(*file.bounds)], crs=file.crs).to_crs(4326)


def prepare(folder: Path, data: Path, *, coherence: bool) -> None:
    """Write geoembed.toml and aoi.gpkg."""
    scenes = data / "five-scenes"
    plain = ", ".join(f'"{scenes}/s2/{name}.tif"' for name in PLACES if name != SHIFTED)
    text = SETTINGS + (COHERENCE if coherence else "")
    (folder / "geoembed.toml").write_text(text.format(plain=plain, data=data, shifted=SHIFTED))
    areas = [outline(scenes / "s2" / f"{name}.tif", name) for name in PLACES]
    if coherence:
        naples = outline(data / "naples-coherence" / "mean_coherence.tif", "naples")
        # A tenth of the frame, over land and sea: 16 x 16 pixel chips of the whole would be 40,000.
        centre = shapely.box(14.20, 40.80, 14.30, 40.87)
        areas.append(naples.set_geometry([centre.intersection(naples.geometry.iloc[0])]))
    pd.concat(areas).to_file(folder / "aoi.gpkg")


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The five scenes: chip, label, pretrain for half a minute, embed."""
    data = Path(__file__).parents[2] / "shared" / "data"
    if not (data / "five-scenes").is_dir():
        pytest.skip(f"the real scenes are not beside this checkout ({data})")
    folder = tmp_path_factory.mktemp("five")
    prepare(folder, data, coherence=False)
    assert geoembed(folder, "chip", "--aoi", "aoi.gpkg") == "chips"
    covers = sorted((data / "five-scenes" / "landcover").glob("*.tif"))
    classes = ("water=1", "crops=4", "trees=2", "built=5")
    words = [word for one in classes for word in ("--class", one)]
    expected = [f"labels/{one.split('=')[0]}.gpkg" for one in classes]
    assert geoembed(folder, "label", *covers, *words).splitlines() == expected
    assert geoembed(folder, "pretrain", "--minutes", 0.5) == "model"
    assert geoembed(folder, "embed") == "embeddings.h5"
    return folder


def test_chips_of_five_places(five: Path) -> None:
    found = chip_folder.read(five / "chips")
    assert set(found.index.aoi) == set(PLACES)
    assert 970 <= len(found.index) <= 990
    assert found.channels == {"s2": ("jja_red", "jja_green", "jja_blue"), "s1": ("jja_vv", "jja_vh")}
    assert found.index.groupby("aoi").split.nunique().eq(3).all()
    # 609U comes in zone 16 and lies just inside zone 17.
    assert {one.crs for one in found.grids} == {f"EPSG:{code}" for code in (32722, 32736, 32718, 32617, 32632)}


def test_the_offset_is_corrected(five: Path) -> None:
    """Dark water is as dark there as elsewhere: without correction nothing is below 0.1."""
    found = chip_folder.read(five / "chips")
    rows = found.index[found.index.aoi == SHIFTED]
    values = np.concatenate(
        [chip_folder.read_chip(found.path_of(one, "s2")).values.ravel() for one in rows.chip_id[:40]]
    )
    assert np.nanmin(values) < 0.06


def test_training_learned(five: Path) -> None:
    with (five / "model" / "training.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["loss"]) < 0.95 * float(rows[0]["loss"])


def test_embeddings_hold_every_chip(five: Path) -> None:
    index = chip_folder.read(five / "chips").index
    with h5py.File(five / "embeddings.h5") as file:
        assert [one.decode() for one in file["chip_id"][:]] == index.chip_id.tolist()
        assert np.isfinite(file["embeddings/fused"][:]).all()
        assert json.loads(file.attrs["channels"])["s1"] == ["jja_vv", "jja_vh"]


def test_a_probe_finds_water_and_a_report_is_written(five: Path) -> None:
    printed = geoembed(five, "probe", "--labels", "labels/water.gpkg", "--n", 100)
    assert printed == "probe/water/predictions.gpkg"
    # A minute of training differs from machine to machine, and 100 labels hold some ten of water: judge with all.
    geoembed(five, "probe", "--labels", "labels/water.gpkg", "-o", "all")
    metrics = json.loads((five / "all" / "metrics.json").read_text())
    assert metrics["scores"]["all"]["roc_auc"] > 0.8
    tasks = [word for name in ("water", "crops", "trees", "built") for word in ("--labels", f"labels/{name}.gpkg")]
    words = ("evaluate", *tasks, "--sizes", "20,100,all", "--repeats", 2, "--hold-out")
    assert geoembed(five, *words) == "report/report.html"
    results = pd.read_csv(five / "report" / "results.csv")
    assert {"task", "aoi", "features", "classifier", "n", "seed", "metric", "value", "seconds"} <= set(results.columns)
    assert {"s2", "s1", "fused", "concat"} <= set(results.features)


def test_a_sceptics_evaluation_of_five_places(five: Path) -> None:
    words = ("evaluate", "--chips", "chips", "--labels", "labels/water.gpkg", "--features", "fused", "--n", 100)
    assert geoembed(five, *words, "--sizes", "20,all", "--repeats", 2, "-o", "sceptic") == "sceptic/report.html"
    results = pd.read_csv(five / "sceptic" / "results.csv")
    sources = {"embeddings", "statistics", "mosaiks", "untrained"}
    assert set(results.question) == {"curve", "split", "transfer", "missing"} and set(results.source) == sources
    removed = set(results.tested[results.question == "missing"])
    assert {"nothing", "without s2", "without s1", "without s1 jja_vv", "50 % of channels"} <= removed
    travelled = results[results.question == "transfer"]
    for learned, tested in zip(travelled.aoi, travelled.tested, strict=True):
        assert learned == f"all but {tested}" or learned in set(PLACES) - {tested}
    summary = json.loads((five / "sceptic" / "summary.json").read_text())
    beaten = {one["source"] for one in summary["comparisons"] if one["question"] == "compared" and one["aoi"] == "all"}
    assert beaten == sources - {"embeddings"}
    (retrieval,) = summary["retrieval"]
    assert retrieval["n"] > 100 and retrieval["at_10"] > 10 / retrieval["n"]  # better than chance
    assert {path.name for path in (five / "sceptic" / "baselines").iterdir()} == {f"{name}.h5" for name in beaten}


@pytest.fixture(scope="module")
def six(five: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The five and Naples: a run that knows all three modalities."""
    data = Path(__file__).parents[2] / "shared" / "data"
    folder = tmp_path_factory.mktemp("six")
    prepare(folder, data, coherence=True)
    geoembed(folder, "chip", "--aoi", "aoi.gpkg")
    geoembed(folder, "pretrain", "--epochs", 1)
    shutil.copy(five / "labels" / "water.gpkg", folder / "water.gpkg")
    return folder


def test_naples_has_coherence_alone(six: Path) -> None:
    found = chip_folder.read(six / "chips")
    naples = found.index[found.index.aoi == "naples"]
    assert len(naples) > 500
    assert naples.coh.notna().all()
    assert naples[["s2", "s1"]].isna().all().all()
    assert (naples.coh < 1.0).any(), "NaN over the sea is nodata"
    with rasterio.open(found.path_of(naples.chip_id.iloc[0], "coh")) as file:
        assert file.res == (10.0, 10.0)
    geoembed(six, "embed")
    geoembed(six, "embed", "--modalities", "coh", "-o", "coh.h5")
    with h5py.File(six / "embeddings.h5") as whole, h5py.File(six / "coh.h5") as alone:
        rows = np.array([one == b"naples" for one in whole["aoi"][:]])
        fused = whole["embeddings/fused"][:][rows]
        assert np.isfinite(fused).all()
        assert np.allclose(fused, whole["embeddings/coh"][:][rows], atol=1e-5)
        kept = np.isin(alone["chip_id"][:], whole["chip_id"][:][rows])
        assert np.allclose(fused, alone["embeddings/fused"][:][kept], atol=1e-5)


def test_the_contracts_commands_in_a_makefile(six: Path, tmp_path: Path) -> None:
    """Make runs each step once and is content then; a touched area runs them again, which keeps everything."""
    (six / "Makefile").write_text(
        "map/predictions.gpkg: made.h5 water.gpkg\n"
        "\tgeoembed probe made.h5 --labels water.gpkg --n 500 -o map\n"
        "made.h5: chips/index.gpkg model/weights.safetensors\n"
        "\tgeoembed embed --modalities s1,coh -o made.h5\n"
        "model/weights.safetensors: chips/index.gpkg\n"
        "\tgeoembed pretrain --epochs 1\n"
        "chips/index.gpkg: aoi.gpkg\n"
        "\tgeoembed chip --aoi aoi.gpkg\n"
    )
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def make(*words: str) -> int:
        return subprocess.run(["make", *words], cwd=six, capture_output=True, check=False, env=env).returncode

    assert make() == 0
    assert make("-q") == 0
    weights = (six / "model" / "weights.safetensors").read_bytes()
    os.utime(six / "aoi.gpkg")
    assert make("-q") == 1
    assert make() == 0
    assert make("-q") == 0
    assert (six / "model" / "weights.safetensors").read_bytes() == weights


def test_aligned_pixels_are_the_scenes_own(scenes: Path, tmp_path: Path) -> None:
    path = scenes / "five-scenes" / "s2" / f"{PLACES[0]}.tif"
    outline(path, "here").to_file(tmp_path / "aoi.gpkg")
    (tmp_path / "geoembed.toml").write_text(
        f'[modalities.s2]\nsource = "{path}"\nbands = [4, 3, 2]\nscale = 0.0001\n'
        'names = ["jja_red", "jja_green", "jja_blue"]\n'
    )
    geoembed(tmp_path, "chip", "--aoi", "aoi.gpkg", "--align", "s2", "--size", 16)
    found = chip_folder.read(tmp_path / "chips")
    assert len(found.index) == 14 * 14
    with rasterio.open(path) as scene:
        numbers, place = scene.read([4, 3, 2]), scene.transform
    for chip_id in found.index.chip_id:
        with rasterio.open(found.path_of(chip_id, "s2")) as file:
            column, row = (round(value) for value in ~place @ (file.bounds.left, file.bounds.top))
            stored = file.read()
            assert stored.dtype == numbers.dtype
            assert (stored == numbers[:, row : row + 16, column : column + 16]).all()
