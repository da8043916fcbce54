"""Labels that look wrong, and rounds of labels that are joined, by the command line."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from cli.test_suggest import fill
from conftest import Run


@pytest.fixture
def flipped(here: Path, tmp_path: Path) -> tuple[Path, set[str], pd.Series]:
    """Labels of water, of which some that are clearly one or the other are turned round."""
    table = geopandas.read_file(here / "labels" / "water.gpkg")
    clear = table[(table.fraction < 0.1) | (table.fraction > 0.9)]
    wrong = clear.sample(max(3, len(table) // 20), random_state=0).index
    truth = table.set_index("chip_id").label.map({0: "land", 1: "water"})
    table["label"] = table.label.map({0: "land", 1: "water"})
    table.loc[wrong, "label"] = table.loc[wrong, "label"].map({"land": "water", "water": "land"})
    table[["chip_id", "label", "geometry"]].to_file(tmp_path / "mine.gpkg")
    return tmp_path / "mine.gpkg", set(table.chip_id[wrong]), truth


def test_turned_labels_are_found_corrected_and_joined(
    flipped: tuple[Path, set[str], pd.Series], here: Path, run: Run, tmp_path: Path
) -> None:
    mine, wrong, truth = flipped
    sheet = tmp_path / "suspicious.gpkg"
    words = ("label", "check", "--labels", mine, "--chips", "chips", "-o", sheet)
    done = run(*words)
    assert (done.exit_code, done.stdout) == (0, f"{sheet}\n"), done.stderr
    assert f"geoembed label merge {mine} {sheet}" in done.stderr
    rows = re.findall(r"(with them|without) +([\d.]+)", done.stderr)
    assert float(rows[1][1]) >= float(rows[0][1]) - 0.02, "labels that are wrong do not help"
    table = geopandas.read_file(sheet)
    found = set(table.chip_id)
    assert len(found & wrong) / len(wrong) > 0.7
    assert len(found & wrong) / len(found) > 0.3
    assert (table.label == table.given).all()
    assert (table.seems != table.given).all()
    assert (table.p_seems - table.p_given).is_monotonic_decreasing
    assert run(*words).exit_code == 0, "kept"

    fill(sheet, "label", {chip: truth[chip] for chip in found})
    stays = run(*words, "--overwrite")
    assert stays.exit_code == 1
    assert f"holds {len(found & wrong)} labels of yours" in stays.stderr
    joined = run("label", "merge", mine, sheet, "-o", tmp_path / "all.gpkg")
    assert (joined.exit_code, joined.stdout) == (0, f"{tmp_path / 'all.gpkg'}\n"), joined.stderr
    assert f"{len(found & wrong)} places are labelled differently, and the last file's counts" in joined.stderr
    merged = geopandas.read_file(tmp_path / "all.gpkg").set_index("chip_id")
    assert len(merged) == len(truth)
    assert (merged.label != truth[merged.index]).sum() == len(wrong - found)
    assert set(merged.source) == {"mine", "suspicious"}
    mapped = run("probe", "--labels", tmp_path / "all.gpkg", "-o", tmp_path / "map")
    assert mapped.exit_code == 0, mapped.stderr


def points(path: Path, labels: list[object], column: str = "label", shift: float = 0.0) -> Path:
    shapes = shapely.points(np.arange(len(labels)) + shift, 45.0)
    geopandas.GeoDataFrame({column: labels}, geometry=shapes, crs="EPSG:4326").to_file(path)
    return path


@pytest.mark.parametrize(
    ("prefer", "expected"), [("last", ["a", "c", "c", "b"]), ("first", ["a", "b", "c", "b"]), ("none", ["a", "c", "b"])]
)
def test_whose_label_counts_is_chosen(run: Run, tmp_path: Path, prefer: str, expected: list[str]) -> None:
    first = points(tmp_path / "one.gpkg", ["a", "b", None])
    second = points(tmp_path / "two.gpkg", ["a", "c", "c", "b"])
    done = run("label-merge", first, second, "--prefer", prefer, "-o", tmp_path / "out.gpkg", "--json")
    assert done.exit_code == 0, done.stderr
    assert "1 places are labelled differently" in done.stderr
    assert '"empty": 1' in done.stdout and '"contradicting": 1' in done.stdout
    table = geopandas.read_file(tmp_path / "out.gpkg")
    assert table.iloc[np.argsort(table.geometry.x)].label.tolist() == expected


def test_an_edit_of_what_was_joined_is_not_lost(run: Run, tmp_path: Path) -> None:
    first, second = points(tmp_path / "one.gpkg", [1, 0]), points(tmp_path / "two.gpkg", [1, 1, 0], shift=5)
    words = ("label", "merge", first, second, "-o", tmp_path / "out.gpkg")
    assert run(*words).exit_code == 0
    assert geopandas.read_file(tmp_path / "out.gpkg").label.tolist() == [1, 0, 1, 1, 0]
    assert run(*words).exit_code == 0
    with closing(sqlite3.connect(tmp_path / "out.gpkg")) as base, base:
        for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            base.execute(f'DROP TRIGGER "{name}"')
        base.execute("UPDATE labels SET label = 7 WHERE fid = 1")
    told = run(*words)
    assert told.exit_code == 1
    assert "its rows were edited or damaged" in told.stderr


def test_files_that_cannot_be_joined_are_a_line(run: Run, tmp_path: Path) -> None:
    words, codes = points(tmp_path / "w.gpkg", ["a", "b"]), points(tmp_path / "c.gpkg", [1, 0])
    numbers = points(tmp_path / "n.gpkg", [0.5, 0.25], "value")
    pd.DataFrame({"chip_id": ["x"], "label": ["a"]}).to_csv(tmp_path / "bare.csv", index=False)
    for files, fault in {
        (words,): "w.gpkg: is the only file; name two or more",
        (words, codes): "w.gpkg names its classes and .*c.gpkg numbers them; write names in both",
        (words, numbers): "w.gpkg holds classes and .*n.gpkg holds numbers",
        (words, tmp_path / "bare.csv"): "bare.csv: its rows have no geometry",
        (words, tmp_path / "nothing.gpkg"): "nothing.gpkg: no such label file",
    }.items():
        told = run("label", "merge", *files, "-o", tmp_path / "out.gpkg")
        assert (told.exit_code, told.stdout) == (1, "")
        assert re.search(fault, told.stderr), told.stderr
        assert len(told.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out.gpkg").exists()
