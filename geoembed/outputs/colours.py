"""Colours: palettes that colour-blind readers tell apart, and the colours that maps give to land cover by custom."""

import re
from collections.abc import Sequence

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PINK, YELLOW, GREY = "#56B4E9", "#CC79A7", "#F0E442", "#8C8C8C"
PALETTE = (BLUE, ORANGE, GREEN, VERMILION, SKY, PINK, YELLOW, GREY)
"""Okabe and Ito's colours, which colour-blind readers tell apart (jfly.uni-koeln.de/color, 2008)."""

RAMP = ("#440154", "#3B528B", "#21918C", "#5EC962", "#FDE725")
"""Viridis (matplotlib) at 0, 0.25, 0.5, 0.75 and 1: equal steps in lightness."""

_WORLDCOVER = {
    10: ("#006400", "trees tree forest forests wood woods woodland woodlands vegetation orchard"),
    20: ("#FFBB22", "shrubland shrubs shrub scrub scrubland bush heath heathland moor moorland moors chaparral"),
    30: ("#FFFF4C", "grassland grasslands grass pasture pastures meadow meadows rangeland savanna steppe herbaceous"),
    40: ("#F096FF", "cropland croplands crop crops farmland arable agriculture agricultural field fields vineyard"
         " vineyards rice maize wheat irrigated"),
    50: ("#FA0000", "built buildings building builtup urban city town settlement settlements residential industrial"
         " artificial impervious road roads highway"),
    60: ("#B4B4B4", "bare sparse barren soil rock rocks sand sands desert beach beaches dunes"),
    70: ("#F0F0F0", "snow ice glacier glaciers"),
    80: ("#0064C8", "water waters river rivers lake lakes sea ocean oceans reservoir reservoirs pond ponds flood"),
    90: ("#0096A0", "wetland wetlands flooded marsh marshes swamp swamps bog bogs peat peatland peatlands fen"),
    95: ("#00CF75", "mangrove mangroves"),
    100: ("#FAE6A0", "moss mosses lichen lichens tundra"),
}  # fmt: skip
"""For each value of ESA WorldCover its colour (product user manual v2.0, table 3), and words that name such a class.

Words are those of WorldCover, Dynamic World, CORINE and EuroSAT; a name of several words is told by the first that
stands here (`flooded vegetation`, `snow and ice`, `bare rock`, `sparse vegetation`).
"""

_BY_WORD = {word: colour for colour, words in _WORLDCOVER.values() for word in words.split()}

_REST = frozenset(("no", "false", "none", "other", "others", "rest", "background", "absent", "negative"))

_APART = 60.0
"""Two colours less than this apart, as a distance in red, green and blue of 0 to 255 each, look too much alike."""


def is_rest(name: str, names: Sequence[str]) -> bool:
    """Tell whether a class is what is left beside the others of a legend: `other`, or `not water` beside `water`."""
    words = _words(name)
    if len(words) == 1:
        return words[0] in _REST
    return words[0] in ("no", "non", "not") and any(_words(other) == words[1:] for other in names) if words else False


def of_land_cover(name: str) -> str | None:
    """Return the colour that the WorldCover legend gives to a class of this name; None where it has no such class."""
    return next((_BY_WORD[word] for word in _words(name) if word in _BY_WORD), None)


def of_classes(names: Sequence[str]) -> list[str | None]:
    """Return a colour for each class of a legend, no two alike; None for the class that is what is left.

    The first class of a kind of land cover has the WorldCover legend's colour; where all of three names or more are
    values of that legend, each has its value's. Other classes have colours of the palette that are not near these, then
    darker and paler ones.
    """
    rest = [is_rest(name, names) for name in names]
    if len(names) > 2 and all(name.isdigit() and int(name) in _WORLDCOVER for name in names):
        colours: list[str | None] = [_WORLDCOVER[int(name)][0] for name in names]
    else:
        colours = [None if left else of_land_cover(name) for name, left in zip(names, rest, strict=True)]
    colours = [None if colour in colours[:i] else colour for i, colour in enumerate(colours)]
    for i, colour in enumerate(colours):
        if colour is None and not rest[i]:
            used = list(filter(None, colours))
            colours[i] = next((free for free in _FREE if _is_apart(free, used)), _FREE[i % len(_FREE)])
    return colours


def rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of #RRGGBB."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def mixed(colour: str, other: str, share: float) -> str:
    """Return a colour with a share of another mixed in."""
    parts = (round(a + (b - a) * share) for a, b in zip(rgb(colour), rgb(other), strict=True))
    return "#" + "".join(f"{part:02X}" for part in parts)


def _words(name: str) -> list[str]:
    """Return the words of a class name in small letters: `SeaLake`, `sea_lake` and `Sea-lake` have the same two."""
    return re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def _is_apart(colour: str, others: Sequence[str]) -> bool:
    return all(sum((a - b) ** 2 for a, b in zip(rgb(colour), rgb(other), strict=True)) > _APART**2 for other in others)


_FREE = (
    *(VERMILION, GREEN, PINK, ORANGE, YELLOW, SKY, BLUE, GREY),
    *(mixed(colour, "#000000", 0.5) for colour in PALETTE),
    *(mixed(colour, "#FFFFFF", 0.5) for colour in PALETTE),
)
"""Colours of classes of no known land cover, in order: the first is not that of water, and stands out on imagery."""
