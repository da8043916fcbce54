"""Vector files that lead elsewhere, claim absurd sizes or are damaged: one line each, and nobody is called."""

import json
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import geopandas
import pytest
import shapely
from loopback import Server

from geoembed.errors import AoiError, LabelError
from geoembed.ground import aoi, vectors
from geoembed.labels import files

RING = "[[[14,40],[15,40],[15,41],[14,40]]]"
FEATURE = f'{{"type":"Feature","properties":{{"label":1}},"geometry":{{"type":"Polygon","coordinates":{RING}}}}}'
COLLECTION = '{"type":"FeatureCollection",%s"features":[' + FEATURE + "]}"
GML = '<wfs:FeatureCollection xmlns:wfs="http://www.opengis.net/wfs" xmlns:gml="http://www.opengis.net/gml" %s></wfs:FeatureCollection>'  # noqa: E501


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def calling(address: str) -> dict[str, str]:
    """Files that make GDAL call an address where it opens them."""
    layer = f'<OGRVRTLayer name="a"><SrcDataSource>{address}/a</SrcDataSource></OGRVRTLayer>'
    vrt = f"<OGRVRTDataSource>{layer}</OGRVRTDataSource>"
    wfs = f"{address}/w?SERVICE=WFS&amp;VERSION=1.0.0&amp;REQUEST=DescribeFeatureType&amp;TYPENAME=a"
    xsi = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    link = '"crs":{"type":"%s","properties":{"href":"%s/c","type":"proj4"}},'
    return {
        "vrt.vrt": vrt,
        "vrt.geojson": vrt,
        "vrt.gml": f"<!-- opengis.net/gml --> {vrt}",
        "wfs.kml": f"<OGRWFSDataSource><URL>{address}</URL><kml/></OGRWFSDataSource>",
        "link.geojson": COLLECTION % (link % ("link", address)),
        "url.json": COLLECTION % (link % ("URL", address)),
        "g.json": json.dumps({"type": "gdal_streamed_alg", "command_line": f"gdal vector info /vsicurl/{address}/a"}),
        "entity.gml": f'<!DOCTYPE a SYSTEM "{address}/d">' + GML % "",
        "schema.gml": GML % f'{xsi} xsi:schemaLocation="http://x.y {wfs}"',
    }  # fmt: skip


def test_vector_files_call_nobody(tmp_path: Path, server: Server) -> None:
    for name, text in calling(server.address).items():
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(AoiError) as told:
            aoi.read((path,))
        with pytest.raises(LabelError):
            files.read(path)
        assert str(told.value).startswith(f"{path}: ")
        assert "\n" not in str(told.value)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "vrt.vrt", "vrt.vrt")
    with pytest.raises(AoiError, match=r"a.zip: its vrt.vrt leads GDAL to other files"):
        aoi.read((tmp_path / "a.zip",))
    assert server.calls == 0


def test_what_a_belt_holds_calls_nobody_either(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoembed.ground.formats.require", lambda *_: None)
    for name, text in calling(server.address).items():
        (tmp_path / name).write_text(text)
        try:
            vectors.layers(tmp_path / name, AoiError)
        except AoiError:
            continue
    assert server.calls == 0


def square(path: Path, **columns: object) -> Path:
    geopandas.GeoDataFrame({"name": ["a"], **columns}, geometry=[shapely.box(14, 40, 15, 41)], crs=4326).to_file(path)
    return path


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.gpkg", b"", "is empty"),
        ("a.gpkg", b"{}", "cannot be read as a vector file .it is no GeoPackage"),
        ("a.geojson", b"SQLite format 3\0", "does not begin as a .geojson file does"),
        ("a.sqlite", b"SQLite format 3\0", "is not of a kind that is read .*ogr2ogr"),
        ("a.shp", b"PG:host=x", "does not begin as a .shp file"),
        ("a.tab", b"!table\nIsSeamless", "is a table of other tables"),
        ("a.kml", b"<?xml?><!DOCTYPE kml [<!ENTITY a 'b'>]><kml/>", "is text that leads GDAL"),
        ("a.zip", b"PK\3\4 and no more", "cannot be read as a zip archive"),
    ],
)
def test_other_content_than_the_ending_says(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AoiError, match=f"{name}: {words}"):
        aoi.read((tmp_path / name,))


def test_a_geopackage_with_views_without_an_end_or_tables_of_other_files(tmp_path: Path) -> None:
    endless = "CREATE VIEW v AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c"
    path = square(tmp_path / "a.gpkg")
    with closing(sqlite3.connect(path)) as base, base:
        base.execute(endless)
    with pytest.raises(AoiError, match="its view v may never end; convert it"):
        aoi.read((path,))
    other = square(tmp_path / "b.gpkg")
    with closing(sqlite3.connect(other)) as base, base:
        base.execute("PRAGMA writable_schema = 1")
        virtual = "CREATE VIRTUAL TABLE t USING VirtualText(secret)"
        base.execute("INSERT INTO sqlite_master VALUES ('table', 't', 't', 0, ?)", (virtual,))
    with pytest.raises(AoiError, match="its table t reads other files"):
        aoi.read((other,))


@pytest.mark.parametrize("page", [2, 5, 9])
def test_a_geopackage_with_a_zeroed_page_is_told(tmp_path: Path, page: int) -> None:
    path = square(tmp_path / "a.gpkg")
    content = bytearray(path.read_bytes())
    content[page * 4096 : (page + 1) * 4096] = bytes(4096)
    path.write_bytes(content)
    with pytest.raises(AoiError, match=r"a.gpkg: (is damaged|cannot be read)"):
        aoi.read((path,))


def test_a_layer_that_claims_more_rows_than_its_file_can_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = square(tmp_path / "a.fgb")
    monkeypatch.setattr("pyogrio.read_info", lambda *_, **__: {"features": 4_000_000_000})
    with pytest.raises(AoiError, match=r"claims 4,000,000,000 rows in .* bytes"):
        aoi.read((path,))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e308", "9" * 400])
def test_coordinates_that_are_none(tmp_path: Path, number: str) -> None:
    path = tmp_path / "a.geojson"
    path.write_text((COLLECTION % "").replace("[15,41]", f"[15,{number}]"))
    with pytest.raises(AoiError, match=r"a.geojson: .*(finite|cannot be read|cannot be degrees)"):
        aoi.read((path,))


def test_deep_and_odd_names(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(COLLECTION.replace("[15,41]", "[" * 50_000) % "")
    with pytest.raises(AoiError, match="cannot be read as a vector file"):
        aoi.read((path,))
    for name, words in (("../up", "is a path"), ("a\nb", "control characters"), ("x" * 300, "more than 200")):
        path = square(tmp_path / "b.gpkg", name=[name])
        with pytest.raises(AoiError, match=f"area .* {words}"):
            aoi.read((path,))
