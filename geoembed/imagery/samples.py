"""Samples of rasters: a few windows of their pixels, for statistics of what a file of any size holds."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoembed.imagery import checks
from geoembed.imagery.checks import ChannelStatistics
from geoembed.imagery.rasters import Raster
from geoembed.imagery.windows import Readers, Window, read

SIDE = 128
"""Pixels along a window."""

WINDOWS = 9
"""Windows of a raster where nothing else is asked."""


def values(raster: Raster, readers: Readers, windows: int = WINDOWS) -> dict[str, NDArray[np.float64]]:
    """Return values (N,) of each channel in windows spread over a raster, NaN where invalid; all of a small raster.

    Values are stored * scale + offset: of SAR stored as power or amplitude, these. A scale of 0 counts as 1, so that
    it can be told from what is stored. Raises ImageryError where pixels cannot be read.
    """
    parts = [read(raster, range(len(raster.bands)), window, readers) for window in _windows(raster, windows)]
    sampled = {}
    for i, (channel, encoding) in enumerate(zip(raster.channels, raster.encodings, strict=True)):
        stored = np.concatenate([numbers[i].ravel() for numbers, _ in parts]).astype(np.float64)
        stored[~np.concatenate([valid[i].ravel() for _, valid in parts])] = np.nan
        sampled[channel] = stored * (encoding.scale or 1.0) + encoding.offset
    return sampled


def statistics(raster: Raster, readers: Readers, windows: int = WINDOWS) -> list[ChannelStatistics]:
    """Return the statistics of each channel of a raster, from a sample of its pixels; raises ImageryError."""
    sampled = values(raster, readers, windows)
    encoding_of = dict(zip(raster.channels, raster.encodings, strict=True))
    return [checks.statistics(channel, sampled[channel], encoding_of[channel]) for channel in sampled]


def _windows(raster: Raster, count: int) -> list[Window]:
    """Return about `count` windows, evenly spread; the whole raster where these would be most of it."""
    if raster.height * raster.width <= 2 * count * SIDE * SIDE or count < 1:
        return [Window(0, 0, raster.height, raster.width)]
    rows, columns = (_starts(side, math.ceil(math.sqrt(count))) for side in (raster.height, raster.width))
    size = min(SIDE, raster.height), min(SIDE, raster.width)
    return [Window(row, column, *size) for row, column in list(product(rows, columns))]


def _starts(side: int, count: int) -> Sequence[Any]:
    """Return where windows begin along a side, at the middle of equal parts of it."""
    return sorted({max(0, min(side - SIDE, int((i + 0.5) * side / count) - SIDE // 2)) for i in range(count)})
