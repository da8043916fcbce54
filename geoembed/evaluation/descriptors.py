"""Descriptions of chips that take no training: pixel statistics, random convolutions, an encoder's first weights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from geoembed.chips import batches
from geoembed.chips.batches import Batch, Reader
from geoembed.evaluation import mosaiks
from geoembed.learning.model import Model, autocast, centre, encode

if TYPE_CHECKING:
    from torch import Tensor

    from geoembed.learning.checkpoint import Trained

Rows: TypeAlias = dict[str, NDArray[np.float32]]
"""Features of some chips, (n, F) per modality."""

Describe: TypeAlias = Callable[[Batch], Rows]

PERCENTILES = (5, 25, 50, 75, 95)


def random_convolutions(reader: Reader, trained: Trained, seed: int) -> Describe:
    """Return what describes each chip by its responses to random filters, (B, 512), drawn from train chips.

    The model gives no more than the statistics that values are normalised by.
    """
    statistics, device = trained.described.statistics, trained.model.log_scale.device
    filters = {name: mosaiks.draw_filters(reader, statistics, name, seed).to(device) for name in reader.channels}
    return partial(_respond, filters)


def untrained_encoder(reader: Reader, trained: Trained) -> Describe:
    """Return what embeds each chip by a model of random weights, about the centre of train chips."""
    _centre(reader, trained)
    return partial(_encode, trained.model)


def summarise(batch: Batch) -> Rows:
    """Describe each chip by mean, standard deviation and percentiles of every channel's valid pixels, (B, 7 C)."""
    return {name: summary(values.flatten(2).numpy()).reshape(len(values), -1) for name, values in batch.values.items()}


def summary(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map pixels (..., P), NaN where missing, to mean, standard deviation and PERCENTILES (..., 7), NaN without any.

    Percentiles are interpolated linearly, as NumPy does.
    """
    ordered = np.sort(values, axis=-1)  # NaN last
    valid = ~np.isnan(ordered)
    n = valid.sum(-1, keepdims=True)
    mean = np.where(valid, ordered, 0).sum(-1, keepdims=True) / np.maximum(n, 1).astype(np.float32)
    square = np.where(valid, ordered - mean, 0)
    deviation = np.sqrt(np.square(square, out=square).sum(-1, keepdims=True) / np.maximum(n, 1).astype(np.float32))
    at = np.maximum(n - 1, 0) * (np.array(PERCENTILES) / 100)  # (..., 5)
    below = np.floor(at).astype(np.int64)
    low = np.take_along_axis(ordered, below, -1)
    high = np.take_along_axis(ordered, np.minimum(below + 1, np.maximum(n - 1, 0)), -1)
    percentiles = low + (high - low) * (at - below).astype(np.float32)
    return np.where(n > 0, np.concatenate([mean, deviation, percentiles], -1), np.float32(np.nan))


def _respond(filters: dict[str, Tensor], batch: Batch) -> Rows:
    """Describe each chip by its responses to random filters, (B, 512)."""
    return {
        name: mosaiks.respond(values, filters[name]).cpu().masked_fill(~batch.present[name][:, None], np.nan).numpy()
        for name, values in batch.values.items()
    }


def _centre(reader: Reader, trained: Trained) -> None:
    """Give an untrained model the centre that training would have ended with, from some 256 to 511 train chips."""
    train, known = reader.rows_of("train"), trained.described.model.channels
    # The modalities that the chips lack, as they are in a chip: missing.
    lacking = {name: torch.full((1, len(known[name]), 1, 1), np.nan) for name in known if name not in reader.channels}
    order = batches.blocks(train[:: max(1, len(train) // 256)], 32)
    with closing(batches.ahead(reader, trained.described.statistics, order, 1)) as source:
        centre(trained.model, (batch.values | lacking for batch in source))


@torch.no_grad()
def _encode(model: Model, batch: Batch) -> Rows:
    """Embed each chip."""
    with autocast(model.log_scale.device):
        vectors = encode(model, batch.values)
    return {name: values.float().cpu().numpy() for name, values in vectors.items()}
