"""Searching catalogues: real servers on loopback, and one that lies in every way that is known."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import shapely
from archives.catalogue import COLLECTION, TILES, Api, Asker, Serve, changed, item, rustac, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from geoembed.archives import pages, stac
from geoembed.archives.stac import Found
from geoembed.errors import FetchError
from geoembed.imagery.catalogues import Stac

HERE = shapely.box(11.4, 47.4, 11.6, 47.6)
"""In tile 32TPT alone."""

SUMMER = Stac(collection=COLLECTION, year=2020, seasons=("jja",))


@pytest.fixture
def serve() -> Iterator[Serve]:
    with serving() as start:
        yield start


def search(api: Api | str, area: Any = HERE, setting: Stac = SUMMER) -> Found:
    url = api if isinstance(api, str) else api.url
    return stac.search(Asker(["*"], connections=2), replace(setting, api=url), area)


def fault(api: Api, setting: Stac = SUMMER) -> str:
    with pytest.raises(FetchError) as error:
        search(api, setting=setting)
    line = str(error.value)
    assert line.isprintable()
    assert len(line) < 300
    return line


def days(count: int, tile: str = "32TPT") -> list[Any]:
    """Items on as many days of summer, some several a day."""
    months = ["06", "07", "08"]
    return [
        item(tile, f"2020-{months[n // 30 % 3]}-{n % 30 + 1:02}", at=f"10:{n // 90:02}:00", id=f"S2A_{tile}_{n:04}")
        for n in range(count)
    ]


def ids(found: Found) -> set[str]:
    return {scene.id for scene in found.scenes}


@pytest.mark.parametrize("link", ["merge", "body", "get", "none", "repeat"])
@pytest.mark.parametrize("count", [0, 1, 100, 250])
def test_all_scenes_are_found_however_pages_are_linked(serve: Serve, link: str, count: int) -> None:
    api = serve(days(count), next=link)
    found = search(api)
    assert ids(found) == {one["id"] for one in api.items}
    assert found.unusable == found.cloudy == found.duplicates == 0


def test_pages_are_followed_with_one_request_each(serve: Serve) -> None:
    api = serve(days(250))
    search(api)
    assert [method for method, _, _ in api.asked] == ["POST"] * 3
    assert [query["limit"] for _, _, query in api.asked] == [100] * 3


def test_a_last_page_that_is_full_is_the_last(serve: Serve) -> None:
    api = serve(days(300))
    assert len(search(api).scenes) == 300
    assert len(api.asked) == 3


def test_full_pages_that_lead_to_another_host_are_halved_and_short_ones_are_an_error(serve: Serve) -> None:
    api = serve(days(250), next="elsewhere")
    line = fault(api)
    assert line.endswith("its next page lies on another host, elsewhere.test, which is not asked; name that as api")
    assert len(api.asked) > 1
    assert all(path == "/v1/search" for _, path, _ in api.asked)


def test_more_scenes_of_a_second_than_a_page_holds_are_told_apart_by_place(serve: Serve) -> None:
    corners = [(11.1 + 0.2 * (n % 4), 47.1 + 0.2 * (n // 4 % 4)) for n in range(160)]
    items = [
        item(id=f"S2A_{n}") | {"geometry": None, "bbox": [x, y, x + 0.01, y + 0.01]} for n, (x, y) in enumerate(corners)
    ]
    for n, one in enumerate(items):
        one["properties"]["s2:datastrip_id"] = f"_S20200615T10{n // 60:02}{n % 60:02}"
    found = search(serve(items, next="none"), shapely.box(11, 47, 12, 48))
    assert len(found.scenes) == 160


def test_more_scenes_of_one_second_and_place_than_a_page_holds_are_an_error(serve: Serve) -> None:
    items = [item(id=f"S2A_{n}") for n in range(101)]
    assert "gives 100 items of 2020-06-15 and no next page, so that some may be missing" in fault(
        serve(items, next="none")
    )


@pytest.mark.parametrize("status", [413, 500, 502, 504])
def test_too_large_pages_are_halved(serve: Serve, status: int) -> None:
    api = serve(days(120), above=30, status=status)
    assert len(search(api).scenes) == 120
    assert {query["limit"] for _, _, query in api.asked} == {100, 50, 25}


def test_answers_larger_than_is_read_are_halved(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST", 100_000)
    api = serve(days(90))
    assert len(search(api).scenes) == 90
    assert min(query["limit"] for _, _, query in api.asked) < 50


def test_a_server_that_is_down_is_an_error_and_not_asked_for_ever(serve: Serve) -> None:
    api = serve([], above=0, status=500)
    assert fault(api).endswith("500")
    assert [query["limit"] for _, _, query in api.asked] == [100, 50, 25, 12, 10]


@pytest.mark.parametrize("status", [400, 403, 429])
def test_other_refusals_are_errors_at_once(serve: Serve, status: int) -> None:
    api = serve([], above=0, status=status)
    assert str(status) in fault(api)
    assert len(api.asked) == 1


def test_get_is_used_where_post_is_refused(serve: Serve) -> None:
    api = serve(days(150), next="get", refused=("POST",))
    assert len(search(api).scenes) == 150
    assert [method for method, _, _ in api.asked] == ["POST", "GET", "GET"]


def test_an_address_that_is_no_api_is_told(serve: Serve) -> None:
    api = serve([])
    api.url = api.url.removesuffix("/v1") + "/home"
    assert fault(api) == f"127.0.0.1/home {COLLECTION}: there is no STAC API that can be searched; check api"


def test_a_collection_that_is_not_there_is_told(serve: Serve) -> None:
    assert "127.0.0.1/v1 sentinel-9: there is no such collection" in fault(
        serve([]), replace(SUMMER, collection="sentinel-9")
    )


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"<html>sign in</html>", "answers with no JSON"),
        (b"", "answers with no JSON"),
        (b"[]", "answers with no page of items"),
        (b"null", "answers with no page of items"),
        (b'{"message": "hello"}', "answers with no page of items"),
        (b'{"features": {"a": 1}}', "answers with no page of items"),
        (b'{"features": [], "links": 7}', "answers with no page of items"),
        (b'{"features": [], "links": [{"rel": "next", "href": 7}]}', "its link to the next page is no address"),
        (
            b'{"features": [], "links": [{"rel": "next", "href": "http://["}]}',
            "its link to the next page is no address",
        ),
        (
            b'{"features": [], "links": [{"rel": "next", "href": "http://a:b/"}]}',
            "its link to the next page is no address",
        ),
        (b'{"features": [], "links": [{"rel": "next", "href": "/", "body": 7}]}', "its body is none"),
        (b'{"features": [], "links": [{"rel": "next", "href": "//127.0.0.1:1/"}]}', "lies on another host"),
        (b'{"features": [], "links": [{"rel": "next", "href": "file:///etc/passwd"}]}', "lies on another host"),
    ],
)
def test_an_answer_that_is_no_page_gives_one_line(serve: Serve, raw: bytes, words: str) -> None:
    api = serve([], raw=raw)
    assert words in fault(api)
    assert len(api.asked) == 1


@pytest.mark.parametrize("link", ["fresh", "empty"])
def test_pages_without_end_give_one_line(serve: Serve, link: str) -> None:
    api = serve(days(1), next=link)
    assert "gives pages without end, more than there can be" in fault(api)
    assert len(api.asked) <= 401


def test_a_server_that_caps_pages_and_links_none_is_found_out_by_its_count(serve: Serve) -> None:
    found = search(serve(days(90), next="none", most=20, matched=True))
    assert len(found.scenes) == 90


def test_a_count_that_is_too_high_ends_the_search_all_the_same(serve: Serve) -> None:
    page = {"features": [item()], "links": [], "context": {"matched": 10**6}}
    api = serve([], raw=json.dumps(page).encode())
    assert len(search(api).scenes) == 1
    assert len(api.asked) == 3


def test_items_repeated_across_pages_count_once(serve: Serve) -> None:
    items = days(150)
    items[120] = items[80]
    found = search(serve(items))
    assert len(found.scenes) == 149
    assert found.duplicates == 0


def test_what_is_left_out_is_counted(serve: Serve) -> None:
    items = [
        item(),
        item(version="02.14"),
        item(day="2020-06-16", more={"eo:cloud_cover": 60.0}),
        item(day="2020-06-17", more={"eo:cloud_cover": 60.1}),
        item(day="2020-06-18", more={"eo:cloud_cover": None}),
        item(day="2020-06-20") | {"collection": "other"},
        changed(item(day="2020-06-21"), "assets", "red", "href", to="s3://bucket/red.tif"),
        {"id": "S2A_junk"},
        7,
        item("32TQT"),
    ]
    found = search(serve(items))
    assert [scene.time.day for scene in found.scenes] == [15, 16, 18]
    assert (found.duplicates, found.cloudy, found.unusable, len(found.reasons)) == (1, 1, 4, 4)
    assert all(line.startswith(f"127.0.0.1/v1 {COLLECTION}: item ") for line in found.reasons)


def test_the_cloud_of_the_latest_product_counts(serve: Serve) -> None:
    items = [item(version="02.14", more={"eo:cloud_cover": 50}), item(version="05.00", more={"eo:cloud_cover": 70})]
    found = search(serve(items))
    assert (found.scenes, found.duplicates, found.cloudy) == ((), 1, 1)


def test_only_the_first_reasons_are_kept(serve: Serve) -> None:
    found = search(serve([{"id": f"x{n}"} for n in range(40)]))
    assert (found.unusable, len(found.reasons)) == (40, 5)


def test_the_order_of_items_does_not_matter(serve: Serve) -> None:
    items = [*days(30), item(version="02.14"), item(), {"id": "x"}, {"id": "y"}]
    assert search(serve(items)) == search(serve(items[::-1]))


def test_seasons_are_searched_by_their_months(serve: Serve) -> None:
    dates = ["2019-11-30", "2019-12-01", "2020-02-29", "2020-03-01", "2020-05-31", "2020-12-01"]
    api = serve([item(day=day) for day in dates])
    winter = search(api, setting=replace(SUMMER, seasons=("djf",)))
    assert [f"{scene.time:%Y-%m-%d}" for scene in winter.scenes] == dates[1:3]
    both = search(api, setting=replace(SUMMER, seasons=("mam", "djf")))
    assert [f"{scene.time:%Y-%m-%d}" for scene in both.scenes] == dates[1:5]


def test_the_last_moment_of_a_season_is_in_it_and_the_next_is_not(serve: Serve) -> None:
    items = [
        item(more={"datetime": f"2020-{moment}Z"}, id=f"S2A_{moment}")
        for moment in ("08-31T23:59:59.999", "09-01T00:00:00.000")
    ]
    assert ids(search(serve(items))) == {"S2A_08-31T23:59:59.999"}


def test_null_times_and_geometries_are_found(serve: Serve) -> None:
    value = item(more={"datetime": None, "start_datetime": "2020-06-15T10:00:00Z"}) | {"geometry": None}
    assert len(search(serve([value])).scenes) == 1


@pytest.mark.parametrize(
    "area",
    [
        shapely.box(179.6, 66.1, 180.4, 66.9),
        shapely.box(-180.4, 66.1, -179.6, 66.9),
        shapely.box(180.1, 66.1, 180.4, 66.9),
        shapely.union(shapely.box(179.6, 66.1, 180, 66.9), shapely.box(-180, 66.1, -179.6, 66.9)),
        shapely.box(-179.8, 66.1, -179.7, 66.9),
        shapely.box(179.6, 66.1, 179.7, 66.9),
    ],
    ids=["over 180", "over -180", "beyond 180", "cut", "east of it", "west of it"],
)
def test_areas_over_180_degrees(serve: Serve, area: Any) -> None:
    api = serve([item("01WCP"), item("32TPT")])
    assert [scene.tile for scene in search(api, area).scenes] == ["01WCP"]
    for _, _, query in api.asked:
        west, _, east, _ = query["bbox"]
        assert -180 <= west < east <= 180
        assert east - west < 2


def test_scattered_areas_are_searched_apart(serve: Serve) -> None:
    api = serve([item(tile) for tile in TILES])
    far = shapely.union_all([shapely.box(11.4, 47.4, 11.6, 47.6), shapely.box(179.6, 66.1, 179.7, 66.2)])
    assert [scene.tile for scene in search(api, far).scenes] == ["01WCP", "32TPT"]
    assert len(api.asked) == 2


def test_scenes_beside_the_area_are_left_out(serve: Serve) -> None:
    api = serve([item(tile) for tile in TILES])
    corner = shapely.Polygon([(11.2, 47.2), (12.9, 47.2), (11.2, 47.3)])
    assert [scene.tile for scene in search(api, corner).scenes] == ["32TPT", "32TQT"]
    sliver = changed(item(), "geometry", "coordinates", to=[[[[11, 47], [11.1, 47], [11, 47.1], [11, 47]]]])
    assert search(serve([sliver])).scenes == ()


def test_invalid_areas_are_mended(serve: Serve) -> None:
    bow = shapely.Polygon([(11.2, 47.2), (11.8, 47.8), (11.8, 47.2), (11.2, 47.8)])
    assert len(search(serve([item()]), bow).scenes) == 1


def test_a_large_area_is_cut_into_boxes() -> None:
    boxes = list(stac._boxes(shapely.box(-20, -20, 20, 20)))
    assert len(boxes) == 64
    assert all(east - west < 8.1 and north - south < 8.1 for west, south, east, north in boxes)
    covered = shapely.union_all([shapely.box(*box) for box in boxes])
    assert covered.covers(shapely.box(-20, -20, 20, 20))


def test_a_thin_area_is_cut_into_small_boxes() -> None:
    line = shapely.LineString([(0, 0), (8, 8)]).buffer(0.01)
    boxes = list(stac._boxes(line))
    assert shapely.union_all([shapely.box(*box) for box in boxes]).covers(line)
    assert sum((east - west) * (north - south) for west, south, east, north in boxes) < 20


def test_a_next_link_by_http_is_followed_by_https() -> None:
    class Proxied(Asker):
        def json(self, url: str, *, body: Any = None, most: int = 0) -> Any:
            asked.append(url)
            links = [{"rel": "next", "href": "http://api.test/v1/search?page=2"}] if len(asked) == 1 else []
            return {"features": [item(id=f"S2A_{len(asked)}")], "links": links}

    asked: list[str] = []
    found = stac.search(Proxied(["*"]), replace(SUMMER, api="https://api.test/v1/"), HERE)
    assert asked == ["https://api.test/v1/search", "https://api.test/v1/search?page=2"]
    assert found.scenes


def test_boxes_are_searched_side_by_side_and_one_fault_ends_all(serve: Serve) -> None:
    area = shapely.box(0, 0, 30, 30)
    api = serve([], above=0, status=403)
    with pytest.raises(FetchError):
        search(api, area)
    assert len(api.asked) < 10
    together = threading.Barrier(2, timeout=10)

    class Slow(Asker):
        def json(self, url: str, *, body: Any = None, most: int = 0) -> Any:
            if body:
                together.wait()
            return {"features": []}

    assert stac.search(Slow(["*"], connections=2), SUMMER, area) == Found(())


def test_what_was_found_is_read_as_it_was_written(serve: Serve, tmp_path: Path) -> None:
    found = search(serve([item(), item("32TQT"), {"id": "x"}, item(version="02.14")]), shapely.box(11, 47, 13, 48))
    bare = replace(found.scenes[0], sensed=None, cloud=None, baseline=None, classification=None)
    bare = replace(bare, bands={"red": replace(bare.bands["red"], transform=None, height=None, crs=None)})
    for each in (found, Found((bare,)), Found(())):
        path = tmp_path / "search.json"
        stac.write(path, each)
        assert stac.read(path) == each


def test_a_damaged_search_is_an_error(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "search.json"
    with pytest.raises(FetchError, match="missing; remove it, and the catalogue is searched again"):
        stac.read(path)
    stac.write(path, search(serve([item()])))
    path.write_text(path.read_text().replace("32TPT", "32TQT"))
    with pytest.raises(FetchError, match="was edited or damaged"):
        stac.read(path)


def test_rustac(tmp_path: Path) -> None:
    """A server that was written by others: pages, boxes, times, and an id of a collection that it has not."""
    try:
        with rustac(tmp_path, [*days(130), item("32TQT"), item("01WCP"), item(day="2020-09-01")]) as url:
            found = search(url)
            assert len(found.scenes) == 130
            assert [scene.tile for scene in search(url, shapely.box(179.6, 66.1, 180.4, 66.9)).scenes] == ["01WCP"]
            with pytest.raises(FetchError, match="there is no such collection"):
                search(url, setting=replace(SUMMER, collection="sentinel-9"))
    except FileNotFoundError:
        pytest.skip("rustac is not installed")


def test_the_halves_of_a_part_cover_it() -> None:
    from geoembed.archives import scenes

    parts = [pages.Part((0.0, 0.0, 1.0, 2.0), *scenes.span("jja", 2020))]
    for _ in range(60):
        halves = parts[-1].halves()
        if not halves:
            break
        first, second = halves
        assert (first.end == second.start) != (first.box != second.box)
        parts.append(second)
    assert parts[-1].end - parts[-1].start <= pages.SHORTEST
    assert len(parts) < 40


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats()
    | st.sampled_from(["", "next", "http://[", "/x", "POST"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["rel", "href", "body", "method", "id", "matched"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("features", "links", "numberMatched", "context"), JUNK)) | JUNK
)
def test_any_answer_gives_scenes_or_one_line(answer: Any) -> None:
    class Junk(Asker):
        def json(self, url: str, *, body: Any = None, most: int = 0) -> Any:
            return answer

    try:
        found = stac.search(Junk(["*"]), SUMMER, HERE)
    except FetchError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 500
    else:
        assert found.scenes == ()
