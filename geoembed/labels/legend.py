"""Names of land cover classes: the WorldCover legend.

ESA WorldCover 10 m 2021 v200 (Zanaga et al. 2022, doi:10.5281/zenodo.7254221), product user manual, table 3.
"""

from __future__ import annotations

import difflib

from geoembed.errors import LabelError

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
"""Class names as geoembed spells them, and their values in a WorldCover raster."""

_ALSO = {
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
    """Return the WorldCover value of a class name; case, blanks and hyphens do not matter.

    Raises LabelError, naming the nearest class, where the legend has no such name.
    """
    key = "_".join(name.lower().replace("-", " ").replace("/", " ").replace("_", " ").split())
    key = _ALSO.get(key, key)
    if key in WORLDCOVER:
        return WORLDCOVER[key]
    near = difflib.get_close_matches(key, [*WORLDCOVER, *_ALSO], n=1)
    hint = f"did you mean {near[0]}? Else" if near else f"it has {', '.join(WORLDCOVER)}; else"
    raise LabelError(f"--class {name}: not in the WorldCover legend; {hint} give its value, as in --class {name}=80")


def name_of(value: float) -> str | None:
    """Return the name of a WorldCover value, None where the legend has none."""
    return next((name for name, known in WORLDCOVER.items() if known == value), None)
