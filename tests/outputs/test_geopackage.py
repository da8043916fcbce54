import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import geopandas
import geopandas.testing
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely

from geoembed.errors import LabelError, StaleError
from geoembed.outputs import geopackage
from geoembed.outputs.records import Record

RECORD = Record("label", {"chips": "ab"}, {"above": None}, {"a.tif 1 2": "cd"})
TABLE = geopandas.GeoDataFrame({"label": [1, 2]}, geometry=shapely.points([[0, 0], [1, 1]]), crs="EPSG:4326")


def test_a_layer_carries_what_it_was_record_of(tmp_path: Path) -> None:
    square = shapely.box(0, 0, 1, 1)
    table = geopandas.GeoDataFrame({"a": [1, 2]}, geometry=[square, shapely.multipolygons([square])], crs="EPSG:4326")
    geopackage.write(tmp_path / "x.gpkg", "things", table, RECORD)
    assert geopackage.record_of(tmp_path / "x.gpkg", "things") == RECORD
    assert geopackage.record_of(tmp_path / "x.gpkg", "other") is None
    info = pyogrio.read_info(tmp_path / "x.gpkg")
    assert info["geometry_type"] == "MultiPolygon" and info["crs"] == "EPSG:4326"
    assert list(tmp_path.iterdir()) == [tmp_path / "x.gpkg"]


def test_a_record_is_renewed_and_the_rows_stay(tmp_path: Path) -> None:
    table = geopandas.GeoDataFrame({"a": [1, 2]}, geometry=shapely.points([[0, 0], [1, 1]]), crs="EPSG:4326")
    path = tmp_path / "x.gpkg"
    geopackage.write(path, "things", table, RECORD)
    geopackage.renew(path, "things", Record("label", {}, {}, {"new": "stamp"}))
    renewed = geopackage.record_of(path, "things")
    assert renewed is not None and renewed.stamps == {"new": "stamp"}
    geopandas.testing.assert_geodataframe_equal(geopandas.read_file(path, layer="things"), table, check_dtype=False)


def test_what_others_wrote_has_no_record(tmp_path: Path) -> None:
    geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(0, 0)], crs="EPSG:4326").to_file(tmp_path / "y.gpkg")
    (tmp_path / "z.gpkg").write_text("no")
    assert geopackage.record_of(tmp_path / "y.gpkg", "y") is None
    assert geopackage.record_of(tmp_path / "z.gpkg", "z") is None


def test_renewing_a_record_leaves_other_layers(tmp_path: Path) -> None:
    table = geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(0, 0)], crs="EPSG:4326")
    path = tmp_path / "x.gpkg"
    geopackage.write(path, "things", table, RECORD)
    table.to_file(path, layer="notes")
    geopackage.renew(path, "things", Record("label", {}, {"a": "<&>"}, {}))
    assert sorted(pyogrio.list_layers(path)[:, 0]) == ["notes", "things"]
    record = geopackage.record_of(path, "things")
    assert record is not None and record.options == {"a": "<&>"}


def in_wal_mode(path: Path, *, commit: bool) -> sqlite3.Connection:
    """Open a GeoPackage as QGIS does, and edit a row, which stays in the log beside the file."""
    base = sqlite3.connect(path, isolation_level=None)
    base.execute("PRAGMA journal_mode = WAL")
    base.execute("PRAGMA wal_autocheckpoint = 0")
    base.execute("BEGIN")
    base.execute("UPDATE gpkg_contents SET description = 'edited'")
    if commit:
        base.execute("COMMIT")
    return base


@pytest.mark.parametrize("commit", [True, False])
def test_a_file_that_is_open_elsewhere_is_not_replaced(tmp_path: Path, commit: bool) -> None:
    path = tmp_path / "a.gpkg"
    geopackage.write(path, "labels", TABLE, RECORD)
    with closing(in_wal_mode(path, commit=commit)):
        before = path.read_bytes()
        with pytest.raises(StaleError, match="is open in another program"):
            geopackage.write(path, "labels", TABLE, RECORD)
        assert path.read_bytes() == before
    geopackage.write(path, "labels", TABLE, RECORD)


def test_a_log_that_a_crash_left_goes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    geopackage.write(path, "labels", TABLE, RECORD)
    with closing(in_wal_mode(path, commit=True)):
        left = {end: path.with_name(f"a.gpkg-{end}").read_bytes() for end in ("wal", "shm")}
    for end, content in left.items():  # as a killed program leaves them
        path.with_name(f"a.gpkg-{end}").write_bytes(content)
    geopackage.write(path, "labels", TABLE.assign(label=7), RECORD)
    assert [file.name for file in tmp_path.iterdir()] == ["a.gpkg"]
    with closing(sqlite3.connect(path)) as base:
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert set(base.execute("SELECT label FROM labels")) == {(7,)}


def test_renewing_skips_a_file_that_is_open_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    geopackage.write(path, "labels", TABLE, RECORD)
    with closing(in_wal_mode(path, commit=False)):
        before = path.read_bytes()
        geopackage.renew(path, "labels", Record("label", {}, {}, {"new": "stamp"}))
        assert path.read_bytes() == before
    assert geopackage.record_of(path, "labels") == RECORD


def test_a_link_s_target_is_what_is_open_and_deleted(tmp_path: Path) -> None:
    path, link = tmp_path / "a.gpkg", tmp_path / "link.gpkg"
    geopackage.write(path, "labels", TABLE, RECORD)
    link.symlink_to(path)
    with closing(in_wal_mode(path, commit=True)), pytest.raises(StaleError, match="is open in another program"):
        geopackage.remove(link)
    geopackage.remove(link)
    assert link.is_symlink() and not path.exists()


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys, geopandas, shapely\n"
        "from pathlib import Path\n"
        "from geoembed.outputs import geopackage\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"  # files beyond the limit cannot be written, as on a full disk
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "table = geopandas.GeoDataFrame({'a': range(999)}, geometry=[shapely.box(0, 0, 1, 1)] * 999, crs=4326)\n"
        "geopackage.write(Path(sys.argv[1]), 'labels', table)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.gpkg")], capture_output=True, text=True)
    assert done.returncode == 1 and "OSError: [Errno 5] cannot be written" in done.stderr
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, sqlite3, sys
base = sqlite3.connect(sys.argv[1], isolation_level=None)
base.execute("PRAGMA cache_size = 1")
base.execute("BEGIN")
base.execute("UPDATE gpkg_contents SET description = 'half'")
base.execute("CREATE TABLE filler AS SELECT randomblob(9000) AS x FROM gpkg_extensions, gpkg_spatial_ref_sys")
os._exit(9)
"""


def test_what_a_killed_writer_left_half_done_is_rolled_back(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    geopackage.write(path, "labels", TABLE, RECORD)
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert path.with_name("a.gpkg-journal").exists()
    assert geopackage.record_of(path, "labels") == RECORD
    with closing(sqlite3.connect(path)) as base:
        assert base.execute("SELECT description FROM gpkg_contents").fetchone() != ("half",)


MAP = geopandas.GeoDataFrame(
    {
        "chip_id": ["a", "b", "c"], "label": ["x", None, ""], "share": [0.1 + 0.2, float("nan"), 1e-300],
        "number": pd.array([1, None, 2**40], "Int64"), "flag": [1, 0, 1],
    },
    geometry=[shapely.box(0, 0, 1, 1), None, shapely.multipolygons([shapely.box(5, 5, 6, 6), shapely.box(8, 8, 9, 9)])],
    crs="EPSG:32632",
)  # fmt: skip
"""Rows that change on their way through a file: NULL, whole numbers beside NULL, and polygons that become several."""


@pytest.mark.parametrize("table", [TABLE, MAP], ids=["plain", "all sorts"])
def test_what_is_read_back_is_what_was_digested(tmp_path: Path, table: geopandas.GeoDataFrame) -> None:
    path = tmp_path / "a.gpkg"
    geopackage.write(path, "labels", table, RECORD)
    assert len(geopackage.read(path, "labels", LabelError)) == len(table)
    geopackage.renew(path, "labels", Record("label", {}, {}, {"new": "stamp"}))
    geopackage.read(path, "labels", LabelError)


def test_what_a_viewer_adds_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    geopackage.write(path, "labels", MAP, RECORD)
    before = geopackage.read(path, "labels", LabelError)
    with closing(sqlite3.connect(path)) as base, base:  # as QGIS does when it opens a file, and saves a style in it
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("CREATE TABLE layer_styles (id INTEGER PRIMARY KEY, f_table_name TEXT, styleQML TEXT)")
        base.execute("INSERT INTO layer_styles VALUES (1, 'labels', '<qgis/>')")
        base.execute("UPDATE gpkg_contents SET last_change = '2030-01-01T00:00:00Z', description = 'mine'")
    assert geopackage.read(path, "labels", LabelError).equals(before)


EDITS = (
    "UPDATE labels SET label = 'y' WHERE chip_id = 'a'",
    "UPDATE labels SET label = NULL WHERE chip_id = 'c'",
    "UPDATE labels SET share = 0.3 WHERE chip_id = 'a'",
    "DELETE FROM labels WHERE chip_id = 'b'",
    "INSERT INTO labels (chip_id) VALUES ('d'); UPDATE gpkg_ogr_contents SET feature_count = 4",
    "UPDATE labels SET geom = (SELECT geom FROM labels WHERE chip_id = 'c') WHERE chip_id = 'a'",
    "UPDATE gpkg_geometry_columns SET srs_id = 4326",
)


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_row_is_told_with_two_ways_out(tmp_path: Path, edit: str) -> None:
    path, mine = tmp_path / "a.gpkg", tmp_path / "mine.gpkg"
    geopackage.write(path, "labels", MAP, RECORD)
    with closing(sqlite3.connect(path)) as base, base:
        for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            base.execute(f'DROP TRIGGER "{name}"')  # they call functions that only GDAL and QGIS have
        base.executescript(edit)
    with pytest.raises(
        LabelError, match=r"edited or damaged since geoembed label wrote them; .*--overwrite.*-nomd mine"
    ):
        geopackage.read(path, "labels", LabelError)
    pyogrio.write_dataframe(pyogrio.read_dataframe(path), mine, layer="labels")  # ogr2ogr -nomd: all but metadata
    geopackage.require_rows(mine, "labels", pyogrio.read_dataframe(mine), LabelError)
    assert geopackage.record_of(mine, "labels") is None and not geopackage.is_ours(mine)


def test_no_damage_is_read_as_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    geopackage.write(path, "labels", MAP, RECORD)
    whole, rows, rng = path.read_bytes(), geopackage.read(path, "labels", LabelError), np.random.default_rng(0)
    for i in range(400):
        at, length = int(rng.integers(len(whole))), int(rng.choice([1, 1, 8, 512, 4096]))
        there = whole[at : at + length]
        new = {0: bytes([there[0] ^ 1 << i % 8]) + there[1:], 1: bytes(len(there)), 2: b""}[i % 3]
        path.write_bytes(whole[:at] + new + whole[at + length :])
        record, faults = geopackage.record_of(path, "labels"), geopackage.faults(path, whole=True)
        try:
            found = geopackage.read(path, "labels", LabelError)
        except LabelError as error:
            assert "\n" not in str(error)
        else:
            geopandas.testing.assert_geodataframe_equal(found, rows)
            assert record == RECORD or faults
        geopackage.renew(path, "labels", RECORD)
