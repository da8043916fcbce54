"""The kinds of ground, finer than any map tells them apart, and the WorldCover class of each."""

from __future__ import annotations

from enum import IntEnum, auto

import numpy as np


class Surface(IntEnum):
    """What a pixel is; the order is that of the tables in `optics` and `radar`."""

    WATER = 0
    CONIFER = auto()
    BROADLEAF = auto()
    ORCHARD = auto()
    SHRUB = auto()
    GRASS = auto()
    PASTURE = auto()
    CEREAL = auto()
    SUMMER_CROP = auto()
    RICE = auto()
    FALLOW = auto()
    SOIL = auto()
    ROCK = auto()
    SAND = auto()
    MUD = auto()
    MARSH = auto()
    TILES = auto()
    BRIGHT_ROOF = auto()
    DARK_ROOF = auto()
    PAVED = auto()
    GREENHOUSE = auto()
    GARDEN = auto()


BUILT = (Surface.TILES, Surface.BRIGHT_ROOF, Surface.DARK_ROOF, Surface.PAVED, Surface.GREENHOUSE)

# WorldCover product user manual v2.0 (Van De Kerchove et al. 2022), table of classes: orchards are tree cover,
# pastures grassland, and greenhouses built-up.
WORLDCOVER = {
    Surface.WATER: 80, Surface.CONIFER: 10, Surface.BROADLEAF: 10, Surface.ORCHARD: 10, Surface.SHRUB: 20,
    Surface.GRASS: 30, Surface.PASTURE: 30, Surface.CEREAL: 40, Surface.SUMMER_CROP: 40, Surface.RICE: 40,
    Surface.FALLOW: 40, Surface.SOIL: 60, Surface.ROCK: 60, Surface.SAND: 60, Surface.MUD: 60, Surface.MARSH: 90,
    Surface.TILES: 50, Surface.BRIGHT_ROOF: 50, Surface.DARK_ROOF: 50, Surface.PAVED: 50,
    Surface.GREENHOUSE: 50, Surface.GARDEN: 30,
}  # fmt: skip

# Colours of the same manual: code -> red, green, blue.
LEGEND = {
    10: (0, 100, 0), 20: (255, 187, 34), 30: (255, 255, 76), 40: (240, 150, 255), 50: (250, 0, 0),
    60: (180, 180, 180), 80: (0, 100, 200), 90: (0, 150, 160),
}  # fmt: skip

CODES = np.array([WORLDCOVER[surface] for surface in Surface], np.uint8)
