"""Scenes: duplicates, seasons, and months without any."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from archives.catalogue import COLLECTION, item

from geoembed.archives import items, scenes
from geoembed.archives.scenes import Scene
from geoembed.imagery.catalogues import SEASONS, Season, Stac

SETTINGS = Stac(collection=COLLECTION)


def scene(*words: str, **more: Any) -> Scene:
    return items.scene(item(*words, **more), SETTINGS, "catalogue")[0]


def test_a_product_that_was_processed_again_takes_the_place_of_the_first() -> None:
    old, new = scene(version="02.14"), scene(version="05.00")
    assert scenes.latest([new, old]) == scenes.latest([old, new]) == [new]


@pytest.mark.parametrize(("low", "high"), [("02.14", "05.00"), ("05.09", "05.11"), ("03.01", "04.00")])
def test_the_highest_baseline_stays_whenever_it_was_made(low: str, high: str) -> None:
    later = replace(scene(version=low), generation="29990101T000000")
    assert scenes.latest([later, scene(version=high)])[0].baseline == high


def test_of_one_baseline_the_latest_generation_stays() -> None:
    first = scene()
    second = replace(first, id="second", generation=first.generation + "/000001")
    assert scenes.latest([second, first]) == [second]


def test_an_unknown_baseline_gives_way_to_a_known_one() -> None:
    assert scenes.latest([replace(scene(), id="?", baseline=None), scene()])[0].baseline == "05.00"


@pytest.mark.parametrize(
    "other",
    [scene(at="10:00:07"), scene(day="2020-06-18"), scene("32TQT"), replace(scene(), id="b", platform="sentinel-2b")],
    ids=["datastrip of one day", "day", "tile", "platform"],
)
def test_other_pixels_are_no_duplicates(other: Scene) -> None:
    assert len(scenes.latest([scene(), other])) == 2


def test_products_of_unknown_datastrips_are_all_kept() -> None:
    both = [replace(scene(), id=name, sensed=None) for name in "ba"]
    assert [one.id for one in scenes.latest(both)] == ["a", "b"]


def test_scenes_come_in_the_order_of_tile_time_and_id() -> None:
    mixed = [scene("33TUN"), scene(day="2020-07-01"), scene(day="2020-06-02"), scene("01WCP")]
    assert [(one.tile, one.time.day) for one in scenes.latest(mixed)] == [
        ("01WCP", 15), ("32TPT", 2), ("32TPT", 1), ("33TUN", 15),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("djf", (2019, 12), (2020, 3)),
        ("mam", (2020, 3), (2020, 6)),
        ("jja", (2020, 6), (2020, 9)),
        ("son", (2020, 9), (2020, 12)),
    ],
)
def test_a_season_begins_with_its_first_month(name: Season, start: tuple[int, int], end: tuple[int, int]) -> None:
    assert scenes.span(name, 2020) == (datetime(*start, 1, tzinfo=UTC), datetime(*end, 1, tzinfo=UTC))


def test_seasons_follow_one_another_without_a_gap() -> None:
    spans = [scenes.span(name, year) for year in (2019, 2020, 2021) for name in SEASONS]
    assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))


@pytest.mark.parametrize("name", SEASONS)
def test_a_time_lies_in_the_season_whose_span_holds_it(name: Season) -> None:
    start, end = scenes.span(name, 2020)
    last = datetime.fromtimestamp(end.timestamp() - 1e-3, UTC)
    assert scenes.season(start) == scenes.season(last) == (name, 2020)
    assert scenes.season(end) != (name, 2020)


def test_months_without_a_scene_are_named() -> None:
    found = [scene(day="2019-12-03"), scene(day="2020-02-29")]
    assert scenes.empty_months(found, "djf", 2020) == ["2020-01"]
    assert scenes.empty_months(found, "djf", 2021) == ["2020-12", "2021-01", "2021-02"]
    assert scenes.empty_months([], "son", 2020) == ["2020-09", "2020-10", "2020-11"]
