from pathlib import Path

import geopandas
import pyogrio
import shapely

from geoembed.outputs import geopackage


def test_a_layer_carries_what_it_was_made_from(tmp_path: Path) -> None:
    one = shapely.box(0, 0, 1, 1)
    table = geopandas.GeoDataFrame({"a": [1, 2]}, geometry=[one, shapely.multipolygons([one])], crs="EPSG:4326")
    geopackage.write(tmp_path / "x.gpkg", "things", table, {"step": "test", "n": 3})
    assert geopackage.made_from(tmp_path / "x.gpkg", "things") == {"step": "test", "n": 3}
    assert geopackage.made_from(tmp_path / "x.gpkg", "other") is None
    info = pyogrio.read_info(tmp_path / "x.gpkg")
    assert info["geometry_type"] == "MultiPolygon" and info["crs"] == "EPSG:4326"
    assert list(tmp_path.iterdir()) == [tmp_path / "x.gpkg"]


def test_what_others_wrote_has_no_record(tmp_path: Path) -> None:
    geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(0, 0)], crs="EPSG:4326").to_file(tmp_path / "y.gpkg")
    (tmp_path / "z.gpkg").write_text("no")
    assert geopackage.made_from(tmp_path / "y.gpkg", "y") is None
    assert geopackage.made_from(tmp_path / "z.gpkg", "z") is None
