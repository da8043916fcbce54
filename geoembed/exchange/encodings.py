"""Encodings: how others store their vectors as small numbers, as they publish it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

AXES = tuple(f"A{number:02d}" for number in range(64))
"""Names of the axes of AlphaEarth Foundations."""

MASKED = -128
"""What a masked pixel of AlphaEarth holds in every channel."""


def alphaearth(stored: NDArray[Any]) -> NDArray[np.float32]:
    """Return the values of AlphaEarth's int8: (v / 127.5)^2 with the sign of v, NaN where masked.

    As in "AlphaEarth Foundations GCS data", developers.google.com/earth-engine/guides/aef_on_gcs_readme.
    """
    share = stored.astype(np.float32) / np.float32(127.5)
    return np.where(stored == MASKED, np.float32(np.nan), share * np.abs(share))


def scaled(stored: NDArray[Any], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return numbers times their scales, as TESSERA publishes its int8; NaN where a scale is 0 or not finite."""
    usable = np.isfinite(scales) & (scales != 0)
    return stored.astype(np.float32) * np.where(usable, scales, np.float32(np.nan))
