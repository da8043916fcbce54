"""What Sentinel-2 sees: seasonal surface reflectance in red, green and blue.

Reflectances are round numbers within the ranges of the ECOSTRESS spectral library 1.0 (Meerdink et al. 2019) and the
USGS spectral library 7 (Kokaly et al. 2017) at 665, 560 and 490 nm; green canopies and dark forest as Claverie et al.
2018 (harmonised Landsat and Sentinel-2) show them; water from clear to silty as in Pahlevan et al. 2020.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from geoembed.earth.landscape import Landscape
from geoembed.earth.noise import Field, fractal
from geoembed.earth.places import BANDS, SEASONS, Place
from geoembed.earth.relief import slope
from geoembed.earth.surfaces import Surface as S  # noqa: N817  (tables of it fill this module)

if TYPE_CHECKING:
    from collections.abc import Mapping

DRY = (0.230, 0.185, 0.120)  # straw and withered grass
CLEAR, SILTY = (0.012, 0.024, 0.030), (0.165, 0.145, 0.095)
SNOW = (0.78, 0.80, 0.82)
SKY = (0.018, 0.026, 0.042)  # what haze adds at full strength, most in blue
DIFFUSE = (0.10, 0.13, 0.18)  # share of the light that comes from the sky and reaches shadows
LEAF = {
    S.CONIFER: (0.022, 0.034, 0.021), S.BROADLEAF: (0.026, 0.052, 0.026), S.ORCHARD: (0.042, 0.062, 0.036),
    S.SHRUB: (0.050, 0.066, 0.040), S.MARSH: (0.040, 0.058, 0.038), S.PASTURE: (0.045, 0.085, 0.042),
    S.RICE: (0.040, 0.080, 0.040), S.GRASS: (0.055, 0.088, 0.046), S.GARDEN: (0.052, 0.082, 0.046),
}  # fmt: skip
CROP_LEAF = (0.036, 0.076, 0.034)
FLOOR = {  # the colour under the plants; for other surfaces the place's soil or rock
    S.CONIFER: (0.045, 0.045, 0.035), S.BROADLEAF: (0.105, 0.085, 0.060), S.SAND: (0.330, 0.260, 0.180),
    S.MUD: (0.175, 0.150, 0.108),
    S.MARSH: (0.040, 0.045, 0.040), S.TILES: (0.195, 0.130, 0.100), S.BRIGHT_ROOF: (0.285, 0.275, 0.26),
    S.DARK_ROOF: (0.125, 0.120, 0.120), S.PAVED: (0.135, 0.130, 0.122), S.GREENHOUSE: (0.30, 0.305, 0.29),
}  # fmt: skip
# Shares of the ground under green and under withered plants in winter, spring, summer and autumn.
GREEN = {
    S.CONIFER: (0.88, 0.9, 0.92, 0.9), S.BROADLEAF: (0.35, 0.75, 0.95, 0.65), S.ORCHARD: (0.3, 0.5, 0.6, 0.5),
    S.PASTURE: (0.45, 0.85, 0.7, 0.6), S.CEREAL: (0.40, 0.92, 0.12, 0.10), S.SUMMER_CROP: (0.06, 0.15, 0.92, 0.35),
    S.RICE: (0.15, 0.10, 0.75, 0.55), S.FALLOW: (0.22, 0.35, 0.20, 0.12), S.MARSH: (0.35, 0.6, 0.85, 0.7),
    S.SOIL: (0.06, 0.1, 0.06, 0.05), S.ROCK: (0.08, 0.12, 0.12, 0.08), S.GARDEN: (0.4, 0.7, 0.7, 0.6),
}  # fmt: skip
WITHERED = {
    S.CEREAL: (0.05, 0.0, 0.65, 0.25), S.SUMMER_CROP: (0.25, 0.05, 0.0, 0.45), S.RICE: (0.25, 0.05, 0.05, 0.4),
    S.FALLOW: (0.3, 0.2, 0.45, 0.4), S.MARSH: (0.2, 0.1, 0.05, 0.1), S.BROADLEAF: (0.2, 0.05, 0.0, 0.2),
    S.PASTURE: (0.3, 0.08, 0.2, 0.25), S.GARDEN: (0.3, 0.1, 0.15, 0.2), S.SHRUB: (0.2, 0.1, 0.15, 0.2),
}  # fmt: skip
WEEDS = (0.4, 0.6, 0.9, 0.8)  # cover of floating plants, where they grow, winter to autumn
# Strength of the texture within a cover at 10 m (standard deviation of the logarithm).
ROUGH = {
    S.WATER: 0.02, S.CONIFER: 0.22, S.BROADLEAF: 0.20, S.ORCHARD: 0.22, S.SHRUB: 0.16, S.GRASS: 0.09, S.PASTURE: 0.05,
    S.ROCK: 0.17, S.SAND: 0.08, S.SOIL: 0.09, S.TILES: 0.16, S.BRIGHT_ROOF: 0.22, S.DARK_ROOF: 0.20, S.PAVED: 0.12,
    S.MUD: 0.05,    S.GREENHOUSE: 0.20, S.GARDEN: 0.18, S.MARSH: 0.14,
}  # fmt: skip


def yearly(place: Place, table: Mapping[S, tuple[float, ...]], natural: float) -> NDArray[np.float32]:
    """Return shares (surface, phase) from a table; grass and shrub follow the place's own year."""
    rows = np.zeros((len(S), 4), np.float32)
    for surface, values in table.items():
        rows[surface] = values
    year = np.asarray(place.green)
    if natural > 0:
        rows[S.GRASS], rows[S.SHRUB] = year, 0.25 + 0.5 * year
        rows[S.BROADLEAF] = np.maximum(rows[S.BROADLEAF], 0.9 * (np.min(year) > 0.14))
        rows[S.GARDEN] = 0.5 * (rows[S.GARDEN] + year)
    else:
        rows[S.GRASS] = 0.85 * (1 - year)
    return rows


def at_phase(table: NDArray[np.float32], land: Landscape, phase: int) -> Field:
    """Look up each pixel in a table (surface, phase); early parcels lean to the next phase, late ones to the last."""
    now, before, after = (table[:, (phase + k) % 4] for k in (0, -1, 1))
    away = np.abs(land.shift)
    beside = np.where(land.shift < 0, after[land.surface], before[land.surface])
    return np.asarray((1 - away) * now[land.surface] + away * beside)


def observe(land: Landscape, rng: np.random.Generator) -> dict[str, NDArray[np.uint16]]:
    """Return stored Sentinel-2 values (reflectance * 10000, 0 where every date was cloudy) per channel name."""
    place, n = land.place, land.height.shape[0]
    texture, speckles = fractal(rng, n, 1.2, 40, 2), fractal(rng, n, 0.3, 6, 2)
    strength = np.full(len(S), 0.06, np.float32)
    for surface, rough in ROUGH.items():
        strength[surface] = rough
    grain = np.exp(strength[land.surface] * (0.55 * texture + 0.8 * speckles)).astype(np.float32)
    tone = fractal(rng, n, 2.6, 500, 12)  # of the soil, over hundreds of metres
    # Salt and mud crusts: bright rims, damp hearts, streaks.
    crust = np.where(
        land.surface == S.MUD, np.exp(0.07 * texture + 0.14 * tone - 0.35 * np.tanh(land.playa / 4) + 0.15), 1
    )
    grain = (grain * crust).astype(np.float32)
    green_share, dry_share = yearly(place, GREEN, 1.0), yearly(place, WITHERED, 0.0)
    channels = {}
    for index, season in enumerate(SEASONS):
        phase = place.phase(index)
        light, shade = sunlight(land.height, place.sun[phase], place.south)
        green = at_phase(green_share, land, phase)
        green = np.clip(green * (1 + 0.30 * land.vigour) + 0.04 * land.vigour, 0, 1)
        dry = np.minimum(at_phase(dry_share, land, phase), 1 - green)
        soil = (1.22 - 0.32 * place.wet[phase] - 0.38 * land.damp * (0.4 + place.wet[phase])) * np.exp(0.13 * tone)
        snow = _snow(land, phase, texture)
        sheet = land.drowned(phase)
        mats = land.weeds * WEEDS[phase]
        paddy = np.clip((land.surface == S.RICE) * (phase == 1) * (1.2 - 2 * np.abs(land.shift)), 0, 1) * (1 - green)
        cloud, veil = _cloud(rng, n, place.cloud[phase])
        calm = 0.012 * place.wind[phase] * fractal(rng, n, 2.0, 120, 6)
        wind = 0.006 * place.wind[phase]
        for band, name in enumerate(BANDS):
            value: NDArray[np.floating] = _ground(place, land, band, green, dry, soil) * grain
            flood = CLEAR[band] + (SILTY[band] - CLEAR[band]) * 0.45
            value = value * (1 - 0.8 * paddy) + 0.8 * paddy * flood
            silt = np.clip(land.silt * (0.75 + 0.5 * place.wet[phase]), 0, 1)
            value = np.where(sheet, CLEAR[band] + (SILTY[band] - CLEAR[band]) * silt + wind + calm, value)
            value = value * (1 - mats) + LEAF[S.PASTURE][band] * (1 + 0.25 * texture) * mats
            value = value * (1 - snow) + SNOW[band] * snow
            value = value * (light * (1 - DIFFUSE[band]) * (1 - shade) + DIFFUSE[band])
            value = scipy.ndimage.gaussian_filter(value.astype(np.float32), 0.65, mode="nearest")
            haze = place.haze / 0.02 * SKY[band] * (0.8 + 0.15 * tone) + veil * (0.25 + 0.03 * band)
            value = value * (1 - veil) + haze + 0.002 * rng.standard_normal((n, n), dtype=np.float32)
            stored = np.clip(np.rint(value * 10000), 1, 16000)
            channels[f"{season}_{name}"] = np.where(cloud, 0, stored).astype(np.uint16)
    return channels


def _ground(place: Place, land: Landscape, band: int, green: Field, dry: Field, soil: Field) -> Field:
    leaf = np.array([LEAF.get(surface, CROP_LEAF)[band] for surface in S], np.float32)
    floor = np.array([FLOOR.get(surface, place.soil)[band] for surface in S], np.float32)
    floor[S.ROCK] = place.rock[band]
    floor[S.MUD] = 0.6 * floor[S.MUD] + 0.45 * place.soil[band]
    for roof in (S.TILES, S.BRIGHT_ROOF, S.DARK_ROOF):
        floor[roof] += place.adobe * (0.95 * place.soil[band] - floor[roof])
    damped = np.array([surface not in FLOOR for surface in S])  # roofs and sand do not darken when wet
    under = floor[land.surface] * np.where(damped[land.surface], soil, 1.0)
    return np.asarray(green * leaf[land.surface] + dry * DRY[band] + (1 - green - dry) * under, np.float32)


def _snow(land: Landscape, phase: int, texture: Field) -> Field:
    share = land.place.snow * (1.0, 0.4, 0.0, 0.2)[phase]
    if share <= 0:
        return np.zeros(land.height.shape, np.float32)
    line = float(np.quantile(land.height[::4, ::4], 1 - share))
    depth = np.clip((land.height - line) / 70 + 0.35 * texture, 0, 1)
    hides = np.full(len(S), 0.9, np.float32)
    hides[[S.CONIFER, S.BROADLEAF, S.WATER]] = 0.25, 0.45, 0.0
    return np.asarray(depth * hides[land.surface])


def sunlight(height: Field, elevation: float, south: bool) -> tuple[Field, Field]:
    """Return direct light relative to flat ground, and cast shadow (0-1), at half past ten local time.

    The sun then stands in the south-east on the northern half of the Earth and in the north-east on the southern.
    """
    east, north = slope(height)
    azimuth = np.deg2rad(32.0 if south else 150.0)
    up = np.deg2rad(elevation)
    toward = np.array([np.sin(azimuth), np.cos(azimuth)])
    facing = np.sin(up) - np.cos(up) * (east * toward[0] + north * toward[1])
    light = np.clip(facing / np.sqrt(1 + east**2 + north**2) / np.sin(up), 0, 2.2)
    reach = float(np.ptp(height)) / np.tan(up) / 10
    over = np.full(height.shape, -1e3, np.float32)
    distance = 2.0
    while distance < min(reach, 160):
        rows, columns = round(-distance * toward[1]), round(distance * toward[0])
        over = np.maximum(over, _moved(height, rows, columns) - np.float32(distance * 10 * np.tan(up)))
        distance *= 1.22
    shade = np.clip((over - height) / 6, 0, 1)
    return light.astype(np.float32), shade.astype(np.float32)


def _moved(field: Field, rows: int, columns: int) -> Field:
    """Return a field moved by some rows and columns; beyond its edge, the edge's values repeat."""
    n, m = field.shape
    r = np.clip(np.arange(n) + rows, 0, n - 1)
    c = np.clip(np.arange(m) + columns, 0, m - 1)
    return field[np.ix_(r, c)]


def _cloud(rng: np.random.Generator, n: int, share: float) -> tuple[NDArray[np.bool_], Field]:
    """Return the pixels that are cloudy on every date, and the haze (0-1) around them."""
    field = fractal(rng, n, 3.2, 350, 8)
    edge = float(np.quantile(field[::4, ::4], 1 - share))
    return field > edge, (0.16 * np.clip(1 - (edge - field) / 0.35, 0, 1) ** 2).astype(np.float32)
