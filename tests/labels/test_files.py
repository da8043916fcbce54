"""Label files as people have them: any table, any names of columns, and where a file is looked for."""

import json
import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from synthetic import LATTICE, chip_folder, ids, raster

from geoembed.errors import LabelError
from geoembed.labels import files
from geoembed.labels.files import LabelFile, Reading
from geoembed.steps.label import label

XY = np.array([[480_160.0, 5_120_160.0], [480_480.5, 5_120_160.0], [480_800.0, 5_120_480.0]])
POINTS = geopandas.GeoSeries(shapely.points(XY), crs=LATTICE.crs)
LONLAT = POINTS.to_crs("EPSG:4326")
LABELS = ["water", "forêt", "water"]


def places_of(label_file: LabelFile) -> Any:
    """The points of a label file in the lattice's CRS, (N, 2)."""
    assert isinstance(label_file.table, geopandas.GeoDataFrame)
    return shapely.get_coordinates(label_file.table.to_crs(LATTICE.crs).geometry.to_numpy())


def text_of(x: Any, y: Any, names: str, delimiter: str = ",", decimal: str = ".") -> str:
    rows = [
        delimiter.join([name, *(f"{value:.9f}".replace(".", decimal) for value in pair)])
        for name, *pair in zip(LABELS, x, y, strict=True)
    ]
    return "\n".join([delimiter.join(["Label", *names.split()]), *rows]) + "\n"


@pytest.mark.parametrize("names", ["lon lat", "Longitude Latitude", "lng LAT", "decimalLongitude decimalLatitude"])
def test_degrees_of_a_csv_are_places(tmp_path: Path, names: str) -> None:
    (tmp_path / "a.csv").write_text(text_of(LONLAT.x, LONLAT.y, names), encoding="utf-8")
    read = files.read(tmp_path / "a.csv")
    assert (read.column, read.numeric, read.name, read.made_by_label) == ("Label", False, "a", False)
    assert read.table["Label"].tolist() == LABELS
    assert places_of(read) == pytest.approx(XY, abs=1e-3)


@pytest.mark.parametrize("names", ["x y", "Easting Northing", "POINT_X POINT_Y"])
def test_other_coordinates_need_their_crs(tmp_path: Path, names: str) -> None:
    (tmp_path / "a.csv").write_text(text_of(XY[:, 0], XY[:, 1], names), encoding="utf-8")
    with pytest.raises(LabelError, match=r"columns \w+ and \w+; pass --crs"):
        files.read(tmp_path / "a.csv")
    for crs in ("EPSG:32632", "32632", LONLAT.to_crs(LATTICE.crs).crs.to_wkt(), "+proj=utm +zone=32 +datum=WGS84"):
        assert places_of(files.read(tmp_path / "a.csv", Reading(crs=crs))) == pytest.approx(XY, abs=1e-6)
    with pytest.raises(LabelError, match="--crs EPSG:0: is no CRS"):
        files.read(tmp_path / "a.csv", Reading(crs="EPSG:0"))


@pytest.mark.parametrize(
    ("delimiter", "decimal", "encoding", "suffix"),
    [
        (";", ",", "utf-8-sig", "csv"),
        (";", ".", "cp1252", "csv"),
        ("\t", ",", "utf-16", "txt"),
        ("|", ".", "utf-8", "tsv"),
    ],
)
def test_csv_of_any_office(
    tmp_path: Path, delimiter: str, decimal: str, encoding: str, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(text_of(LONLAT.x, LONLAT.y, "lon lat", delimiter, decimal).replace("\n", "\r\n").encode(encoding))
    with caplog.at_level(logging.WARNING, "geoembed"):
        read = files.read(path)
    assert read.table["Label"].tolist() == LABELS
    assert places_of(read) == pytest.approx(XY, abs=1e-3)
    assert ("is not UTF-8; read as Windows-1252" in caplog.text) is (encoding == "cp1252")


def test_numbers_with_decimal_commas_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("value;lon;lat;;\n0,5;9;46,2;;\n1;9,1;46;;\n;;;;\nNA;9;46;;\n")
    read = files.read(tmp_path / "a.csv")
    assert read.numeric and read.table["value"].tolist()[:2] == [0.5, 1.0] and np.isnan(read.table["value"].iloc[2])
    assert list(read.table.columns) == ["value", "lon", "lat", "geometry"] and len(read.table) == 3


def test_ids_of_chips_and_classes_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("CHIP_ID,class\n0012,1\n8212000,2\n")
    read = files.read(tmp_path / "a.csv")
    assert read.table["chip_id"].tolist() == ["0012", "8212000"]
    assert (read.column, read.name, read.numeric) == ("class", "a", False)


def test_shapes_written_as_text(tmp_path: Path) -> None:
    squares = POINTS.buffer(100)
    pd.DataFrame({"label": LABELS, "WKT": squares.to_wkt()}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(LabelError, match="column WKT; pass --crs"):
        files.read(tmp_path / "a.csv")
    read = files.read(tmp_path / "a.csv", Reading(crs=LATTICE.crs))
    assert isinstance(read.table, geopandas.GeoDataFrame)
    assert read.table.area.tolist() == pytest.approx(squares.area.tolist())


def test_tables_of_a_spreadsheet(tmp_path: Path) -> None:
    if "w" not in pyogrio.list_drivers().get("XLSX", ""):
        pytest.skip("this GDAL writes no XLSX")
    rows = pd.DataFrame({"Label": LABELS, "Lon": LONLAT.x, "Lat": LONLAT.y})
    pyogrio.write_dataframe(rows, tmp_path / "a.xlsx", driver="XLSX")
    assert places_of(files.read(tmp_path / "a.xlsx")) == pytest.approx(XY, abs=1e-3)


def test_parquet_with_and_without_geometry(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    plain = pd.DataFrame({"Label": pd.Categorical(LABELS), "lon": LONLAT.x, "lat": LONLAT.y})
    plain.to_parquet(tmp_path / "a.parquet")
    geopandas.GeoDataFrame({"Label": LABELS}, geometry=POINTS).to_parquet(tmp_path / "b.parquet")
    for name in ("a.parquet", "b.parquet"):
        read = files.read(tmp_path / name)
        assert places_of(read) == pytest.approx(XY, abs=1e-3) and read.table["Label"].tolist() == LABELS
    (tmp_path / "c.parquet").write_text("no")
    with pytest.raises(LabelError, match=r"c\.parquet: cannot be read as Parquet"):
        files.read(tmp_path / "c.parquet")


def test_without_pyarrow_parquet_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").write_text("")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(LabelError, match="pip install pyarrow"):
        files.read(tmp_path / "a.parquet")


def test_the_digest_tells_rows_places_crs_and_column(tmp_path: Path) -> None:
    base = text_of(XY[:, 0], XY[:, 1], "x y")
    texts = {
        "same": base, "row": base.replace("forêt", "forest"), "place": base.replace("480160", "480161"),
        "less": base.rpartition("water")[0],
    }  # fmt: skip
    digests = {}
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
        digests[name] = files.read(tmp_path / f"{name}.csv", Reading(crs="EPSG:32632")).digest
    digests["crs"] = files.read(tmp_path / "same.csv", Reading(crs="EPSG:32633")).digest
    digests["column"] = files.read(tmp_path / "same.csv", Reading("x", crs="EPSG:32632")).digest
    assert len(set(digests.values())) == len(digests)
    assert files.read(tmp_path / "same.csv", Reading(crs="32632")).digest == digests["same"]


def test_what_cannot_be_a_place_says_why(tmp_path: Path) -> None:
    for text, words in (
        ("label,lon,lat\na,480160,5120160\n", "lon and lat reach 480160 and 5.12016e.06, no degrees; pass --crs"),
        ("label,lon,lat\na,14°15'E,40°N\n", "hold no numbers"),
        ("label\n", "cannot be read as CSV|hold|no column|empty"),
        ("", "cannot be read as CSV"),
        ('label,lon,lat\n"a,1,2\n', "cannot be read as CSV"),
    ):
        (tmp_path / "a.csv").write_text(text)
        with pytest.raises(LabelError, match=words):
            from geoembed.labels import targets

            targets.join(files.read(tmp_path / "a.csv"), ids(LATTICE, 4, 3), (LATTICE,))


def test_names_of_columns_whatever_their_case(tmp_path: Path) -> None:
    table = geopandas.GeoDataFrame({"LABEL": LABELS, "Yield": [0.5, 1.0, 2.0]}, geometry=POINTS)
    table.to_file(tmp_path / "a.gpkg")
    assert files.read(tmp_path / "a.gpkg").column == "LABEL"
    read = files.read(tmp_path / "a.gpkg", Reading("yield"))
    assert (read.column, read.numeric, read.name) == ("Yield", True, "a:Yield")
    with pytest.raises(LabelError, match="has no column yeild; it has LABEL, Yield; did you mean Yield"):
        files.read(tmp_path / "a.gpkg", Reading("yeild"))
    (tmp_path / "b.csv").write_text("Label,LABEL\na,b\n")
    with pytest.raises(LabelError, match="has columns Label and LABEL; name one with --target"):
        files.read(tmp_path / "b.csv")
    assert files.read(tmp_path / "b.csv", Reading("LABEL")).table["LABEL"].tolist() == ["b"]


def test_two_layers_of_labels_are_asked_about(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    for layer, names in (("north", LABELS), ("south", ["a", "b", "c"])):
        geopandas.GeoDataFrame({"label": names}, geometry=POINTS).to_file(path, layer=layer)
    with pytest.raises(LabelError, match="layers north and south have a column label; name one with --layer"):
        files.read(path)
    assert files.read(path, Reading(layer="south")).table["label"].tolist() == ["a", "b", "c"]
    with pytest.raises(LabelError, match=r"--layer suoth: .* has no layer of this name; did you mean south"):
        files.read(path, Reading(layer="suoth"))


def test_a_file_without_crs_takes_the_one_given(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.warns(UserWarning, match="crs"):
        geopandas.GeoDataFrame({"label": LABELS}, geometry=shapely.points(XY)).to_file(tmp_path / "a.fgb")
    xy = places_of(files.read(tmp_path / "a.fgb", Reading(crs=LATTICE.crs)))
    assert sorted(xy.tolist()) == sorted(XY.tolist())  # FlatGeobuf has an order of its own
    geopandas.GeoDataFrame({"label": LABELS}, geometry=LONLAT).to_file(tmp_path / "b.gpkg")
    with caplog.at_level(logging.WARNING, "geoembed"):
        read = files.read(tmp_path / "b.gpkg", Reading(crs=LATTICE.crs))
    assert places_of(read) == pytest.approx(XY, abs=1e-3) and "has a CRS of its own, EPSG:4326" in caplog.text


@pytest.mark.parametrize("name", ["a.gpkg", "b.geojson", "c.csv", "d.shp", "e.fgb", "f.parquet", "g.parquet"])
def test_blank_text_is_no_class(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    names = ["water ", "water", "", "  ", "NULL", None]
    table = geopandas.GeoDataFrame({"label": names}, geometry=list(POINTS) * 2, crs=LATTICE.crs)
    flat = table.assign(lon=list(LONLAT.x) * 2, lat=list(LONLAT.y) * 2).drop(columns="geometry")
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
        (flat if name == "g.parquet" else table).to_parquet(tmp_path / name)
    elif name == "c.csv":
        flat.to_csv(tmp_path / name)
    else:
        table.to_file(tmp_path / name)
    with caplog.at_level(logging.WARNING, "geoembed"):
        read = files.read(tmp_path / name)
    assert read.table["label"].dropna().tolist() == ["water", "water"] and len(read.table) == 6
    if name != "d.shp":  # a Shapefile has no outer blanks
        assert f"{name}: column label: 1 labels lost outer blanks" in caplog.text


def test_infinite_and_absurd_numbers_are_no_label(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = [np.inf, 1e308, -3.4e38, 1.5, np.nan]
    table = geopandas.GeoDataFrame({"value": values}, geometry=[*POINTS, *POINTS[:2]], crs=LATTICE.crs)
    table.to_file(tmp_path / "a.gpkg")
    table.assign(lon=9, lat=46).drop(columns="geometry").to_csv(tmp_path / "a.csv")
    for name in ("a.gpkg", "a.csv"):
        with caplog.at_level(logging.WARNING, "geoembed"):
            assert files.read(tmp_path / name).table["value"].dropna().tolist() == [1.5]
        assert f"{name}: column value: 3 numbers are infinite or beyond 1e+30" in caplog.text
    table.rename(columns={"value": "label"}).assign(label=[1.0, 2.0, 1e308, np.inf, 2.0]).to_file(tmp_path / "b.gpkg")
    read = files.read(tmp_path / "b.gpkg")
    assert not read.numeric and read.table["label"].dropna().tolist() == [1, 2, 2]


def test_codes_with_and_without_decimals_are_one_class(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = geopandas.GeoDataFrame({"label": ["80", "80.0", "v1.0"]}, geometry=list(POINTS), crs=LATTICE.crs)
    table.to_file(tmp_path / "a.gpkg")
    with caplog.at_level(logging.WARNING, "geoembed"):
        assert files.read(tmp_path / "a.gpkg").table["label"].tolist() == ["80", "80", "v1.0"]
    assert "80.0 and 80 are one class each" in caplog.text


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "shp", "fgb"])
def test_texts_in_other_encodings_are_read_and_told(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, names = tmp_path / f"a.{suffix}", ["forêt", "façade", "água"]
    table = geopandas.GeoDataFrame({"label": names, "été": names}, geometry=list(LONLAT), crs=LONLAT.crs)
    table.to_file(path, encoding="UTF-8")
    content = path.with_suffix(".dbf" if suffix == "shp" else path.suffix)
    in_place = suffix != "geojson"  # the other formats tell how many bytes a text has
    for name in names:
        latin = name.encode("latin-1") + b" " * in_place
        content.write_bytes(content.read_bytes().replace(name.encode(), latin))
    with caplog.at_level(logging.WARNING, "geoembed"):
        read = files.read(path)
    assert sorted(read.table["label"]) == sorted(names) and "été" in read.table
    assert "has texts that are not UTF-8" in caplog.text


def test_parquet_that_is_not_utf8(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    content = pyarrow.array([b"M\xe1laga"])
    table = pyarrow.table({"label": pyarrow.Array.from_buffers(pyarrow.string(), 1, content.buffers())})
    pytest.importorskip("pyarrow.parquet").write_table(table, tmp_path / "a.parquet")
    with pytest.raises(LabelError, match=r"a\.parquet: cannot be read as Parquet"):
        files.read(tmp_path / "a.parquet")


@pytest.mark.parametrize("suffix", ["gpkg", "csv"])
def test_a_file_name_that_is_not_utf8(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / os.fsdecode(b"na\xefve." + suffix.encode())
    path.write_bytes(b"label\na\n")
    with pytest.raises(LabelError, match=rf"na\\xefve.{suffix} has a name that is not UTF-8"):
        files.read(path)


def test_layers_of_styles_and_of_notes_are_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    pyogrio.write_dataframe(pd.DataFrame({"note": ["x"]}), path, layer="notes")
    geopandas.GeoDataFrame({"label": LABELS}, geometry=POINTS).to_file(path, layer="fields", mode="a")
    with closing(sqlite3.connect(path)) as base, base:  # as QGIS keeps styles
        base.execute("CREATE TABLE layer_styles (id INTEGER PRIMARY KEY, label TEXT)")
        base.execute("INSERT INTO gpkg_contents (table_name, data_type) VALUES ('layer_styles', 'attributes')")
    read = files.read(path)
    assert read.table["label"].tolist() == LABELS and places_of(read) == pytest.approx(XY, abs=1e-3)


def test_a_file_is_found_in_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels").mkdir()
    for name in ("water.csv", "trees.csv"):
        (tmp_path / "labels" / name).write_text("label,lon,lat\na,9,46\n")
    (tmp_path / "labels" / "water.qml").write_text("a style")
    for name in ("water.csv", "water", "labels/water.csv", "labels/water", "./water"):
        assert files.find(Path(name)) == Path("labels/water.csv")
    with pytest.raises(
        LabelError, match=r"there are labels/trees.csv, labels/water.csv; did you mean labels/water.csv"
    ):
        files.find(Path("labels/watr.csv"))
    (tmp_path / "water.geojson").write_text("{}")
    with pytest.raises(LabelError, match=r"may be water.geojson or labels/water.csv; name one"):
        files.find(Path("water"))
    monkeypatch.chdir(tmp_path.parent)
    with pytest.raises(LabelError, match=r"x/water.gpkg: no such label file; make one with geoembed label"):
        files.find(Path("x/water.gpkg"))


def test_it_knows_which_files_label_made(tmp_path: Path) -> None:
    chips = chip_folder(tmp_path / "chips", ids(LATTICE, 4, 3))
    path = raster(tmp_path / "c.tif", np.ones((96, 128), np.uint8), 480_000.0, 5_120_960.0, 10.0)
    made = label((path,), output=tmp_path / "a.gpkg", chips=chips, classes=("a=1",)).paths[0]
    assert files.read(made).made_by_label
    geopandas.read_file(made).to_file(tmp_path / "b.gpkg", layer="labels")
    assert not files.read(tmp_path / "b.gpkg").made_by_label


def test_absurd_numbers_among_texts_are_no_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.csv").write_text(
        "lon,lat,label\n9,47,forest\n9,47,inf\n9,47,1e308\n9,47,12345678901234567890123456789012\n"
    )
    labels = files.read(tmp_path / "a.csv").table["label"].tolist()
    assert labels == ["forest", None, None, "12345678901234567890123456789012"]
    assert "2 labels are infinite or beyond 1e+30" in caplog.text


def test_layers_without_rows_or_places_are_no_labels(tmp_path: Path) -> None:
    points = geopandas.GeoDataFrame({"label": ["a", "b"]}, geometry=shapely.points([[9, 47], [9, 48]]), crs=4326)
    pyogrio.write_dataframe(pd.DataFrame({"label": ["code"]}), tmp_path / "a.gpkg", layer="lookup")
    points.rename(columns={"label": "class"}).to_file(tmp_path / "a.gpkg", layer="parcels", mode="a")
    assert files.read(tmp_path / "a.gpkg").table["class"].tolist() == ["a", "b"]
    points[:0].to_file(tmp_path / "b.gpkg", layer="empty")
    points.to_file(tmp_path / "b.gpkg", layer="full", mode="a")
    assert len(files.read(tmp_path / "b.gpkg").table) == 2


def test_whole_numbers_that_floats_confuse_are_no_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = ["9007199254740992", "9007199254740993", "", "80"]  # the blank makes a column of floats
    (tmp_path / "a.csv").write_text("lon,lat,label\n" + "".join(f"9,47,{row}\n" for row in rows))
    assert files.read(tmp_path / "a.csv").table["label"].dropna().tolist() == [80]
    assert "2 numbers are infinite or beyond" in caplog.text


@pytest.mark.parametrize("kind", ["wkt", "wkb", "geo"])
def test_geometries_nested_so_deeply_that_geos_would_crash(tmp_path: Path, kind: str) -> None:
    n = 100_000
    wkb = b"\x01\x07\x00\x00\x00\x01\x00\x00\x00" * n + shapely.to_wkb(shapely.Point(0, 0))
    if kind == "wkt":
        text = "GEOMETRYCOLLECTION(" * n + "POINT(0 0)" + ")" * n
        path = tmp_path / "a.csv"
        path.write_text(f'label,wkt\n1,"{text}"\n')
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        path = tmp_path / "a.parquet"
        plain = geopandas.GeoDataFrame({"label": [1]}, geometry=[shapely.Point(0, 0)], crs=4326)
        plain.to_parquet(path)
        table = parquet.read_table(path)
        table = table.set_column(1, "geometry", [[wkb]])
        parquet.write_table(table if kind == "geo" else table.replace_schema_metadata({}), path)
    with pytest.raises(LabelError, match=r"has a geometry of 100,000 in one another"):
        files.read(path, Reading(crs="EPSG:4326"))
    many = shapely.MultiPolygon([shapely.box(west, 0, west + 0.5, 1) for west in range(2_000)])
    (tmp_path / "b.csv").write_text(f'label,wkt\n1,"{many.wkt}"\n')
    assert len(files.read(tmp_path / "b.csv", Reading(crs="EPSG:4326")).table) == 1


@pytest.mark.parametrize("number", ["1e308", "9" * 400, "-" + "9" * 400, "1e400", "nan", "inf", "0x1p3", "1_000"])
def test_absurd_numbers_are_no_labels_or_a_line(tmp_path: Path, number: str) -> None:
    for column in ("label", "value"):
        path = tmp_path / "a.csv"
        path.write_text(f"{column},lon,lat\n1,9,45\n{number},9.1,45\n3,9.2,45\n")
        try:
            table = files.read(path).table
        except LabelError as error:
            assert "\n" not in str(error)
            continue
        values = pd.to_numeric(table[column], errors="coerce")
        assert not (values.abs() > 1e30).any()


def test_a_table_of_a_million_columns_or_of_one_huge_text_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("label" + "," * 1_000_000 + "\n1\n")
    with pytest.raises(LabelError, match="has 1,000,000 columns"):
        files.read(path)
    path.write_bytes(b"label,lon,lat\n1,9\0" + b"\0" * 100_000 + b",45\n")
    with pytest.raises(LabelError) as told:
        files.read(path)
    assert len(str(told.value)) < 1_000


@pytest.mark.parametrize("values", ([["a"], ["b", "c"]], [[1], [2]], [["a"], None], [{"a": 1}, {"a": 2}]))
def test_a_column_of_lists_is_no_label(tmp_path: Path, values: list[Any]) -> None:
    features = [
        {"type": "Feature", "properties": {"label": value}, "geometry": {"type": "Point", "coordinates": [9.0, 45.0]}}
        for value in values
    ]
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    try:
        files.read(path, Reading())
    except LabelError as fault:
        assert "holds lists" in str(fault)
        return
    assert isinstance(values[0], dict), "which is read as text"
