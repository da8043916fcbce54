"""Chips as small pictures: which channels are shown, how values become brightness, and the PNG."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOURS = ("red", "green", "blue")

NARROWEST, WIDEST = 96, 112
"""Pixels across a picture: smaller chips are enlarged, larger ones averaged."""

DARKEST, BRIGHTEST = 2.0, 98.0
"""Percentiles of the values that become black and full brightness."""

DIMMEST, MIDDLE = 0.05, 0.4
"""A median below MIDDLE of the way from black to full brightness is raised to it, but is taken as DIMMEST at least."""


@dataclass(frozen=True)
class Stretch:
    """How values become brightness from 0 to 1: ((value - low) / (high - low)) ** exponent.

    low, high: (B,) values of each band that become 0 and 1.
    exponent: below 1 where most values are dark beside a few bright ones, such as snow.
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

    The season is what stands before a name's first underscore. Red, green and blue where the chips have them, else the
    first three channels.
    """
    season = [name for name in channels if _season(name) == _season(channels[0])]
    colours = [name for colour in COLOURS for name in season if name.rpartition("_")[2] == colour]
    return tuple(colours if len(colours) == 3 else season[:3])


def _season(channel: str) -> str:
    before, underscore, _ = channel.partition("_")
    return before if underscore else ""


def stretch(chips: Sequence[NDArray[np.float32]]) -> Stretch:
    """Return the stretch from the 2nd to the 98th percentile of each band, by the shown channels (C, H, W) of chips.

    All bands share one exponent, so that colours stay the same.
    """
    values = np.concatenate([_bands(pixels).reshape(-1, pixels[0].size) for pixels in chips], axis=1)
    values = values[:, np.isfinite(values).all(axis=0)]
    if not values.size:
        return Stretch(np.zeros(len(values)), np.ones(len(values)))
    low, median, high = np.percentile(values, (DARKEST, 50.0, BRIGHTEST), axis=1)
    flat = low == high  # what does not vary is grey
    low, high = low - 0.5 * flat, high + 0.5 * flat
    share = float(np.mean((median - low) / (high - low)))
    return Stretch(low, high, math.log(MIDDLE) / math.log(min(max(share, DIMMEST), MIDDLE)))


def image(values: NDArray[np.float32], stretch: Stretch) -> Image.Image:
    """Return a chip's shown channels (C, H, W), NaN where invalid, as a picture; invalid is mid grey.

    One channel is grey, two are red and green with their difference (in dB: their ratio) as blue. Small chips have a
    pixel for each of theirs, large ones are averaged to 112 pixels across.
    """
    bands = _bands(values)
    if values.shape[2] > WIDEST:
        bands = np.stack([_averaged(band) for band in bands])
    brightness = stretch(bands.astype(np.float64))
    brightness[:, np.isnan(brightness).any(axis=0)] = 0.5
    pixels = np.round(255 * np.broadcast_to(brightness, (3, *brightness.shape[1:]))).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def uri(values: NDArray[np.float32], stretch: Stretch) -> str:
    """Return the picture of a chip as a PNG in a data URI; small chips are enlarged to at least 96 pixels across."""
    small = image(values, stretch)
    times = -(-NARROWEST // small.width)
    file = io.BytesIO()
    small.resize((small.width * times, small.height * times), Image.Resampling.NEAREST).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _bands(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([values, values[:1] - values[1:]]) if len(values) == 2 else values


def _averaged(band: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a band (H, W) averaged over valid pixels to WIDEST pixels across, NaN where there is none."""
    height, width = band.shape
    size = (WIDEST, max(1, round(WIDEST * height / width)))
    valid = ~np.isnan(band)
    total, share = (
        np.asarray(Image.fromarray(part.astype(np.float32)).resize(size, Image.Resampling.BOX))
        for part in (np.nan_to_num(band), valid)
    )
    with np.errstate(invalid="ignore"):
        return np.asarray(total / share)
