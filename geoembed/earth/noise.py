"""Random fields and hashes that everything on the simulated Earth is shaped by."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Field = NDArray[np.float32]
Ids = NDArray[np.uint64]


def fractal(rng: np.random.Generator, n: int, beta: float, largest: float, smallest: float = 2.0) -> Field:
    """Return an (n, n) random field of zero mean and unit deviation with power spectrum k**-beta.

    `largest` and `smallest` are the longest and shortest wavelengths, in pixels. Smooth fields are made coarse and
    magnified, which costs less and looks the same.
    """
    step = 4 if smallest >= 12 else 1
    m = -(-n // step)
    ky, kx = np.fft.fftfreq(m)[:, None], np.fft.rfftfreq(m)[None, :]
    k = np.hypot(ky, kx) / step
    k[0, 0] = 1.0
    amplitude = k ** (-beta / 2) * (k >= 1 / largest) * (k <= 1 / smallest)
    amplitude[0, 0] = 0.0
    white = rng.standard_normal((2, *k.shape), dtype=np.float32)
    spectrum = (white[0] + 1j * white[1]) * amplitude.astype(np.float32)
    field = scipy.fft.irfft2(spectrum.astype(np.complex64), s=(m, m))
    if step > 1:
        field = magnify(field, n)
    return np.asarray((field - field.mean()) / field.std(), np.float32)


def magnify(coarse: NDArray[np.floating], n: int) -> Field:
    """Return a square field resampled to (n, n) with Catmull-Rom splines, edges aligned to edges.

    One axis after the other by adding up weighted rows, which takes a fifth of scipy's zoom.
    """
    return _stretched(_stretched(np.asarray(coarse, np.float32), n).T, n).T


def _stretched(rows: Field, n: int) -> Field:
    at = (np.arange(n) + 0.5) * (len(rows) / n) - 0.5
    first = np.floor(at).astype(np.int64)
    t = (at - first)[:, None].astype(np.float32)
    weights = (
        (-t + 2 * t**2 - t**3) / 2,
        (2 - 5 * t**2 + 3 * t**3) / 2,
        (t + 4 * t**2 - 3 * t**3) / 2,
        (-(t**2) + t**3) / 2,
    )
    total = np.zeros((n, rows.shape[1]), np.float32)
    for k, weight in enumerate(weights):
        total += weight * rows[np.clip(first + k - 1, 0, len(rows) - 1)]
    return total


def mixed(*keys: NDArray[np.integer] | int) -> Ids:
    """Hash integers to 64 well mixed bits, element by element (the finaliser of splitmix64, Steele et al. 2014)."""
    total = np.asarray(np.uint64(0x9E3779B97F4A7C15))
    with np.errstate(over="ignore"):
        for key in keys:
            word = np.asarray(key).astype(np.int64).astype(np.uint64)
            total = (word + total) * np.uint64(0xBF58476D1CE4E5B9)
            total = (total ^ (total >> np.uint64(29))) * np.uint64(0x94D049BB133111EB)
            total = total ^ (total >> np.uint64(32))
    return np.asarray(total)


def uniform(ids: Ids, salt: int) -> Field:
    """Return a number in [0, 1) for each id, another for each salt."""
    return ((mixed(ids, salt) >> np.uint64(40)).astype(np.float32)) / np.float32(1 << 24)


def ranks(field: NDArray[np.floating], where: NDArray[np.bool_] | None = None) -> Field:
    """Return each pixel's quantile (0-1) among the pixels `where`, from a fine histogram (cheaper than sorting)."""
    chosen = field if where is None else field[where]
    if chosen.size == 0:
        return np.zeros(field.shape, np.float32)
    low, high = float(chosen.min()), float(chosen.max())
    scale = 8191 / max(high - low, 1e-9)
    level = np.clip((field - low) * scale, 0, 8191).astype(np.int32)
    counts = np.bincount((level if where is None else level[where]).ravel(), minlength=8192)
    share = ((np.cumsum(counts) - counts / 2) / chosen.size).astype(np.float32)
    return np.asarray(share[level])
