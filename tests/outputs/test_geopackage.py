from pathlib import Path

import geopandas
import geopandas.testing
import pyogrio
import shapely

from geoembed.outputs import geopackage
from geoembed.outputs.records import Record

RECORD = Record("label", {"chips": "ab"}, {"above": None}, {"a.tif 1 2": "cd"})


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
