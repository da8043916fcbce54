"""Suggestions: the file to fill in, what comes back from it, and what stays as it is."""

from __future__ import annotations

import base64
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import geopandas
import pytest
from conftest import Run

from geoembed.chips import folder as chip_folder


def fill(path: Path, column: str, by_chip: dict[str, object]) -> None:
    """Edit a sheet in place, as QGIS does."""
    with closing(sqlite3.connect(path)) as base, base:
        triggers = base.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'to_label'")
        for (name,) in triggers.fetchall():  # which ask for functions that only GDAL and QGIS have
            base.execute(f'DROP TRIGGER "{name}"')
        for chip_id, value in by_chip.items():
            base.execute(f'UPDATE to_label SET "{column}" = ? WHERE chip_id = ?', (value, chip_id))


def truth(here: Path) -> dict[str, str]:
    table = geopandas.read_file(here / "labels" / "water.gpkg")
    return {chip_id: "water" if label else "other" for chip_id, label in zip(table.chip_id, table.label, strict=True)}


def test_a_sheet_goes_to_qgis_and_back(here: Path, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "to-label.gpkg"
    words = ("suggest", "--n", 12, "--chips", "chips", "--names", "water,other", "-o", output)
    result = run(*words)
    assert (result.exit_code, result.stdout) == (0, f"{output}\n"), result.stderr
    sheet = geopandas.read_file(output)
    assert sheet["rank"].tolist() == list(range(1, 13))
    assert sheet.label.isna().all()
    assert (sheet.split != "test").all()
    assert sheet.chip_id.is_unique
    index = chip_folder.read(here / "chips").index.set_index("chip_id")
    assert sheet.geometry.geom_equals_exact(index.loc[sheet.chip_id].geometry, 1e-9, align=False).all()
    for picture in sheet.picture:
        assert base64.b64decode(picture.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    style = ElementTree.parse(output.with_suffix(".qml")).getroot()
    assert [one.get("value") for one in style.iter("category")] == ["", "water", "other"]
    (field,) = style.iter("field")
    assert field.get("name") == "label"
    assert [one.get("value") for one in field.iter("Option") if one.get("name") != "map" and one.get("value")] == [
        "water",
        "other",
    ]
    assert 'img width="224"' in (style.findtext("mapTip") or "")

    assert run("probe", "--labels", output, "-o", tmp_path / "map").exit_code == 1, "nothing is filled in"
    known = truth(here)
    fill(output, "label", {chip_id: known[chip_id] for chip_id in sheet.chip_id[:11]})
    mapped = run("probe", "--labels", output, "-o", tmp_path / "map")
    assert mapped.exit_code == 0, mapped.stderr
    assert geopandas.read_file(tmp_path / "map" / "predictions.gpkg").drawn.sum() == 11
    again = run(*words, "--json")
    assert again.exit_code == 0
    assert '"labelled": 11' in again.stdout
    for more in (("--overwrite",), ("--update",), ("--overwrite", "--n", 3)):
        stays = run(*words, *more)
        assert stays.exit_code == 1
        assert "holds 11 labels of yours; keep them, and choose another -o" in stays.stderr
    output.with_suffix(".qml").unlink()
    assert run(*words).exit_code == 0, "a style that is gone is no reason to begin anew"
    assert geopandas.read_file(output).label.notna().sum() == 11
    whole = output.read_bytes()
    output.write_bytes(whole[: len(whole) // 2] + bytes(4096) + whole[len(whole) // 2 + 4096 :])
    damaged = output.read_bytes()
    told = run(*words)
    assert (told.exit_code, len(told.stderr.strip().splitlines())) == (1, 1)
    assert output.read_bytes() == damaged, "there may be labels in it"
    output.write_bytes(whole)
    second = run("suggest", "--labels", output, "--n", 6, "-o", tmp_path / "second.gpkg")
    assert second.exit_code == 0, second.stderr
    further = geopandas.read_file(tmp_path / "second.gpkg")
    assert not set(further.chip_id) & set(sheet.chip_id[:11])
    assert set(further.prediction) <= {"water", "other"}
    assert further.margin.between(0, 1).all()
    assert further.label.isna().all()


def test_a_sheet_nobody_filled_in_is_made_again(here: Path, run: Run, tmp_path: Path) -> None:
    words = ("suggest", "-o", tmp_path / "a.gpkg", "--features", "s2")
    assert run(*words, "--n", 3).exit_code == 0
    first = (tmp_path / "a.gpkg").read_bytes()
    assert run(*words, "--n", 3).exit_code == 0
    assert (tmp_path / "a.gpkg").read_bytes() == first
    assert "n was 3, now 4" in run(*words, "--n", 4).stderr
    assert run(*words, "--n", 4, "--overwrite").exit_code == 0
    assert len(geopandas.read_file(tmp_path / "a.gpkg")) == 4


def test_numbers_are_covered(here: Path, run: Run, tmp_path: Path) -> None:
    table = geopandas.read_file(here / "labels" / "water.gpkg").head(8)
    table[["chip_id", "fraction", "geometry"]].rename(columns={"fraction": "value"}).to_file(tmp_path / "n.gpkg")
    done = run("suggest", "--labels", tmp_path / "n.gpkg", "--n", 5, "-o", tmp_path / "b.gpkg", "--test")
    assert done.exit_code == 0, done.stderr
    sheet = geopandas.read_file(tmp_path / "b.gpkg")
    assert sheet["value"].isna().all()
    assert not set(sheet.chip_id) & set(table.chip_id)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--n 0", "--n"),
        ("--area nowhere", r"--area nowhere: not in embeddings.h5"),
        ("--labels labels/water.gpkg", "all chips to choose from are labelled; take another --area, or pass --test"),
        ("--labels labels/water.gpkg --names a,b", "--names: the classes are those of --labels"),
        ("--features fussed", "did you mean fused"),
        ("--names a,\x1b[2Jb", "this name holds control characters"),
        ("-o sheet.tif", "give it a name that ends in .gpkg"),
        ("-o labels/water.gpkg --overwrite", "was made by geoembed label; choose another -o"),
        ("-o aoi.gpkg --overwrite", "was not made by geoembed"),
        ("--chips nowhere", "nowhere"),
    ],
)
def test_what_cannot_be_is_a_line(here: Path, run: Run, tmp_path: Path, words: str, told: str) -> None:
    output = () if "-o" in words else ("-o", tmp_path / "c.gpkg")
    result = run("suggest", *words.split(), *output)
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.search(told, result.stderr), result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
