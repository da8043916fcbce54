import json
import logging
import os
import sqlite3
import time
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from conftest import WriteArea, square

from geoembed.errors import AoiError
from geoembed.ground import aoi


def test_rows_with_one_name_are_one_area(write_area: WriteArea) -> None:
    path = write_area("a.gpkg", square(0, 0, 10), square(50, 0, 10), square(99, 0, 10), names=("x", "y", "x"))
    areas, made_from = aoi.read((path,))
    assert [area.name for area in areas] == ["x", "y"]
    assert areas[0].polygon.area == 200
    assert [name for name, _ in made_from] == ["a.gpkg"]


def test_without_names_the_file_names_the_area(write_area: WriteArea) -> None:
    areas, _ = aoi.read((write_area("valley.geojson", square(10, 50, 1), crs="EPSG:4326"),))
    assert [area.name for area in areas] == ["valley"]


def test_the_record_holds_rows_and_geometry_not_bytes(write_area: WriteArea, tmp_path: Path) -> None:
    path = write_area("a.gpkg", square(0, 0, 10))
    before = aoi.read((path,))[1]
    path.rename(tmp_path / "b.gpkg")
    geopandas.read_file(tmp_path / "b.gpkg").to_file(path)
    assert aoi.read((path,))[1] == before
    write_area("a.gpkg", square(0, 0, 11))
    assert aoi.read((path,))[1] != before


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("nothing.gpkg", None, "no such file"),
        ("text.gpkg", b"no vector", "cannot be read as a vector file"),
        ("points.geojson", b'{"type": "Point", "coordinates": [1, 2]}', "no polygon"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes | None, fault: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(AoiError, match=f"{name}: .*{fault}"):
        aoi.read((tmp_path / name,))


def test_points_on_the_edge_are_held() -> None:
    area = aoi.Area("a", square(10, 50, 1), "EPSG:4326")
    points = np.array([[10.0, 50.5], [10.5, 50.5], [11.5, 50.5]])
    assert aoi.holds(area, points).tolist() == [True, True, False]


def test_longitudes_may_run_past_180() -> None:
    area = aoi.Area("a", shapely.box(179.0, 10.0, 181.0, 11.0), "EPSG:4326")
    points = np.array([[179.5, 10.5], [-179.5, 10.5], [-178.5, 10.5]])
    assert aoi.holds(area, points).tolist() == [True, True, False]


def test_numbers_are_names_and_order_counts(write_area: WriteArea, tmp_path: Path) -> None:
    path = write_area("a.gpkg", square(0, 0, 10), square(50, 0, 10), names=(1, 2))
    areas, _ = aoi.read((path,))
    assert [area.name for area in areas] == ["1", "2"]
    (tmp_path / "below").mkdir()
    second = write_area("below/a.gpkg", square(0, 0, 20), names=("x",))
    assert aoi.read((path, second))[1] != aoi.read((second, path))[1]
    assert len(aoi.read((path, second))[1]) == 2


def test_no_area_is_called_all(write_area: WriteArea) -> None:
    with pytest.raises(AoiError, match=r"a.gpkg: an area cannot be called 'all'"):
        aoi.read((write_area("a.gpkg", square(0, 0, 10), names=("all",)),))


KML = """<?xml version="1.0" encoding="UTF-8"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document>
<Folder><name>pins</name><Placemark><Point><coordinates>14,40</coordinates></Point></Placemark></Folder>
<Folder><name>fields</name><Placemark><name>a</name><Polygon><outerBoundaryIs><LinearRing>
<coordinates>14,40 15,40 15,41 14,41 14,40</coordinates></LinearRing></outerBoundaryIs></Polygon></Placemark></Folder>
</Document></kml>"""
RING = [[14, 40], [15, 40], [15, 41], [14, 41], [14, 40]]


def geojson(geometry: dict[str, Any], name: str = "a") -> str:
    feature = {"type": "Feature", "properties": {"name": name}, "geometry": geometry}
    return json.dumps({"type": "FeatureCollection", "features": [feature]}, ensure_ascii=False)


def test_a_layer_of_polygons_is_found_among_others(tmp_path: Path) -> None:
    (tmp_path / "a.kml").write_text(KML)
    collection = [{"type": "Polygon", "coordinates": [RING]}, {"type": "Point", "coordinates": [14, 40]}]
    (tmp_path / "a.geojson").write_text(geojson({"type": "GeometryCollection", "geometries": collection}))
    square = geopandas.GeoDataFrame({"name": ["a"]}, geometry=[shapely.box(14, 40, 15, 41)], crs=4326)
    pyogrio.write_dataframe(pd.DataFrame({"note": ["x"]}), tmp_path / "a.gpkg", layer="notes")
    square.to_file(tmp_path / "a.gpkg", layer="fields", mode="a")
    with closing(sqlite3.connect(tmp_path / "a.gpkg")) as base, base:  # as QGIS keeps styles
        base.execute("CREATE TABLE layer_styles (id INTEGER PRIMARY KEY, styleQML TEXT)")
        base.execute("INSERT INTO gpkg_contents (table_name, data_type) VALUES ('layer_styles', 'attributes')")
    for name in ("a.kml", "a.geojson", "a.gpkg"):
        ((area,), _) = aoi.read((tmp_path / name,))
        assert (area.name, area.polygon.bounds) == ("a", (14, 40, 15, 41)), name


def test_of_several_layers_one_has_to_be_chosen(tmp_path: Path) -> None:
    for layer, east in (("north", 15), ("south", 16)):
        square = geopandas.GeoDataFrame(geometry=[shapely.box(14, 40, east, 41)], crs=4326)
        square.to_file(tmp_path / "a.gpkg", layer=layer, mode="a" if layer == "south" else "w")
    with pytest.raises(AoiError, match="has 2 polygon layers, north, south; choose one, as in --layer north"):
        aoi.read((tmp_path / "a.gpkg",))
    assert aoi.read((tmp_path / "a.gpkg",), "south")[0][0].polygon.bounds[2] == 16
    with pytest.raises(AoiError, match=r"--layer soth: .* has no polygon layer of this name; did you mean south\?"):
        aoi.read((tmp_path / "a.gpkg",), "soth")


@pytest.mark.parametrize("names", [[8212000, 8212001], [8212000.0, 8212001.0], [2**53 - 1, 2**53 - 2]])
def test_names_that_are_numbers_stay_whole(tmp_path: Path, names: list[float]) -> None:
    squares = [shapely.box(14 + i, 40, 14.5 + i, 41) for i in range(2)]
    geopandas.GeoDataFrame({"Name": names}, geometry=squares, crs=4326).to_file(tmp_path / "a.gpkg")
    assert [area.name for area in aoi.read((tmp_path / "a.gpkg",))[0]] == [str(int(name)) for name in names]


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "fgb"])
def test_large_numbers_beside_null_stay_whole(tmp_path: Path, suffix: str) -> None:
    names = pd.array([9007199254740993, 9007199254740992, None], dtype="Int64")  # floats cannot tell these apart
    squares = [shapely.box(14 + i, 40, 14.5 + i, 41) for i in range(3)]
    geopandas.GeoDataFrame({"name": names}, geometry=squares, crs=4326).to_file(tmp_path / f"a.{suffix}")
    names_read = [area.name for area in aoi.read((tmp_path / f"a.{suffix}",))[0]]
    assert sorted(names_read) == ["9007199254740992", "9007199254740993", "a"]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252"])
def test_texts_in_other_encodings_are_read_and_told(
    tmp_path: Path, encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.geojson"
    path.write_bytes(geojson({"type": "Polygon", "coordinates": [RING]}, "Málaga").encode(encoding))
    with caplog.at_level(logging.WARNING):
        assert aoi.read((path,))[0][0].name == "Málaga"
    assert ("not UTF-8" in caplog.text) == (encoding != "utf-8")


LOCAL = 'LOCAL_CS["site",LOCAL_DATUM["site",0],UNIT["metre",1],AXIS["X",EAST],AXIS["Y",NORTH]]'


@pytest.mark.parametrize(
    ("crs", "bounds", "words"),
    [
        (LOCAL, (0, 0, 9, 9), "its CRS, site, leads to no place on the Earth"),
        (
            "EPSG:4326",
            (414_639, 4_428_145, 423_287, 4_439_335),
            "coordinates from 414639 .* cannot be degrees as its CRS .WGS 84. says",
        ),
        ("EPSG:4326", (14, 108, 15, 109), "coordinates from 14 108 to 15 109, which cannot be degrees"),
        ("EPSG:4807", (5, 100, 6, 101), "coordinates from 5 100 to 6 101"),  # the pole is at 100 grads
        ("ESRI:104905", (14, 40, 15, 41), "CRS, GCS_Mars_2000, leads to no place on the Earth"),
        ("EPSG:4978", (14, 40, 15, 41), "leads to no place on the Earth"),
        ("EPSG:4326", (4_000, 40, 4_001, 41), "cannot be degrees"),
    ],
)
def test_a_crs_that_leads_nowhere_is_told(tmp_path: Path, crs: str, bounds: Any, words: str) -> None:
    square = geopandas.GeoDataFrame(geometry=[shapely.box(*bounds)], crs=crs)
    square.to_file(tmp_path / "a.gpkg")
    with pytest.raises(AoiError, match=words):
        aoi.read((tmp_path / "a.gpkg",))


def test_a_geopackage_of_undefined_crs_is_told(tmp_path: Path) -> None:
    geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, 9, 9)], crs=4326).to_file(tmp_path / "a.gpkg")
    with closing(sqlite3.connect(tmp_path / "a.gpkg")) as base, base:
        for table in ("gpkg_geometry_columns", "gpkg_contents"):
            base.execute(f"UPDATE {table} SET srs_id = -1")
    with pytest.raises(AoiError, match="Undefined Cartesian SRS, leads to no place on the Earth"):
        aoi.read((tmp_path / "a.gpkg",))


def test_a_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"na\xefve.gpkg")
    path.write_bytes(b"")
    with pytest.raises(AoiError, match=r"na\\xefve.gpkg has a name that is not UTF-8"):
        aoi.read((path,))


def test_units_and_rows_without_geometry_raise_no_warnings_of_python(tmp_path: Path) -> None:
    square = geopandas.GeoDataFrame(
        {"name": ["a", "b"]}, geometry=[shapely.box(400, 4400, 410, 4410), None], crs="+proj=utm +zone=33 +units=km"
    )
    square.to_file(tmp_path / "a.gpkg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (area,) = aoi.read((tmp_path / "a.gpkg",))[0]
    assert area.name == "a"
    assert aoi.holds(area, np.array([[13.93, 39.79], [14.9, 39.8]])).tolist() == [True, False]


def test_names_lose_outer_blanks_and_blank_ones_are_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["north ", "north", "", "  ", "NULL", None]
    squares = [shapely.box(14 + i, 40, 14.5 + i, 41) for i in range(6)]
    table = geopandas.GeoDataFrame({"name": names}, geometry=squares, crs=4326)
    for name in ("a.gpkg", "a.geojson", "a.shp", "a.fgb"):
        table.to_file(tmp_path / name)
        with caplog.at_level(logging.WARNING):
            areas = aoi.read((tmp_path / name,))[0]
        sizes = {area.name: area.polygon.area for area in areas}
        assert sizes == pytest.approx({"north": 1.0, "a": 2.0})
    assert "a.gpkg: 1 names lost outer blanks" in caplog.text


def test_polygons_in_collections_of_collections(tmp_path: Path) -> None:
    inner = shapely.geometrycollections([shapely.box(0, 0, 1, 1), shapely.multipolygons([shapely.box(5, 0, 7, 1)])])
    geometry = shapely.geometrycollections([inner, shapely.Point(9, 9), shapely.box(0.5, 0, 1.5, 1)])
    geopandas.GeoDataFrame({"name": ["a"]}, geometry=[geometry], crs=4326).to_file(tmp_path / "a.gpkg")
    ((area,), _) = aoi.read((tmp_path / "a.gpkg",))
    assert area.polygon.area == pytest.approx(1.5 + 2)


def test_heights_do_not_matter(tmp_path: Path) -> None:
    square = shapely.box(414_000, 4_428_000, 424_000, 4_440_000)
    geopandas.GeoDataFrame(geometry=[square], crs="EPSG:32633+5773").to_file(tmp_path / "a.gpkg")
    ((area,), _) = aoi.read((tmp_path / "a.gpkg",))
    middle = geopandas.GeoSeries([square.centroid], crs=32633).to_crs(4326)[0]
    assert aoi.holds(area, np.array([[middle.x, middle.y], [middle.x + 1, middle.y]])).tolist() == [True, False]


@pytest.mark.parametrize(("side", "named"), [(0.01, False), (0.01, True), (30.0, False), (0.0, False)])
def test_many_polygons_of_one_area_or_of_many_are_read_in_a_second(tmp_path: Path, side: float, named: bool) -> None:
    """Also where all overlap, or are the same (a side of 0 stands for that)."""
    x, y = np.random.default_rng(0).uniform(0.0, 50.0 if side else 0.0, (2, 20_000))
    squares = shapely.box(x, y, x + (side or 1.0), y + (side or 1.0))
    columns = {"name": [f"a{number}" for number in range(20_000)]} if named else {}
    geopandas.GeoDataFrame(columns, geometry=squares, crs=4326).to_file(tmp_path / "a.gpkg")
    start = time.process_time()
    areas, _ = aoi.read((tmp_path / "a.gpkg",))
    assert len(areas) == (20_000 if named else 1)
    assert time.process_time() - start < 5.0
    if side != 0.01:  # scattered ones take GEOS long in this way
        assert shapely.area(areas[0].polygon) == pytest.approx(shapely.area(shapely.union_all(squares)), rel=1e-9)
