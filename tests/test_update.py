"""What is kept, what is refused and what is made again, over the whole pipeline: one rule for all steps."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from conftest import Run, edit_raster
from places import make_place

from geoembed.steps import sample

PIPELINE = {
    "chip": ("--aoi", "aoi.gpkg"),
    "label": ("landcover.tif", "--class", "water"),
    "pretrain": ("--epochs", "1"),
    "embed": (),
    "probe": ("--labels", "labels/water.gpkg", "--n", "20"),
    "evaluate": ("--labels", "labels/water.gpkg", "--sizes", "10,all", "--repeats", "2", "--n", "10"),
}
OUTPUTS = {
    "chip": "chips/index.gpkg",
    "label": "labels/water.gpkg",
    "pretrain": "model/weights.safetensors",
    "embed": "embeddings.h5",
    "probe": "probe/water/predictions.gpkg",
    "evaluate": "report/report.html",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Path:
    """A folder in which every step has run."""
    (tmp_path / "one").mkdir()
    make_place(tmp_path / "one")
    monkeypatch.chdir(tmp_path / "one")
    for step, words in PIPELINE.items():
        result = run(step, *words)
        assert result.exit_code == 0, result.stderr
    return tmp_path / "one"


def contents() -> dict[str, bytes]:
    return {step: Path(output).read_bytes() for step, output in OUTPUTS.items()}


def test_a_plain_copy_and_touched_inputs_keep_everything(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = project.parent / "copy"
    shutil.copytree(project, copy, copy_function=shutil.copyfile)  # other modification times, same bytes
    monkeypatch.chdir(copy)
    for _ in range(2):
        before = contents()
        for path in (*copy.glob("*.tif"), copy / "aoi.gpkg"):
            os.utime(path)
        for step, words in PIPELINE.items():
            result = run(step, *words)
            assert result.exit_code == 0, result.stderr
        after = contents()
        kept = [step for step in PIPELINE if step != "label"]  # whose file is written anew with the new stamps
        assert [step for step in kept if after[step] != before[step]] == []


def test_older_inputs_are_refused_and_update_makes_again_what_they_touch(project: Path, run: Run) -> None:
    edit_raster(Path("landcover.tif"), lambda pixels: np.where(np.arange(pixels.shape[2]) < 40, 80, pixels))
    refused = run("label", *PIPELINE["label"])
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "made from other inputs (rasters differs); pass --update" in refused.stderr
    before = contents()
    for step, words in PIPELINE.items():
        result = run(step, *words, "--update", "--json")
        assert result.exit_code == 0, result.stderr
    changed = [step for step, content in contents().items() if content != before[step]]
    assert changed == ["label", "probe", "evaluate"]
    for step, words in PIPELINE.items():
        assert run(step, *words).exit_code == 0


def test_an_edited_label_makes_the_map_again(project: Path, run: Run) -> None:
    labels = geopandas.read_file("labels/water.gpkg", layer="labels")
    labels[["chip_id", "label"]].to_csv("mine.csv", index=False)
    words = ("probe", "--labels", "mine.csv")
    assert run(*words).exit_code == 0
    labels["label"] = np.where(np.arange(len(labels)) < 3, 1 - labels["label"], labels["label"])
    labels[["chip_id", "label"]].to_csv("mine.csv", index=False)
    refused = run(*words)
    assert (refused.exit_code == 1 and "(labels was" in refused.stderr) or "labels differs" in refused.stderr
    assert run(*words, "--update").exit_code == 0
    made = geopandas.read_file("probe/mine/predictions.gpkg").set_index("chip_id")["label"]
    assert (made[labels["chip_id"]].to_numpy() == labels["label"].to_numpy()).all()


def test_other_options_are_refused_even_with_update(project: Path, run: Run) -> None:
    others = {
        "chip": ("--min-valid", "0.9"),
        "label": ("--threshold", "0.9"),
        "pretrain": ("--epochs", "2"),
        "embed": ("--modalities", "s1"),
        "probe": ("--n", "21"),
        "evaluate": ("--n", "11"),
    }
    before = contents()
    for step, words in PIPELINE.items():
        refused = run(step, *words, *others[step], "--update")
        assert (refused.exit_code, refused.stdout) == (1, ""), step
        assert "--overwrite" in refused.stderr and refused.stderr.count("\n") == 1
    assert contents() == before


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_rebuilds_what_changed(tmp_path: Path) -> None:
    """The Makefile that `sample` writes, with a newer land cover and then an older one."""
    make_place(tmp_path)
    shutil.copy(sample.TEXTS / "Makefile", tmp_path)
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    make = ["make", "probe/water/predictions.gpkg", "PRETRAIN=--epochs 1", "N=20"]

    def build() -> tuple[int, int]:
        done = subprocess.run(make, cwd=tmp_path, capture_output=True, text=True, check=False, env=env)
        assert done.returncode == 0, done.stderr
        assert subprocess.run([*make, "-q"], cwd=tmp_path, check=False, env=env).returncode == 0
        report = json.loads((tmp_path / "probe/water/metrics.json").read_text())
        return report["scores"]["all"]["labels"], int(geopandas.read_file(tmp_path / make[1])["label"].sum())

    first = build()
    with rasterio.open(tmp_path / "landcover.tif") as file:
        pixels = file.read()
    edit_raster(tmp_path / "landcover.tif", lambda pixels: np.where(np.arange(160) < 40, 40, pixels))
    assert build() != first
    edit_raster(tmp_path / "landcover.tif", lambda _: pixels)
    assert build() == first
