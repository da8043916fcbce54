"""Items of catalogues made scenes: real ones, and each thing that one may say differently or wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import shapely
from affine import Affine
from archives.catalogue import COLLECTION, changed, item
from conftest import SCENES
from hypothesis import given, settings
from hypothesis import strategies as st

from geoembed.archives import items
from geoembed.archives.scenes import Scene
from geoembed.imagery.catalogues import Stac

SETTINGS = Stac(collection=COLLECTION)


def read(value: Any, setting: Stac = SETTINGS) -> Scene:
    return items.scene(value, setting, "api.test v1")[0]


def fault(value: Any, setting: Stac = SETTINGS) -> str:
    """The line that says why an item is unusable."""
    with pytest.raises(ValueError) as error:
        items.scene(value, setting, "api.test v1")
    line = str(error.value)
    assert type(error.value) is ValueError
    assert line.isprintable()
    assert line.startswith("api.test v1: item ")
    return line


def of_file(name: str) -> tuple[Any, Stac]:
    """A real item, with absolute addresses, and the settings of its collection; skips where there are none."""
    path = SCENES / "stac-items" / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"the real items are not beside this checkout ({path})")
    value = json.loads(path.read_text())
    if not any(link["rel"] == "self" for link in value["links"]):
        value["links"].append({"rel": "self", "href": "https://api.test/items/x.json"})
    return value, replace(SETTINGS, collection=value.get("collection") or COLLECTION)


# Name, tile, datastrip, baseline, offset.
REAL = [
    ("es-v0_sentinel-s2-l2a-cogs_S2A_28QCH_20200714", "28QCH", None, "02.14", 0.0),
    ("es-v1_sentinel-2-c1-l2a_S2A_13TDE_20240412", "13TDE", "2024-04-12 17:50:55", "05.10", -0.1),
    ("es-v1_sentinel-2-c1-l2a_S2B_20EPT_20250731", "20EPT", "2025-07-31 13:19:05", "05.11", -0.1),
    ("es-v1_sentinel-2-l2a_S2B_20EPT_20250731", "20EPT", "2025-07-31 13:19:05", "05.11", 0.0),
    ("pc_sentinel-2-l2a_S2A_60VUK_20190101_0212", "60VUK", "2018-12-31 23:59:57", "02.12", 0.0),
    ("pc_sentinel-2-l2a_S2B_13TDE_20240825_0511", "13TDE", "2024-08-25 17:48:04", "05.11", -0.1),
    ("stactools_S2B_33XWJ_20220413_0400", "33XWJ", "2022-04-13 15:07:56", "04.00", -0.1),
]


@pytest.mark.parametrize(("name", "tile", "sensed", "baseline", "offset"), REAL, ids=[row[0] for row in REAL])
def test_real_items(name: str, tile: str, sensed: str | None, baseline: str, offset: float) -> None:
    scene = read(*of_file(name))
    assert (scene.tile, scene.baseline) == (tile, baseline)
    assert scene.sensed == (datetime.fromisoformat(sensed).replace(tzinfo=UTC) if sensed else None)
    assert {(asset.scale, asset.offset) for asset in scene.bands.values()} == {(1e-4, offset)}
    zone = int(tile[:2]) + (32600 if tile[2] >= "N" else 32700)
    for asset in (*scene.bands.values(), scene.classification):
        assert asset is not None
        assert asset.href.startswith("https://")
        assert asset.crs == f"EPSG:{zone}"
        assert asset.transform is not None and asset.height is not None
        assert asset.transform.a * asset.height == 109_800.0
    assert scene.classification is not None
    assert (scene.classification.scale, scene.classification.offset) == (1.0, 0.0)
    assert scene.platform in ("sentinel-2a", "sentinel-2b")
    assert scene.cloud is not None


@pytest.mark.parametrize(
    "name", ["stactools_S2A_01WCP_20230625_022157_stac11", "stactools_S2A_01WCP_20230625_022158_stac10"]
)
def test_real_items_of_jpeg_2000_are_refused_with_the_remedy(name: str) -> None:
    assert "is JPEG 2000, which is not read in parts; name a collection of cloud-opt" in fault(*of_file(name))


def test_a_real_item_over_180_degrees_and_its_reprocessed_twin() -> None:
    twins = []
    for name in ("022157_stac11", "022158_stac10"):
        value, setting = of_file(f"stactools_S2A_01WCP_20230625_{name}")
        for key in ("red", "green", "blue", "scl"):
            value["assets"][key] |= {"href": f"https://data.test/{key}.tif", "type": "image/tiff"}
        scene, outline = items.scene(value, setting, "")
        assert scene.bounds == (178.474107, 65.67165, -178.96619, 66.7056)
        assert shapely.intersects_xy(outline, [179.5, -179.5, 0.0], [66.0, 66.0, 66.0]).tolist() == [True, True, False]
        assert scene.bands["red"].crs == "EPSG:32601"
        twins.append(scene)
    first, second = twins
    assert (first.id, first.sensed, first.baseline) == (second.id, second.sensed, second.baseline)
    assert first.generation < second.generation


def test_real_items_of_sentinel_1_are_refused() -> None:
    assert "has no asset 'red'" in fault(*of_file("pc_sentinel-1-rtc_S1A_20191215"))
    value, setting = of_file("es-v1_sentinel-1-grd_S1A_20250731")
    setting = replace(setting, assets={"hh": "hh"}, mask=())
    assert "does not say its MGRS tile; geoembed needs a collection of Sentinel-2 products" in fault(value, setting)
    value["properties"] |= {"grid:code": "MGRS-32TPT", "s2:processing_baseline": "05.00"}
    line = fault(value, setting)
    assert line.endswith("hh lies where the reader pays; name a collection that is free to read")


@pytest.mark.parametrize(
    ("properties", "declared", "baseline", "offset"),
    [
        ({"earthsearch:boa_offset_applied": True}, -0.1, "05.11", 0.0),
        ({"sentinel:boa_offset_applied": True}, None, "04.00", 0.0),
        ({"earthsearch:boa_offset_applied": False}, -0.1, "02.14", -0.1),
        ({"earthsearch:boa_offset_applied": False}, None, "04.00", -0.1),
        ({}, -0.05, "05.00", -0.05),
        ({}, 0, "05.00", 0.0),
        ({}, None, "03.01", 0.0),
        ({}, None, "04.00", -0.1),
        ({}, None, "05.11", -0.1),
        ({"datetime": "2016-01-01T00:00:00Z"}, None, "05.00", -0.1),
        ({"datetime": "2023-01-01T00:00:00Z"}, None, "02.14", 0.0),
    ],
)
def test_flag_beats_declared_offset_beats_baseline_and_never_the_date(
    properties: dict[str, Any], declared: float | None, baseline: str, offset: float
) -> None:
    value = item(version=baseline, more=properties)
    value["assets"]["red"]["raster:bands"] = [{"scale": 1e-4, "offset": declared}]
    assert read(value).bands["red"].offset == offset


@pytest.mark.parametrize(
    "asset",
    [
        {"raster:bands": [{"scale": 2e-4, "offset": -0.2}]},
        {"raster:scale": 2e-4, "raster:offset": -0.2},
        {"bands": [{"name": "B04", "raster:scale": 2e-4, "raster:offset": -0.2}]},
        {"bands": [{"scale": 2e-4, "offset": -0.2}], "raster:bands": None},
        {"raster:bands": [{"scale": 2e-4}], "raster:offset": -0.2},
    ],
)
def test_scale_and_offset_are_read_wherever_they_are_declared(asset: dict[str, Any]) -> None:
    value = item()
    del value["assets"]["red"]["raster:bands"]
    value["assets"]["red"] |= asset
    bands = read(value).bands
    assert (bands["red"].scale, bands["red"].offset) == (2e-4, -0.2)
    assert (bands["green"].scale, bands["green"].offset) == (1e-4, -0.1)


def test_a_scale_without_offset_shifts_as_many_numbers() -> None:
    value = changed(item(), "assets", "red", "raster:bands", to=[{"scale": 2e-4}])
    assert read(value).bands["red"].offset == pytest.approx(-0.2)


@pytest.mark.parametrize(
    "band", [{"scale": 1, "offset": -1000}, {"scale": 0}, {"scale": -1e-4}, {"scale": 1e-4, "offset": 7}]
)
def test_an_encoding_that_gives_no_reflectance_is_refused(band: dict[str, Any]) -> None:
    assert "which give no reflectance" in fault(changed(item(), "assets", "red", "raster:bands", to=[band]))


def without_baseline(value: Any) -> Any:
    value["assets"]["red"].pop("raster:bands", None)
    for key in ("s2:processing_baseline", "s2:product_uri", "s2:datastrip_id"):
        value["properties"].pop(key, None)
    return value


def test_an_offset_that_nothing_tells_makes_the_scene_unusable() -> None:
    assert "says neither the offset of 'red' nor its processing baseline; name " in fault(without_baseline(item()))


@pytest.mark.parametrize(
    ("properties", "baseline"),
    [
        ({"s2:processing_baseline": "05.11"}, "05.11"),
        ({"s2:processing_baseline": "5.11"}, "05.11"),
        ({"processing:version": "05.09"}, "05.09"),
        ({"sentinel:processing_baseline": "04.00"}, "04.00"),
        ({"s2:product_uri": "S2A_MSIL2A_20200615T100000_N0214_R022_T32TPT_20200615T200000.SAFE"}, "02.14"),
        ({"sentinel:product_id": "S2A_MSIL2A_20200615T100000_N0301_R022_T32TPT_20200615T200000"}, "03.01"),
        ({"s2:datastrip_id": "S2A_OPER_MSI_L2A_DS_2APS_20200615T200000_S20200615T100000_N02.09"}, "02.09"),
        ({"s2:processing_baseline": "99.99"}, None),
        ({"s2:product_uri": "S2A_MSIL2A_20200615T100000_N9999_R022_T32TPT_20200615T200000.SAFE"}, None),
        ({"processing:version": "1.0.0"}, None),
    ],
)
def test_the_baseline_is_read_from_properties_and_names(properties: dict[str, Any], baseline: str | None) -> None:
    value = without_baseline(item())
    value["properties"] |= properties | {"earthsearch:boa_offset_applied": True}
    assert read(value).baseline == baseline


@pytest.mark.parametrize(
    "properties",
    [
        {"grid:code": "MGRS-1WCP"},
        {"s2:mgrs_tile": "01WCP"},
        {"s2:mgrs_tile": "T01WCP"},
        {"mgrs:utm_zone": 1, "mgrs:latitude_band": "W", "mgrs:grid_square": "CP"},
        {"grid:code": "WRS2-101", "s2:mgrs_tile": "01WCP"},
        {"s2:product_uri": "S2A_MSIL2A_20200615T100000_N0214_R022_T01WCP_20200615T200000.SAFE"},
    ],
)
def test_the_tile_is_read_from_properties_and_names(properties: dict[str, Any]) -> None:
    value = item(id="x", more={"s2:product_uri": "", "grid:code": None} | properties)
    assert read(value).tile == "01WCP"


def test_the_tile_is_read_from_the_id() -> None:
    none = {"s2:product_uri": "", "grid:code": None}
    assert read(item(id="S2A_1WCP_20230101_0_L2A", more=none)).tile == "01WCP"
    for name in ("S1A_IW_GRDH_1SSH_20250731", "x", "S2A_99WCP_20230101_0_L2A", "S2A_32TIO_20230101_0_L2A"):
        assert "does not say its MGRS tile" in fault(item(id=name, more=none))


def test_projection_lies_at_the_asset_or_the_item_or_nowhere() -> None:
    value = item()
    assert read(value).bands["red"].crs == "EPSG:32632"
    assert read(changed(value, "assets", "red", "proj:code", to="EPSG:32633")).bands["red"].crs == "EPSG:32633"
    assert read(changed(value, "assets", "red", "proj:epsg", to=32731)).bands["red"].crs == "EPSG:32731"
    value["properties"] |= {"proj:epsg": None, "proj:code": "EPSG:32635"}
    assert read(value).bands["red"].crs == "EPSG:32635"
    del value["properties"]["proj:code"]
    for key in ("proj:shape", "proj:transform"):
        del value["assets"]["red"][key]
    red = read(value).bands["red"]
    assert (red.crs, red.transform, red.height, red.width) == (None, None, None, None)


@pytest.mark.parametrize("last", [[], [0, 0, 1], [0.0, 0.0, 1.0]])
def test_transforms_have_six_or_nine_numbers(last: list[float]) -> None:
    value = changed(item(), "assets", "red", "proj:transform", to=[10, 0, 600000, 0, -10, 5300040, *last])
    assert read(value).bands["red"].transform == Affine(10, 0, 600000, 0, -10, 5300040)


@pytest.mark.parametrize(
    "numbers",
    [[10, 0, 6], [10, 0, 6, 0, -10, 5, 0, 0, 2], [10, 0, 6, 0, -10, "5"], [10, 0, 6, 0, -10, float("nan")], "x"],
)
def test_other_transforms_are_refused(numbers: Any) -> None:
    assert "assets.red.proj:transform" in fault(changed(item(), "assets", "red", "proj:transform", to=numbers))


@pytest.mark.parametrize(
    ("properties", "time"),
    [
        ({"datetime": None, "start_datetime": "2020-06-15T10:00:00Z"}, "10:00:00"),
        ({"datetime": "2020-06-15T12:00:00+02:00"}, "10:00:00"),
        ({"datetime": "2020-06-15 10:00:00.5"}, "10:00:00.500000"),
    ],
)
def test_times_are_utc(properties: dict[str, Any], time: str) -> None:
    assert str(read(item(more=properties)).time) == f"2020-06-15 {time}+00:00"


@pytest.mark.parametrize(
    ("path", "to", "words"),
    [
        (("properties", "datetime"), None, "has neither datetime nor start_datetime"),
        (("properties", "datetime"), 1592215200, "properties.datetime 1592215200: no time as text"),
        (("properties", "datetime"), "yesterday", "properties.datetime 'yesterday': "),
        (("properties", "datetime"), "0001-01-01T00:00:00+10:00", "properties.datetime "),
        (("properties", "eo:cloud_cover"), "low", "properties.eo:cloud_cover 'low': "),
        (("properties", "eo:cloud_cover"), 101, "properties.eo:cloud_cover 101: "),
        (("properties", "eo:cloud_cover"), True, "properties.eo:cloud_cover True: "),
        (("properties", "earthsearch:boa_offset_applied"), "true", "earthsearch:boa_offset_applied 'true': "),
        (("properties", "s2:processing_baseline"), 5.1, "properties.s2:processing_baseline 5.1: "),
        (("properties",), [], "properties []: "),
        (("properties",), ..., "properties {"),
        (("assets",), None, "assets None: "),
        (("assets", "red"), "red.tif", "assets.red"),
        (("assets", "red"), ..., "has no asset 'red'"),
        (("assets", "red", "href"), 7, "assets.red.href 7: "),
        (("assets", "red", "raster:bands"), {"scale": 1}, "assets.red.raster:bands"),
        (("assets", "red", "raster:bands"), [{"offset": "-0.1"}], "assets.red.raster:bands.0.offset '-0.1': "),
        (("assets", "red", "proj:shape"), [10980], "assets.red.proj:shape"),
        (("assets", "red", "proj:shape"), [0, 10980], "assets.red.proj:shape.0 0: "),
        (("assets", "red", "file:size"), -1, "assets.red.file:size -1: "),
        (("id",), 17, "id 17: "),
        (("id",), "../../etc/passwd", "id '../../etc/passwd': "),
        (("id",), "a\nb", "id 'a\\nb': "),
        (("collection",), "landsat", "is of another collection, 'landsat'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(path: tuple[str, ...], to: Any, words: str) -> None:
    assert words in fault(changed(item(), *path, to=to))


@pytest.mark.parametrize("value", [None, 7, "item", [], {}, {"id": "x"}])
def test_what_is_no_item_is_named(value: Any) -> None:
    assert "x" in fault({"id": "x", "properties": value}) if value else fault(value)


@pytest.mark.parametrize(
    ("href", "words"),
    [
        ("s3://sentinel-s2-l2a/B04.tif", "red lies at s3://, not at https://; name a "),
        ("/vsicurl/https://data.test/B04.tif", "red lies at a relative path, "),
        ("file:///etc/passwd", "red lies at file://, "),
        ("ftp://data.test/B04.tif", "red lies at ftp://, "),
        ("https://user:secret@data.test/B04.tif", "red lies at https://, "),
        ("https://data.test/B04.tif?sv=1&sig=secret", "red has a signed address, which expires"),
        ("https://data.test/B04.tif?X-Amz-Signature=secret", "red has a signed address, which expires"),
        ("https://data.test/B04.jp2", "red is JPEG 2000, "),
        ("https://data.test/a b.tif", "red lies at https://, "),
    ],
)  # fmt: skip
def test_addresses_that_cannot_be_asked_are_refused(href: str, words: str) -> None:
    line = fault(changed(item(), "assets", "red", "href", to=href))
    assert words in line
    assert "secret" not in line


def test_an_alternate_address_is_used_where_the_first_needs_an_account() -> None:
    value = item()
    value["assets"]["red"] |= {
        "href": "s3://eodata/B04.tif",
        "alternate": {"s3": {"href": "s3://b"}, "https": {"href": "https://data.test/alternate.tif", "auth:refs": []}},
    }
    assert read(value).bands["red"].href == "https://data.test/alternate.tif"


def test_relative_addresses_are_relative_to_the_item() -> None:
    value = changed(item(), "assets", "red", "href", to="./B04.tif")
    assert "red lies at a relative path" in fault(value)
    value["links"] = [{"rel": "root"}, 7, {"rel": "self", "href": "https://api.test/a/item.json"}]
    assert read(value).bands["red"].href == "https://api.test/a/B04.tif"


@pytest.mark.parametrize(
    ("properties", "asset", "pays"),
    [
        ({"storage:requester_pays": True}, {}, True),
        ({"storage:requester_pays": True}, {"storage:requester_pays": False}, False),
        ({"storage:requester_pays": False}, {"storage:requester_pays": True}, True),
        ({"storage:schemes": {"aws": {"requester_pays": True}}}, {"storage:refs": ["aws"]}, True),
        ({"storage:schemes": {"aws": {"requester_pays": True}, "free": {}}}, {"storage:refs": ["free"]}, False),
    ],
)
def test_assets_for_which_the_reader_pays_are_refused(
    properties: dict[str, Any], asset: dict[str, Any], pays: bool
) -> None:
    value = item(more=properties)
    for each in value["assets"].values():
        each.update(asset)
    if pays:
        assert "red lies where the reader pays" in fault(value)
    else:
        assert read(value).bands["red"].href


def test_assets_are_found_under_the_names_of_other_catalogues() -> None:
    value = item()
    value["assets"] = {name: value["assets"][key] for name, key in [("B04", "red"), ("B8A", "nir"), ("SCL_20m", "scl")]}
    scene = read(value, replace(SETTINGS, assets={"red": "red", "edge": "nir08"}))
    assert list(scene.bands) == ["red", "edge"]
    assert "has no asset 'nir'" in fault(value, replace(SETTINGS, assets={"nir": "nir"}))


def test_the_classification_is_not_needed_where_nothing_is_masked() -> None:
    value = changed(item(), "assets", "scl", to=...)
    assert "has no asset 'scl'" in fault(value)
    assert read(value, replace(SETTINGS, mask=())).classification is None


def test_what_is_no_reflectance_has_no_offset_of_a_baseline() -> None:
    value = item()
    value["assets"]["aot"] = changed(value, "assets", "red", "raster:bands", to=...)["assets"]["red"]
    assert "does not say the offset of 'aot'" in fault(value, replace(SETTINGS, assets={"aot": "aot"}))


def test_a_missing_cloud_cover_and_platform_are_no_fault() -> None:
    value = item(more={"eo:cloud_cover": None, "platform": None})
    assert (read(value).cloud, read(value).platform) == (None, "sentinel-2a")


def test_what_is_null_counts_as_absent() -> None:
    names = ["s2:product_uri", "s2:datastrip_id", "s2:processing_baseline", "storage:schemes"]
    value = item(id="S2A_T32TPT_20200615T100000_L2A", more=dict.fromkeys(names))
    value["links"] = None
    value["assets"]["red"] |= dict.fromkeys(
        ["alternate", "bands", "storage:refs", "proj:epsg", "proj:code", "file:size"]
    )
    scene = read(value)
    red = scene.bands["red"]
    assert (scene.baseline, scene.sensed) == (None, datetime(2020, 6, 15, 10, tzinfo=UTC))
    assert (red.size, red.offset, red.crs) == (None, -0.1, "EPSG:32632")


WRONG_WAY = {"type": "Polygon", "coordinates": [[[179.5, 66], [-179.5, 66], [-179.5, 67], [179.5, 67], [179.5, 66]]]}


@pytest.mark.parametrize(
    ("geometry", "bbox"),
    [
        (None, [179.5, 66, -179.5, 67]),
        (None, [179.5, 66, 0, -179.5, 67, 100]),
        (WRONG_WAY, [179.5, 66, -179.5, 67]),
        (WRONG_WAY, [-180, 66, 180, 67]),
        (WRONG_WAY, None),
        ({"type": "Polygon", "coordinates": [[[179.5, 66], [180.5, 66], [180.5, 67], [179.5, 67], [179.5, 66]]]}, None),
        (item("01WCP")["geometry"], None),
        (item("01WCP")["geometry"], [602280.0, 1325600.0, 885640.0, 1569800.0]),
        ({"type": "Point", "coordinates": [0, 0]}, [179.5, 66, -179.5, 67]),
        ({"type": "Polygon", "coordinates": "x"}, [179.5, 66, -179.5, 67]),
    ],
)
def test_the_place_over_180_degrees_is_told_by_geometry_or_bbox(geometry: Any, bbox: Any) -> None:
    value = item("01WCP")
    value |= {"geometry": geometry, "bbox": bbox}
    scene, outline = items.scene(value, SETTINGS, "")
    assert scene.bounds == pytest.approx((179.5, 66.0, -179.5, 67.0))
    assert outline.bounds == pytest.approx((-180.0, 66.0, 180.0, 67.0))
    assert outline.area == pytest.approx(1.0)


@pytest.mark.parametrize("bbox", [None, [], [1, 2, 3], [0, 80, 1, 100], [5, 5, 6, 4], [-180, -90, 180, 90]])
def test_an_item_without_a_place_is_refused(bbox: Any) -> None:
    assert "has neither a geometry nor a bbox in degrees" in fault(item() | {"geometry": None, "bbox": bbox})


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.just(10**400)
    | st.just("http://["),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def paths(value: Any, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inside = list(below)
    here = [(*above, key) for key, _ in inside]
    return here + [path for key, inner in inside for path in paths(inner, (*above, key))]


@settings(max_examples=300, deadline=None)
@given(path=st.sampled_from(paths(item("01WCP"))), junk=JUNK)
def test_any_value_anywhere_gives_a_scene_or_a_line(path: tuple[str | int, ...], junk: Any) -> None:
    try:
        items.scene(changed(item("01WCP"), *path, to=junk), SETTINGS, "api.test v1")
    except ValueError as error:
        assert type(error) is ValueError
        assert str(error).isprintable()
        assert len(str(error)) < 500
