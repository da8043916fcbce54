"""What info tells of every kind of file, with the values that other programs read; and that it finds damage."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
from pathlib import Path
from typing import Any

import geopandas
import h5py
import numpy as np
import pandas as pd
import pytest
import rasterio
import rasterio.shutil
from conftest import Run, edit_raster
from safetensors.numpy import load_file

from geoembed.earth import record
from geoembed.errors import GeoembedError, ImageryError
from geoembed.inventory import facts
from geoembed.outputs import documents
from geoembed.outputs.records import Record
from geoembed.project import kinds
from geoembed.project.kinds import Kind
from geoembed.steps.info import info

WEST, SOUTH, EAST, NORTH = 499_200, 4_998_080, 500_800, 4_999_680
"""The area of the project in EPSG:32632."""


def told(*paths: object, verify: bool = False) -> Any:
    """What is told of one path, after a round through JSON."""
    (found,) = json.loads(json.dumps(info([str(path) for path in paths], verify=verify).report["found"]))
    return found


def rows(found: dict[str, Any], table: str, key: str) -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in found[table]}


def test_paths_are_told_apart(project: Path) -> None:
    chip = next(Path("chips/s1").rglob("*.tif"))
    expected: dict[str | Path, Kind | None] = {
        "chips": Kind.CHIPS, "chips/index.gpkg": Kind.CHIPS, "chips/chips.json": Kind.CHIPS, chip: Kind.CHIP,
        "model": Kind.MODEL, "model/weights.safetensors": Kind.MODEL, "model/config.json": Kind.MODEL,
        "embeddings.h5": Kind.EMBEDDINGS, "labels/water.gpkg": Kind.LABELS, "aoi.gpkg": Kind.VECTOR,
        "probe/water": Kind.PROBE, "probe/water/predictions.gpkg": Kind.PREDICTIONS,
        "probe/water/probe.skops": Kind.FITTED, "probe/water/metrics.json": Kind.PROBE, "s2.tif": Kind.RASTER,
        "geoembed.toml": Kind.SETTINGS, ".": Kind.FOLDER, "labels": Kind.FOLDER, "none": None,
    }  # fmt: skip
    assert {str(path): kinds.of(Path(path)) for path in expected} == {
        str(path): kind for path, kind in expected.items()
    }
    Path("notes.txt").write_text("mine")
    Path("config.json").write_text("{}")
    assert (kinds.of(Path("notes.txt")), kinds.of(Path())) == (None, Kind.FOLDER)


def test_chips_are_told_with_the_values_of_their_pixels(project: Path) -> None:
    found = told("chips", verify=True)
    index = geopandas.read_file("chips/index.gpkg")
    assert (found["kind"], found["intact"], found["chips"], found["pixels"]) == ("a chip folder", True, 100, "16 x 16")
    assert found["crs"] == ["EPSG:32632"] and found["made_by"].startswith("geoembed chip, version ")
    assert found["options"]["size"] == 16 and found["options"]["aoi"] == ["aoi.gpkg"]
    assert [*found["bounds"].values()] == pytest.approx(index.total_bounds, abs=1e-5)
    assert found["area_km2"] == pytest.approx(2.56, rel=2e-3), "100 cells of 160 m"
    splits = rows(found, "chips_by_split", "split")
    assert splits["test"]["chips"] == (index["split"] == "test").sum() and splits["all"]["coh"] == 100
    paths = list(Path("chips/s1").rglob("*.tif"))
    chosen = [paths_of(index)[i] for i in np.unique(np.linspace(0, 99, 30).astype(int))]
    vv = np.concatenate([read(path)[0].ravel() for path in chosen])
    values = rows(found, "values", "channel")["jja_vv"]
    assert len(paths) == 100 and values["modality"] == "s1"
    assert values["median"] == pytest.approx(np.median(vv), rel=1e-5)
    assert (values["minimum"], values["maximum"]) == pytest.approx((vv.min(), vv.max()), rel=1e-5)
    assert found["unusual"] == []


def paths_of(index: geopandas.GeoDataFrame) -> list[Path]:
    by_name = {path.stem: path for path in Path("chips/s1").rglob("*.tif")}
    return [by_name[chip_id] for chip_id in index["chip_id"]]


def read(path: Path) -> np.ndarray[Any, Any]:
    with rasterio.open(path) as file:
        return np.asarray(file.read())


def test_a_chip_file_is_told_of(project: Path) -> None:
    path = next(Path("chips/coh").rglob("*.tif"))
    found = told(path)
    assert (found["kind"], found["modality"], found["crs"]) == ("a chip file", "coh", "EPSG:32632")
    assert rows(found, "values", "channel")["jja_coh12"]["maximum"] == pytest.approx(read(path)[0].max() / 100)


def test_a_model_is_told_of(project: Path) -> None:
    found = told("model", verify=True)
    tensors = load_file("model/weights.safetensors")
    buffers = sum(tensor.size for name, tensor in tensors.items() if name.endswith("centre"))
    assert found["parameters"] == sum(tensor.size for tensor in tensors.values()) - buffers
    assert found["modalities"] == {"s2": 3, "s1": 2, "coh": 4} and found["options"]["preset"] == "tiny"
    config = json.loads(Path("model/config.json").read_text())
    assert rows(found, "bands", "channel")["jja_vv"]["mean"] == pytest.approx(config["statistics"]["mean"]["s1"][0])


def test_embeddings_are_told_of(project: Path) -> None:
    found = told("embeddings.h5", verify=True)
    with h5py.File("embeddings.h5") as file:
        fused, lonlat = file["embeddings/fused"][:], file["lonlat"][:]
    vectors = rows(found, "vectors", "name")
    assert (found["chips"], vectors["fused"]["dimensions"], vectors["s1"]["channels"]) == (100, 256, 2)
    assert vectors["fused"]["maximum"] == pytest.approx(float(fused.max()))
    assert found["bounds"]["west"] < lonlat[:, 0].min() and found["bounds"]["north"] > lonlat[:, 1].max()
    assert found["inputs"]["model"] == found["model"] == told("model")["sha256"][:8]


def test_vector_files_are_told_of(project: Path) -> None:
    labels = geopandas.read_file("labels/water.gpkg")["label"]
    found = told("labels/water.gpkg")
    assert {row["label"]: row["rows"] for row in found["labels"]} == {"0": (labels == 0).sum(), "1": labels.sum()}
    assert found["options"]["values"] == [80] and found["made_by"] == "geoembed label"
    area = told("aoi.gpkg")
    assert (area["kind"], area["crs"], area["geometry"]) == ("a vector file", "EPSG:32632", {"Polygon": 1})
    assert area["area_km2"] == pytest.approx((EAST - WEST) * (NORTH - SOUTH) / 1e6, rel=2e-3)
    corners = geopandas.GeoSeries.from_xy([WEST, EAST], [SOUTH, NORTH], crs="EPSG:32632").to_crs("EPSG:4326")
    assert [area["bounds"]["west"], area["bounds"]["south"]] == pytest.approx([corners[0].x, corners[0].y], abs=1e-4)
    Path("mine.csv").write_text("lon,lat,label\n9.0,45.1,water\n9.0,45.1,land\n9.1,45.1,land\n")
    assert {row["label"]: row["rows"] for row in told("mine.csv")["labels"]} == {"land": 2, "water": 1}


def test_probes_are_told_of(project: Path) -> None:
    found, metrics = told("probe/water"), json.loads(Path("probe/water/metrics.json").read_text())
    assert (found["rows"], found["task"], found["classifier"]) == (100, "water", "logistic")
    assert rows(found, "scores", "area")["all"]["f1"] == metrics["scores"]["all"]["f1"]
    assert told("probe/water/probe.skops")["classes"] == ["0", "1"]
    assert sum(row["rows"] for row in told("probe/water/predictions.gpkg")["predictions"]) == 100


def test_rasters_are_told_of(project: Path) -> None:
    found, pixels = told("s2.tif", verify=True), read(Path("s2.tif"))
    values = rows(found, "values", "channel")
    assert (found["modality"], found["crs"], found["pixel"]) == ("s2", "EPSG:32632", ["10 x 10"])
    assert values["jja_red"]["minimum"] == pytest.approx(pixels[0].min() * 1e-4)
    assert values["jja_blue"]["median"] == pytest.approx(np.median(pixels[2]) * 1e-4)
    with rasterio.open("s2.tif", "r+") as file:
        file.scales = (1.0, 1.0, 1.0)
    assert "reflectance is a share" in told("s2.tif")["unusual"][0] and "scale = 0.0001" in told("s2.tif")["unusual"][0]
    assert "modality" not in told("landcover.tif")["values"][0]
    Path("tiles").mkdir()
    for name in ("a", "b"):
        Path(f"tiles/{name}.tif").write_bytes(Path("s1.tif").read_bytes())
    for location in ("tiles", "tiles/*.tif"):
        mosaic = told(location)
        assert (mosaic["kind"], mosaic["rasters"], mosaic["modality"]) == ("a mosaic of rasters", 2, "s1")


def test_a_raster_whose_band_has_an_odd_name_is_told_of(project: Path) -> None:
    Path("odd.tif").write_bytes(Path("s2.tif").read_bytes())
    with rasterio.open("odd.tif", "r+") as file:
        file.descriptions = ("a\nb", "x", "y")
    assert [row["channel"] for row in told("odd.tif")["values"]] == ["band 1", "band 2", "band 3"]


def test_what_settings_trust_is_told_of(project: Path) -> None:
    Path("far").mkdir()
    rasterio.shutil.copy(str(Path("s2.tif").absolute()), "far/s2.vrt", driver="VRT")
    with pytest.raises(ImageryError, match=r"write outside = true beside source in geoembed.toml"):
        told("far/s2.vrt")
    Path("geoembed.toml").write_text('[modalities.s2]\nsource = "far/*.vrt"\noutside = true\n')
    assert told("far/s2.vrt")["modality"] == "s2"


@pytest.mark.parametrize(
    ("inputs", "options", "shown"),
    [
        ({"chips": 12345678901}, {}, {"chips": "12345678"}),
        ({"chips": None, "labels": []}, {}, {}),
        ({"chips": [["a.tif", "0123456789"]]}, {"far": {"x": 1}, "no": False}, {"chips": "0123456789"[:8]}),
        ({"labels": {"a": ["x" * 9, "y"], "b": [[]]}}, {}, {"labels": {"a": "2 files", "b": "0 files"}}),
    ],
)
def test_records_of_any_form_are_told(inputs: dict[str, Any], options: dict[str, Any], shown: Any) -> None:
    found = facts.of_record(Record("evaluate", inputs, options))
    assert (found["inputs"], found["options"]) == (shown, {})


def test_settings_are_told_of(project: Path) -> None:
    found = told("geoembed.toml")
    assert found["chip"] == {"size": 16} and [row["modality"] for row in found["sources"]] == ["s2", "s1", "coh"]


def test_a_project_says_what_is_done_and_what_comes_next(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = told()
    states = {row["step"]: row["state"] for row in found["steps"]}
    done = dict.fromkeys(("chip", "label", "pretrain", "embed", "probe"), "done")
    assert states == {**done, "evaluate": "not yet"}
    (command,) = re.findall("`geoembed (.+)`", found["next"])
    result = run(*shlex.split(command))
    assert (result.exit_code, result.stdout) == (0, "report/report.html\n"), result.stderr
    assert told().get("next") is None
    report = told("report")
    assert (report["kind"], report["results"]) == ("a report folder", len(pd.read_csv("report/results.csv")))
    monkeypatch.chdir(project.parent)
    assert {row["state"] for row in told("project")["steps"]} == {"done"}
    (project / "report/report.html").unlink()
    assert told("project")["next"].startswith("`cd project && geoembed evaluate")


def test_what_was_made_from_others_is_said(project: Path, run: Run) -> None:
    assert run("chip", "--aoi", "aoi.gpkg", "--seed", "1", "--overwrite").exit_code == 0
    states = {row["step"]: row["state"] for row in told()["steps"]}
    assert states["chip"] == "done" and states["embed"] == states["pretrain"] == states["label"] == "of other chips"


def test_a_simulated_earth_is_called_that(tmp_path: Path, project: Path) -> None:
    record.write(Path(), Record("sample", {}, {}), documents.of_files(Path(), ("s2.tif", "aoi.gpkg")))
    assert told()["imagery"] == "SIMULATED by geoembed sample"
    Path("s2.tif").unlink()
    with pytest.raises(GeoembedError, match=r"s2.tif: missing, as are 0 other files; run `geoembed sample \.`"):
        info()
    record.write(Path(), Record("sample", {}, {}), documents.of_files(Path(), ("landcover.tif", "aoi.gpkg")))
    info(verify=True)
    Path("aoi.gpkg").write_bytes(Path("aoi.gpkg").read_bytes() + b"x")
    info()
    with pytest.raises(GeoembedError, match=r"aoi.gpkg: was edited or damaged; run `geoembed sample \.`"):
        info(verify=True)


def flip(path: str, at: float, bits: int = 255) -> None:
    content = bytearray(Path(path).read_bytes())
    content[int(at * len(content))] ^= bits
    Path(path).write_bytes(content)


def flip_vector() -> None:
    with h5py.File("embeddings.h5", "r+") as file:
        file["embeddings/s1"][3] = -file["embeddings/s1"][3]


def damage_chip() -> None:
    Path(sorted(Path("chips/s2").rglob("*.tif"))[50]).write_bytes(b"II*\0")


def damage_table() -> None:
    with sqlite3.connect("labels/water.gpkg") as base:
        base.execute("PRAGMA writable_schema = 1")
        base.execute("UPDATE sqlite_master SET rootpage = 999 WHERE name = 'labels'")


def shorten(path: str) -> None:
    Path(path).write_bytes(Path(path).read_bytes()[:-100])


DAMAGES: dict[str, Any] = {
    "embeddings.h5": (flip_vector, "embeddings/s1 is not what its digest says", True),
    "embeddings.h5 cut": (lambda: shorten("embeddings.h5"), "was cut: it is shorter than it says", False),
    "chips": (damage_chip, "was changed or damaged", True),
    "chips lost": (lambda: next(Path("chips/s2").rglob("*.tif")).unlink(), "1 of 100 chip files of s2", False),
    "model": (lambda: shorten("model/weights.safetensors"), "is not what config.json says", False),
    "model config": (lambda: Path("model/config.json").write_text("{"), "cannot be read as JSON", False),
    "labels/water.gpkg": (damage_table, "labels/water.gpkg: ", False),
    "probe/water": (lambda: Path("probe/water/probe.skops").write_text(""), "probe.skops: missing or damaged", False),
    "probe/water lost": (lambda: Path("probe/water/probe.skops").unlink(), "probe.skops: missing", False),
    "probe/water metrics": (lambda: Path("probe/water/metrics.json").write_text("["), "cannot be read", False),
    "s2.tif": (lambda: shorten("s2.tif"), "s2.tif: ", True),
    "geoembed.toml": (lambda: Path("geoembed.toml").write_text("["), "cannot be read as TOML", False),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named_in_a_line_and_exit_status_1(project: Path, run: Run, name: str) -> None:
    damage, says, only_whole = DAMAGES[name]
    path = name.split()[0]
    assert run("info", path, "--verify").exit_code == 0
    damage()
    result = run("info", path, *(["--verify"] if only_whole else []))
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr and ";" in result.stderr and "Traceback" not in result.stderr
    if path != "geoembed.toml" and path != "s2.tif":
        whole = run("info", *(["--verify"] if only_whole else []))
        assert (whole.exit_code, says in whole.stderr) == (1, True), whole.stderr


def test_unknown_and_missing_paths(project: Path, run: Run) -> None:
    Path("notes.txt").write_text("mine")
    assert run("info", "notes.txt").stderr.startswith("geoembed: notes.txt: is nothing that geoembed reads or writes;")
    assert "no such file or folder; did you mean chips?" in run("info", "chip").stderr
    assert run("info", "none/*.tif").exit_code == 1


def test_unfinished_outputs_are_no_damage(project: Path) -> None:
    Path("chips/index.gpkg").unlink()
    Path("model/weights.safetensors").unlink()
    Path("probe/water/predictions.gpkg").unlink()
    assert told("probe/water")["kind"] == "an unfinished probe folder"
    assert told("chips")["next"] == "`geoembed chip --aoi aoi.gpkg` again"
    assert told("model")["next"].startswith("`geoembed pretrain --modalities s2,s1,coh --preset tiny")
    assert {row["state"] for row in told()["steps"] if row["step"] in ("chip", "pretrain", "probe")} == {"not finished"}


def test_it_is_shown_on_standard_output_within_80_columns(project: Path, run: Run) -> None:
    for path in (".", "chips", "model", "embeddings.h5", "labels/water.gpkg", "probe/water", "s2.tif", "aoi.gpkg"):
        result = run("info", path)
        assert result.exit_code == 0 and result.stdout.startswith((f"{path}: a ", f"{path}: an "))
        assert max(map(len, result.stdout.splitlines())) <= 80, result.stdout
        as_json = json.loads(run("info", path, "--json").stdout)
        assert as_json["found"][0]["kind"] in result.stdout and as_json["path"] == path
    assert re.search(r"^s1 +jja_vv +1 +-2", run("info", "chips").stdout, re.MULTILINE)


def test_what_changes_in_one_pixel_is_told(project: Path) -> None:
    def brighten(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        pixels[0, 5, 5] = 60_000
        return pixels

    edit_raster(Path("s2.tif"), brighten)
    assert rows(told("s2.tif"), "values", "channel")["jja_red"]["maximum"] == pytest.approx(6.0)
