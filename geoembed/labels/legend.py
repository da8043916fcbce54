"""The WorldCover legend: names and values of land cover classes.

ESA WorldCover 10 m 2021 v200 (Zanaga et al. 2022, doi:10.5281/zenodo.7254221), product user manual, table 3.
"""

import re
from collections.abc import Mapping

from geoembed.errors import LabelError, nearest

WORLDCOVER = {
    "tree_cover": 10,
    "shrubland": 20,
    "grassland": 30,
    "cropland": 40,
    "built_up": 50,
    "bare": 60,
    "snow_and_ice": 70,
    "water": 80,
    "wetland": 90,
    "mangroves": 95,
    "moss_and_lichen": 100,
}
"""Values of the classes in a WorldCover raster, by name as geoembed spells it."""

COLOURS = {
    10: (0, 100, 0), 20: (255, 187, 34), 30: (255, 255, 76), 40: (240, 150, 255), 50: (250, 0, 0), 60: (180, 180, 180),
    70: (240, 240, 240), 80: (0, 100, 200), 90: (0, 150, 160), 95: (0, 207, 117), 100: (250, 230, 160),
}  # fmt: skip
"""Red, green and blue of the classes in a WorldCover raster, by value."""

_SYNONYMS = {
    "trees": "tree_cover",
    "forest": "tree_cover",
    "shrub": "shrubland",
    "grass": "grassland",
    "crops": "cropland",
    "built": "built_up",
    "builtup": "built_up",
    "bare_sparse_vegetation": "bare",
    "snow": "snow_and_ice",
    "permanent_water": "water",
    "permanent_water_bodies": "water",
    "herbaceous_wetland": "wetland",
    "moss": "moss_and_lichen",
}


def value_of(name: str) -> int:
    """Return the WorldCover value of a class name; case, blanks, slashes and hyphens do not matter.

    Raises LabelError, naming the nearest class, where the legend has no such name.
    """
    key = "_".join(re.split(r"[-/_\s]+", name.strip().lower()))
    key = _SYNONYMS.get(key, key)
    if key not in WORLDCOVER:
        hint = nearest(key, [*WORLDCOVER, *_SYNONYMS], f"it has {', '.join(WORLDCOVER)}")
        raise LabelError(
            f"--class {name}: not in the WorldCover legend; give its value, as in --class {name}=NUMBER{hint}"
        )
    return WORLDCOVER[key]


def has_colours(colours: Mapping[int, tuple[int, ...]]) -> bool:
    """Tell whether a colour table, red, green and blue by value, is that of WorldCover or of five of its classes."""
    black = (0, 0, 0)  # GDAL's colour of what a table lacks
    alike = [colours.get(value, black) == colour for value, colour in COLOURS.items()]
    return sum(alike) >= 5 and all(colours.get(value, black) in (colour, black) for value, colour in COLOURS.items())


def name_of(value: float) -> str | None:
    """Return the name of a WorldCover value, None where the legend does not have the value."""
    return next((name for name, known in WORLDCOVER.items() if known == value), None)
