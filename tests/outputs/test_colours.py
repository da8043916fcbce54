from itertools import combinations

import numpy as np
import pytest

from geoembed.outputs import colours

WATER, TREES, GRASS, CROPS, BUILT, BARE, SNOW, WETLAND = (
    "#0064C8", "#006400", "#FFFF4C", "#F096FF", "#FA0000", "#B4B4B4", "#F0F0F0", "#0096A0",
)  # fmt: skip


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ("water trees crops built bare snow rangeland", (WATER, TREES, CROPS, BUILT, BARE, SNOW, GRASS)),
        (["Flooded vegetation", "Built Area", "Bare ground", "Snow/ice"], (WETLAND, BUILT, BARE, SNOW)),
        (["flooded_vegetation", "shrub_and_scrub", "grass"], (WETLAND, "#FFBB22", GRASS)),  # Dynamic World
        (["SeaLake", "HerbaceousVegetation", "AnnualCrop", "Highway"], (WATER, GRASS, CROPS, BUILT)),  # EuroSAT
        (["Coniferous forest", "Water bodies", "Bare rocks", "Arable land"], (TREES, WATER, BARE, CROPS)),  # CORINE
        (["10", "80", "95"], (TREES, WATER, "#00CF75")),
    ],
)
def test_known_land_cover_has_the_colours_of_worldcover(names: str | list[str], wanted: tuple[str, ...]) -> None:
    assert tuple(colours.of_classes(names.split() if isinstance(names, str) else names)) == wanted


def test_what_is_left_has_no_colour() -> None:
    assert colours.of_classes(["not water", "water"]) == [None, WATER]
    assert colours.of_classes(["No-Forest", "forest"]) == [None, TREES]
    assert colours.of_classes(["crops", "other"]) == [CROPS, None]
    assert None not in colours.of_classes(["Non-irrigated arable land", "water"]), "a crop, and no remainder"
    assert None not in colours.of_classes(["0", "1", "2"]), "three numbers are three classes"


def test_other_classes_are_told_apart_from_these_and_from_each_other() -> None:
    names = ["water", "alder", "beech", "forest", "oak", *(f"species {i}" for i in range(12))]
    shown = colours.of_classes(names)
    assert shown[0] == WATER and shown[3] == TREES
    values = [np.array(colours.rgb(colour)) for colour in shown if colour]
    assert len(values) == len(names)
    assert min(float(np.linalg.norm(one - other)) for one, other in combinations(values, 2)) > 60
    assert colours.of_classes(["oak", "beech"])[0] == colours.VERMILION, "which no water has"


def test_two_classes_of_one_kind_of_land_cover_have_two_colours() -> None:
    first, second = colours.of_classes(["broad-leaved forest", "coniferous forest"])
    assert first == TREES and second not in (TREES, None)


def test_more_classes_than_colours_have_some_all_the_same() -> None:
    assert None not in colours.of_classes([f"kind {i}" for i in range(100)])
