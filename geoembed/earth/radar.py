"""What Sentinel-1 sees: seasonal gamma0 in VV and VH, and the coherence of repeat passes.

Backscatter levels follow Ulaby and Dobson 1989 (Handbook of radar scattering statistics for terrain, C band, near 38
degrees) and the seasonal global mosaics of Kellndorfer et al. 2022 (Scientific Data 9:73), from which also come the
levels of coherence; the decay model is theirs: gamma(t) = rho + (1 - rho) exp(-t / tau).
"""

from __future__ import annotations

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from geoembed.earth.landscape import Landscape
from geoembed.earth.noise import Field, fractal, mixed, uniform
from geoembed.earth.optics import GREEN, WEEDS, at_phase, yearly
from geoembed.earth.places import SEASONS
from geoembed.earth.relief import slope
from geoembed.earth.surfaces import BUILT
from geoembed.earth.surfaces import Surface as S  # noqa: N817  (tables of it fill this module)

LOOKS = 18  # equivalent number of looks of a seasonal mean: some four looks of a ground range scene, several dates
WINDOW = 10  # independent looks behind a coherence estimate on 20 m pixels
BASELINES = (12, 24, 36, 48)  # days
NOISE = 10 ** (-2.2)  # noise-equivalent backscatter of the instrument, about -22 dB
LOOK = np.deg2rad(102.0)  # azimuth toward the sensor on a descending pass
INCIDENCE = np.deg2rad(38.0)
RESIDUE = 0.6  # share of the noise that thermal noise removal leaves
NADA = -32768

# gamma0 in dB (VV, VH) of each surface bare or leafless, and at full green.
BACKSCATTER = {
    S.WATER: ((-19.0, -27.0), (-19.0, -27.0)), S.CONIFER: ((-9.2, -14.8), (-8.6, -14.2)),
    S.BROADLEAF: ((-9.6, -15.8), (-8.4, -13.8)), S.ORCHARD: ((-10.2, -16.4), (-9.0, -14.6)),
    S.SHRUB: ((-12.2, -18.8), (-10.4, -16.4)), S.GRASS: ((-13.2, -20.4), (-12.4, -18.8)),
    S.PASTURE: ((-12.8, -20.2), (-12.2, -18.6)), S.CEREAL: ((-11.6, -19.4), (-13.6, -19.2)),
    S.SUMMER_CROP: ((-12.0, -19.8), (-9.6, -15.4)), S.RICE: ((-12.6, -20.2), (-9.4, -15.8)),
    S.FALLOW: ((-11.8, -19.4), (-12.2, -18.8)), S.SOIL: ((-13.2, -21.4), (-12.4, -18.8)),
    S.ROCK: ((-8.2, -15.0), (-8.6, -15.0)), S.SAND: ((-18.4, -26.0), (-14.0, -20.0)),
    S.MUD: ((-18.6, -25.5), (-14.0, -20.0)), S.MARSH: ((-12.6, -19.5), (-10.2, -16.6)),
    S.TILES: ((-6.0, -12.8), (-6.0, -12.8)), S.BRIGHT_ROOF: ((-5.2, -12.2), (-5.2, -12.2)),
    S.DARK_ROOF: ((-6.4, -13.2), (-6.4, -13.2)),
    S.PAVED: ((-12.6, -19.8), (-12.6, -19.8)), S.GREENHOUSE: ((-8.6, -15.2), (-8.6, -15.2)),
    S.GARDEN: ((-11.8, -18.2), (-11.0, -16.8)),
}  # fmt: skip
# Long-term coherence rho and decay time tau (days), bare or leafless, and at full green.
MEMORY = {
    S.WATER: ((0.0, 1.5), (0.0, 1.5)), S.CONIFER: ((0.06, 5), (0.05, 4.5)), S.BROADLEAF: ((0.14, 10), (0.04, 4)),
    S.ORCHARD: ((0.28, 24), (0.15, 10)), S.SHRUB: ((0.45, 40), (0.20, 12)), S.GRASS: ((0.38, 30), (0.16, 10)),
    S.PASTURE: ((0.32, 24), (0.14, 9)), S.CEREAL: ((0.34, 34), (0.06, 5)), S.SUMMER_CROP: ((0.34, 34), (0.05, 5)),
    S.RICE: ((0.26, 20), (0.05, 5)), S.FALLOW: ((0.36, 36), (0.14, 9)), S.SOIL: ((0.50, 45), (0.2, 14)),
    S.ROCK: ((0.63, 90), (0.5, 45)), S.SAND: ((0.14, 9), (0.10, 7)), S.MUD: ((0.08, 6), (0.08, 6)),
    S.MARSH: ((0.10, 6), (0.05, 5)), S.TILES: ((0.52, 75), (0.52, 75)), S.BRIGHT_ROOF: ((0.55, 80), (0.55, 80)),
    S.DARK_ROOF: ((0.52, 75), (0.52, 75)), S.PAVED: ((0.44, 50), (0.44, 50)),
    S.GREENHOUSE: ((0.40, 30), (0.40, 30)), S.GARDEN: ((0.28, 20), (0.16, 11)),
}  # fmt: skip


def power(land: Landscape, rng: np.random.Generator) -> dict[str, Field]:
    """Return speckle-free gamma0 in linear power per channel name."""
    n = land.height.shape[0]
    east, north = slope(scipy.ndimage.gaussian_filter(land.height, 1.0, mode="nearest"))
    rise = np.arctan(east * np.sin(LOOK) + north * np.cos(LOOK))  # of the ground away from the sensor's side
    patch, fine = fractal(rng, n, 1.8, 80, 3), fractal(rng, n, 0.4, 8, 2)
    corner = _corners(land)
    green_share = yearly(land.place, GREEN, 1.0)
    channels = {}
    for index, season in enumerate(SEASONS):
        phase = land.place.phase(index)
        green = np.clip(at_phase(green_share, land, phase) * (1 + 0.25 * land.vigour), 0, 1)
        wet = land.place.wet[phase] * (0.5 + land.damp)
        ripple = fractal(rng, n, 2.4, 260, 8)
        sheet = land.drowned(phase)
        flooded = (land.surface == S.RICE) & (phase == 1) & (land.shift > -0.3)
        for band, name in enumerate(("vv", "vh")):
            low = np.array([BACKSCATTER[surface][0][band] for surface in S], np.float32)[land.surface]
            full = np.array([BACKSCATTER[surface][1][band] for surface in S], np.float32)[land.surface]
            level = low + (full - low) * green + corner * (1.0 if band == 0 else 0.6)
            bare = (1 - green) * (corner == 0)
            level += bare * (3.0 - 1.2 * band) * (wet - 0.4)  # moist soil is brighter (Ulaby and Dobson, soils)
            level += np.where(sheet, 0, 0.9 * patch * (0.5 + bare) + 0.9 * fine + 0.8 * land.vigour)
            # Wind roughens open water by up to some ten dB in VV, far less in VH.
            calm, gain, gusts = ((-21.5, 11.5, 2.4), (-27.0, 4.5, 1.0))[band]
            open_water = calm + gain * land.place.wind[phase] + gusts * ripple
            floating = land.weeds * WEEDS[phase]
            open_water = open_water * (1 - floating) + (-10.8 - 6.2 * band + patch) * floating
            level = np.where(sheet, open_water, level)
            level = np.where(flooded, -17.5 - 6.0 * band + 1.5 * patch, level)
            channels[f"{season}_{name}"] = _relief(10 ** (level / 10).astype(np.float32), rise)
    return channels


def _corners(land: Landscape) -> Field:
    """Return the dB that walls add: much where streets run at a right angle to the radar's look, none outside towns.

    Buildings differ in height and in how they reflect; a few are very bright.
    """
    off = np.abs((LOOK - (np.pi / 2 - land.street) + np.pi / 4) % (np.pi / 2) - np.pi / 4)
    n = land.surface.shape[0]
    rows, columns = np.indices((n, n), dtype=np.int64)
    luck = uniform(mixed(rows // 2, columns // 2), 41)
    gain = -3.2 + 7.0 * np.exp(-((off / np.deg2rad(14)) ** 2)) + 7 * luck**3
    roofs = np.isin(land.surface, [int(surface) for surface in BUILT if surface != S.PAVED])
    return np.where(roofs, gain, 0).astype(np.float32)


def _relief(gamma: Field, rise: Field) -> Field:
    # Terrain flattening leaves part of the slope's effect, and cannot remove layover (Small 2011).
    left = (np.tan(INCIDENCE) / np.tan(np.clip(INCIDENCE - rise, 0.12, 1.45))) ** 0.45
    layover = np.clip((rise - 0.9 * INCIDENCE) / 0.1, 0, 1)
    return np.asarray(scipy.ndimage.gaussian_filter(gamma * left * (1 + layover), 0.8, mode="nearest"), np.float32)


def amplitude(powers: dict[str, Field], rng: np.random.Generator) -> dict[str, NDArray[np.int16]]:
    """Return stored gamma0 (dB * 100) per channel: power and noise, times gamma-distributed speckle of LOOKS looks."""
    channels = {}
    for name, value in powers.items():
        seen = rng.standard_gamma(LOOKS, value.shape, np.float32) / np.float32(LOOKS)
        decibels = 10 * np.log10(np.maximum((value + RESIDUE * NOISE) * seen, 1e-5))
        channels[name] = np.rint(100 * decibels).astype(np.int16)
    return channels


def coherence(land: Landscape, powers: dict[str, Field], rng: np.random.Generator) -> dict[str, NDArray[np.uint8]]:
    """Return stored coherence (times 100, at least 1) of VV per channel on 20 m pixels.

    A pixel's coherence is the mean over its parts weighted by their power, times S / (S + N) for the instrument's
    noise.
    """
    green_share = yearly(land.place, GREEN, 1.0)
    tables = np.array([MEMORY[surface] for surface in S], np.float32)  # (surface, bare or green, rho or tau)
    upset = fractal(rng, land.height.shape[0], 2.2, 200, 6)
    channels = {}
    for index, season in enumerate(SEASONS):
        phase = land.place.phase(index)
        green = np.clip(at_phase(green_share, land, phase) * (1 + 0.25 * land.vigour), 0, 1)
        entry = tables[land.surface]
        rho, tau = (entry[..., 0, k] * (1 - green) + entry[..., 1, k] * green for k in (0, 1))
        sheet = land.drowned(phase)
        # Rain and work on the land between the passes differ from field to field and season to season.
        tau = (
            tau
            * np.exp(0.3 * upset + 0.35 * np.sin(9 * land.vigour + 2 * index))
            * (1.15 - 0.5 * land.place.wet[phase])
        )
        rho, tau = np.where(sheet, 0, rho), np.where(sheet, 1.5, tau)
        signal = powers[f"{season}_vv"]
        weight = _halved(signal)
        for days in BASELINES:
            decayed = rho + (1 - rho) * np.exp(-days / tau)
            true = _halved(decayed * signal) / weight * weight / (weight + NOISE)
            stored = np.clip(np.rint(100 * estimated(true.astype(np.float32), WINDOW, rng)), 1, 100)
            channels[f"{season}_coh{days}"] = stored.astype(np.uint8)
    return channels


def estimated(true: Field, looks: int, rng: np.random.Generator) -> Field:
    """Return the sample coherence that `looks` independent looks give for a true coherence.

    Drawn exactly, from the Bartlett factor of a complex Wishart matrix, so it has the bias and the scatter that Touzi
    et al. 1999 derive: for a true coherence near 0 it is about sqrt(pi / (4 * looks)) and never 0.
    """
    first = np.sqrt(rng.standard_gamma(looks, true.shape, np.float32))
    second = rng.standard_gamma(looks - 1, true.shape, np.float32)
    cross = rng.standard_normal((2, *true.shape), dtype=np.float32) * np.float32(0.5**0.5)
    rest = np.sqrt(np.maximum(1 - true**2, 0))
    real, imaginary = true * first + rest * cross[0], rest * cross[1]
    shared = real**2 + imaginary**2
    return np.asarray(np.sqrt(shared / (shared + rest**2 * second)))


def _halved(field: Field) -> Field:
    n, m = field.shape
    return np.asarray(field.reshape(n // 2, 2, m // 2, 2).mean((1, 3)))
