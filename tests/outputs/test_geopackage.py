import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import geopandas
import geopandas.testing
import pyogrio
import pytest
import shapely

from geoembed.errors import StaleError
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
