"""Chips as small pictures: which channels are seen, how bright they are, and the PNG that shows them."""

from __future__ import annotations

import base64
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

COLOURS = ("red", "green", "blue")

NARROWEST, WIDEST = 96, 112
"""Pixels across a picture: smaller chips are repeated, larger ones averaged."""

DARKEST, BRIGHTEST = 2.0, 98.0
"""Percentiles of the values that become black and full brightness."""

DIMMEST, MIDDLE = 0.05, 0.4
"""Where the median may lie between those two before it is brightened, and where it lies then."""


@dataclass(frozen=True)
class Stretch:
    """How values become brightness from 0 to 1: ((value - low) / (high - low)) ** exponent.

    low, high: (B,) per band. exponent: below 1 where most values are dark beside a few bright ones, such as snow.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    exponent: float = 1.0

    def __call__(self, bands: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the brightness of (B, H, W), NaN where invalid."""
        low, high = self.low[:, None, None], self.high[:, None, None]
        return np.asarray(np.clip((bands - low) / (high - low), 0.0, 1.0) ** self.exponent)


def shown(channels: Sequence[str]) -> tuple[str, ...]:
    """Return the one to three channels that a picture shows, all of the first channel's season.

    The season is what stands before a name's first underscore. Red, green and blue where they are there, else the
    first three; of two the third band is their difference.
    """
    season = [name for name in channels if _season(name) == _season(channels[0])]
    colours = [name for colour in COLOURS for name in season if name.rpartition("_")[2] == colour]
    return tuple(colours if len(colours) == 3 else season[:3])


def _season(channel: str) -> str:
    before, underscore, _ = channel.partition("_")
    return before if underscore else ""


def stretch(found: Sequence[NDArray[np.float32]]) -> Stretch:
    """Return how to show the shown channels (C, H, W) of chips such as these: 2nd to 98th percentile of each band.

    All bands share one exponent, so that colours keep.
    """
    values = np.concatenate([_bands(pixels).reshape(-1, pixels[0].size) for pixels in found], axis=1)
    values = values[:, np.isfinite(values).all(axis=0)]
    if not values.size:
        return Stretch(np.zeros(len(values)), np.ones(len(values)))
    low, median, high = np.percentile(values, (DARKEST, 50.0, BRIGHTEST), axis=1)
    flat = low == high  # what does not vary is grey
    low, high = low - 0.5 * flat, high + 0.5 * flat
    share = float(np.mean((median - low) / (high - low)))
    return Stretch(low, high, math.log(MIDDLE) / math.log(min(max(share, DIMMEST), MIDDLE)))


def uri(values: NDArray[np.float32], stretch: Stretch) -> str:
    """Return a chip's shown channels (C, H, W), NaN where invalid, as a PNG in a data URI; invalid is mid grey.

    One channel is grey, two are red and green with their difference (in dB: their ratio) as blue.
    """
    brightness = stretch(_resized(_bands(values).astype(np.float64)))
    brightness[:, np.isnan(brightness).any(axis=0)] = 0.5
    pixels = np.round(255 * np.broadcast_to(brightness, (3, *brightness.shape[1:]))).astype(np.uint8)
    return "data:image/png;base64," + base64.b64encode(_png(pixels)).decode("ascii")


def _bands(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([values, values[:1] - values[1:]]) if len(values) == 2 else values


def _resized(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (B, H, W) repeated by a whole number to at least 96 pixels across, or averaged over valid ones to 112."""
    height, width = values.shape[1:]
    if width <= WIDEST:
        times = -(-NARROWEST // width)
        return values.repeat(times, axis=1).repeat(times, axis=2)
    down, across = _overlaps(height, max(1, round(WIDEST * height / width))), _overlaps(width, WIDEST)
    valid = down @ (~np.isnan(values)).astype(np.float64) @ across.T
    with np.errstate(invalid="ignore"):
        return np.asarray(down @ np.nan_to_num(values) @ across.T / valid)


def _overlaps(size: int, wanted: int) -> NDArray[np.float64]:
    """Return how much of each of `size` pixels lies in each of `wanted` wider ones on the same line, (wanted, size)."""
    edges, pixels = np.linspace(0.0, size, wanted + 1), np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(np.clip(overlap, 0.0, None))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    count, height, width = pixels.shape
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(driver="PNG", count=count, height=height, width=width, dtype="uint8", zlevel=9) as file:
            file.write(pixels)
        return bytes(memory.read())
