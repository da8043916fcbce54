"""Searching pgstac, which most catalogues run on: the scenes are those of the light servers, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
import shapely
from archives import catalogue, real_servers
from archives.catalogue import COLLECTION, changed, item, serving
from archives.test_items import of_file
from archives.test_stac import HERE, SUMMER, days, search

from geoembed.archives import items, stac
from geoembed.archives.client import Client
from geoembed.archives.stac import Found
from geoembed.errors import FetchError
from geoembed.imagery.catalogues import Season, Stac

ITEMS = [
    *days(230),
    *(item("32TQT", f"2020-07-{day:02}", version="02.14") for day in range(1, 15)),
    *(item("33TUN", f"2020-07-{day:02}") for day in range(1, 8)),
    item("01WCP"),
    item(day="2020-09-01", id="S2A_autumn"),
    item(day="2020-07-30", id="S2A_again_0"),
    changed(item(day="2020-07-30", id="S2A_again_1"), "properties", "s2:generation_time", to="2021-01-01T00:00:00Z"),
    item(day="2020-07-29", id="S2A_cloudy", more={"eo:cloud_cover": 99.0}),
    changed(item("33TUN", "2020-07-20", id="S2A_no_offset"), "assets", "red", "raster:bands", to=...),
    changed(item("33TUN", "2020-07-21", id="S2A_no_red"), "assets", "red", to=...),
    item(day="2020-06-01", at="00:00:00", id="S2A_first"),
    item(day="2020-05-31", at="23:59:59", id="S2A_before"),
]

REAL: list[tuple[str, int, Season]] = [
    ("es-v1_sentinel-2-c1-l2a_S2A_13TDE_20240412", 2024, "mam"),
    ("es-v1_sentinel-2-c1-l2a_S2B_20EPT_20250731", 2025, "jja"),
    ("es-v1_sentinel-2-l2a_S2B_20EPT_20250731", 2025, "jja"),
    ("pc_sentinel-2-l2a_S2B_13TDE_20240825_0511", 2024, "jja"),
]
"""Items of providers; year, and season."""


def collection(name: str, of: Any) -> Any:
    """A collection whose `item_assets` are those of an item, which pgstac leaves out of its items and adds anew."""
    return {
        "type": "Collection", "id": name, "description": "-", "license": "other", "stac_version": "1.0.0",
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
        "item_assets": {
            key: {word: value for word, value in asset.items() if word not in ("href", "file:size")}
            for key, asset in of["assets"].items()
        },
        "links": [],
    }  # fmt: skip


@pytest.fixture(scope="module")
def real() -> dict[str, tuple[Any, Stac]]:
    """The items of providers, and settings that search for them; none where they are not beside the checkout."""
    found = {}
    for name, year, season in REAL:
        try:
            value, settings = of_file(name)
        except pytest.skip.Exception:
            continue
        found[name] = value, replace(settings, year=year, seasons=(season,), max_cloud=100.0)
    return found


@pytest.fixture(scope="module")
def api(real: dict[str, tuple[Any, Stac]]) -> Iterator[str]:
    known = {COLLECTION: collection(COLLECTION, ITEMS[0])}
    for value, _ in real.values():
        known.setdefault(value["collection"], collection(value["collection"], value))
    with real_servers.pgstac(list(known.values()), [*ITEMS, *(value for value, _ in real.values())]) as url:
        yield url


AREAS = {
    "one tile": (HERE, {"32TPT"}),
    "two zones": (shapely.box(11.5, 47.2, 13.5, 47.8), {"32TPT", "32TQT", "33TUN"}),
    "both sides of 180 degrees": (shapely.box(179.6, 66.1, 180.4, 66.9), {"01WCP"}),
    "sea": (shapely.box(-30, 10, -29, 11), set[str]()),
}
"""Areas, and the tiles that have scenes there."""


class Getter(Client):
    """A client whose searches with a body are refused, so that they are made without one."""

    def json(self, url: str, *, body: Mapping[str, Any] | None = None, most: int = 2**25) -> Any:
        if body is not None:
            raise FetchError("no searches with a body here", 405)
        return super().json(url, most=most)


KINDS = pytest.mark.parametrize("kind", [Client, Getter], ids=["post", "get"])


def ask(api: str, area: Any, settings: Stac = SUMMER, kind: type[Client] = Client) -> tuple[Found, int]:
    """What the client that users have finds, and in how many requests."""
    client = kind([urlsplit(api).netloc], tries=1)
    found = stac.search(client, replace(settings, api=api), area)
    client.close()
    return found, client.traffic.requests


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Found]:
    """What is found on two light servers, by server and area."""
    with serving() as serve, catalogue.rustac(tmp_path_factory.mktemp("rustac"), ITEMS) as rustac:
        servers = {"our own": serve(ITEMS).url, "rustac": rustac}
        return {(name, area): search(at, AREAS[area][0]) for name, at in servers.items() for area in AREAS}


@KINDS
@pytest.mark.parametrize("area", AREAS)
def test_the_scenes_are_those_of_light_servers(
    api: str, light: dict[tuple[str, str], Found], area: str, kind: type[Client]
) -> None:
    where, tiles = AREAS[area]
    found, _ = ask(api, where, kind=kind)
    for server in ("our own", "rustac"):
        assert replace(found, reasons=()) == replace(light[server, area], reasons=()), server
    assert {scene.tile for scene in found.scenes} == tiles


@KINDS
def test_pages_and_their_tokens_are_followed(api: str, kind: type[Client]) -> None:
    found, requests = ask(api, HERE, kind=kind)
    assert (found.duplicates, found.cloudy, found.unusable) == (3, 1, 0), (
        "two again, and one of which the later is cloudy"
    )
    assert len(found.scenes) == 234 - 3 - 1, "of those of the days, two again, a cloudy one, the first moment of June"
    assert requests == 3, "a hundred a page"


def test_what_a_collection_says_of_its_assets_is_not_taken_for_what_an_item_says(api: str) -> None:
    """The collection's assets have an offset of -0.1; pgstac keeps of an item only what differs from them."""
    found, _ = ask(api, AREAS["two zones"][0])
    scenes = {scene.id: scene for scene in found.scenes}
    expected = {}
    for one in ITEMS:
        if one["id"] in scenes:
            expected[one["id"]] = items.scene(one, SUMMER, "here")[0]
    assert scenes == expected
    assert scenes[ITEMS[0]["id"]].bands["red"].offset == -0.1
    assert {scene.bands["red"].offset for scene in scenes.values() if scene.baseline == "02.14"} == {0.0}
    assert "S2A_no_offset" in scenes
    assert "has no asset 'red'" in found.reasons[0]
    assert found.unusable == 1


@pytest.mark.parametrize("name", [row[0] for row in REAL])
def test_the_items_of_providers_come_as_they_were_loaded(
    api: str, real: dict[str, tuple[Any, Stac]], name: str
) -> None:
    if name not in real:
        pytest.skip("the real items are not beside this checkout")
    value, settings = real[name]
    expected, outline = items.scene(value, settings, "here")
    found, _ = ask(api, outline.centroid.buffer(0.05), settings)
    assert found == Found((expected,))


def test_a_collection_that_it_has_not_is_named(api: str) -> None:
    with pytest.raises(FetchError, match="there is no such collection"):
        ask(api, HERE, replace(SUMMER, collection="sentinel-9"))
