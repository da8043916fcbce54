"""Searching pgstac, which most catalogues run on: the scenes are those of the light server, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import shapely
from archives import real_servers
from archives.catalogue import COLLECTION, Asker, changed, item, serving
from archives.test_stac import HERE, SUMMER, days, ids, search

from geoembed.archives import stac
from geoembed.errors import FetchError

ITEMS = [
    *days(130),
    *(item("32TQT", f"2020-07-{day:02}", version="02.14") for day in range(1, 15)),
    *(item("33TUN", f"2020-07-{day:02}") for day in range(1, 8)),
    item("01WCP"),
    item(day="2020-09-01", id="S2A_autumn"),
    item(day="2020-07-30", id="S2A_again_0"),
    changed(item(day="2020-07-30", id="S2A_again_1"), "properties", "s2:generation_time", to="2021-01-01T00:00:00Z"),
    item(day="2020-07-29", id="S2A_cloudy", more={"eo:cloud_cover": 99.0}),
]


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    with real_servers.pgstac(COLLECTION, ITEMS) as url:
        yield url


AREAS = {
    "one tile": HERE,
    "two zones": shapely.box(11.5, 47.2, 13.5, 47.8),
    "both sides of 180 degrees": shapely.box(179.6, 66.1, 180.4, 66.9),
    "sea": shapely.box(-30, 10, -29, 11),
}


@pytest.mark.parametrize("area", AREAS)
def test_the_scenes_are_those_of_another_server(api: str, area: str) -> None:
    with serving() as serve:
        expected = search(serve(ITEMS), AREAS[area])
    found = search(api, AREAS[area])
    assert ids(found) == ids(expected)
    assert {scene.id: scene for scene in found.scenes} == {scene.id: scene for scene in expected.scenes}
    counted = ("cloudy", "duplicates", "unusable")
    assert [getattr(found, name) for name in counted] == [getattr(expected, name) for name in counted]


def test_pages_and_their_tokens_are_followed(api: str) -> None:
    client = Asker(["*"], connections=2)
    found = stac.search(client, replace(SUMMER, api=api), HERE)
    assert len(found.scenes) == 129, "of 133 three are doubled and one is cloudy"
    assert client.traffic.requests == 2, "a page of 100 and the rest"


def test_a_collection_that_it_has_not_is_named(api: str) -> None:
    with pytest.raises(FetchError, match="there is no such collection"):
        search(api, setting=replace(SUMMER, collection="sentinel-9"))
