"""Random convolutional features of chips, as in MOSAIKS: Rolf et al. 2021, Nature Communications 12:4392."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that torch users know

from geoembed.errors import ChipError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoembed.chips.batches import Reader, Statistics

FILTERS, SIDE = 256, 3
"""Number of random filters per modality, and their side in pixels."""

SAMPLED_CHIPS, SAMPLED_PATCHES = 256, 64
"""Most train chips that filters are drawn from, and most patches of each."""

RESPONSES = 2**22
"""Responses of filters held at a time: 16 MB, which caches hold most of."""


def draw_filters(reader: Reader, statistics: Statistics, modality: str, seed: int) -> Tensor:
    """Draw random filters (FILTERS, C, SIDE, SIDE) from patches of train chips, each about its mean and whitened.

    As in MOSAIKS' code (mosaiks/featurization.py at github.com/Global-Policy-Lab/mosaiks-paper), which follows Coates
    and Ng 2012: patches are centred and scaled to unit length each, then multiplied by W W', W being the ZCA matrix
    with 0.001 added to the eigenvalues: one W whitens the filter, the other the patches that it will meet. Missing
    values count as 0, their band's mean.

    Raises ChipError where no train chip can be read.
    """
    rng = np.random.default_rng((seed, list(reader.channels).index(modality)))
    patches = _sampled_patches(reader, statistics, modality, rng).astype(np.float64)
    patches -= patches.mean(1, keepdims=True)
    length = np.linalg.norm(patches, axis=1, keepdims=True)
    patches /= np.where(length < 1e-8, 1.0, length)
    variances, axes = np.linalg.eigh(patches.T @ patches / len(patches))
    chosen = patches[rng.choice(len(patches), FILTERS, replace=len(patches) < FILTERS)]
    filters = (chosen @ axes) / (variances + 1e-3) @ axes.T  # W W' = V diag(1 / (variances + 0.001)) V'
    return torch.from_numpy(filters.astype(np.float32)).view(FILTERS, -1, SIDE, SIDE)


def _sampled_patches(
    reader: Reader, statistics: Statistics, modality: str, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return normalised patches (n, C * SIDE * SIDE) of some train chips."""
    rows = reader.rows_of("train")
    rows = rows[reader.present[rows, list(reader.channels).index(modality)]]
    mean, std = (np.array(by[modality], np.float32)[:, None, None] for by in (statistics.mean, statistics.std))
    parts = []
    for row in np.sort(rng.choice(rows, min(len(rows), SAMPLED_CHIPS), replace=False)).tolist():
        pixels = reader.pixels(row, modality)
        if pixels is not None:
            patches = F.unfold(_filled(torch.from_numpy((pixels - mean) / std)[None]), SIDE)[0].T.numpy()
            parts.append(patches[rng.choice(len(patches), min(len(patches), SAMPLED_PATCHES), replace=False)])
    if not parts:
        fault = f"no {modality} chip of the train split can be read"
        raise ChipError(f"{reader.chipset.folder}: {fault}; make the chips again")
    return np.concatenate(parts)


def _filled(values: Tensor) -> Tensor:
    """Put a band's mean, 0, where values (B, C, H, W) are missing, and around chips that are smaller than a filter."""
    H, W = values.shape[2:]
    return F.pad(values.nan_to_num(0.0), (0, max(0, SIDE - W), 0, max(0, SIDE - H)))


@torch.no_grad()
def respond(values: Tensor, filters: Tensor) -> Tensor:
    """Map chips (B, C, H, W) to the means over the chip of relu(r) and of relu(-r), r the filters' responses, (B, 512).

    As in MOSAIKS, whose bias is 0; missing values count as 0, their band's mean.
    """
    filters = filters.contiguous(memory_format=torch.channels_last)
    parts = []
    for chips in torch.split(values, max(1, RESPONSES // (len(filters) * values.shape[2] * values.shape[3]))):
        filled = _filled(chips.to(filters.device)).contiguous(memory_format=torch.channels_last)
        responses = F.conv2d(filled, filters)
        mean = responses.mean((2, 3))
        positive = responses.clamp_(min=0).mean((2, 3))
        parts.append(torch.cat([positive, positive - mean], 1))  # relu(-r) = relu(r) - r
    return torch.cat(parts)
