"""Embeddings of chips from which inputs are removed: modalities, seasons or channels."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from geoembed.chips import batches
from geoembed.imagery.catalogues import SEASONS
from geoembed.learning.model import autocast, contrasted, fuse
from geoembed.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from geoembed.chips.batches import Batch, Reader
    from geoembed.learning.checkpoint import Trained
    from geoembed.learning.model import Model

SHARES = (0.1, 0.3, 0.5, 0.7)
"""Shares of all channels that are removed at random."""

Variant: TypeAlias = tuple[str, tuple[str, ...]]
"""A modality, and the channels that are removed from it."""


@dataclass(frozen=True)
class Case:
    """Inputs that are removed together.

    kind: 'modality', 'season', 'random' or 'channel'.
    name: what a report calls it, the same for all draws of a share.
    removed: for each modality that loses channels, which ones.
    draw: number of a random draw, from 1; 0 where nothing is drawn.
    """

    kind: str
    name: str
    removed: dict[str, tuple[str, ...]]
    draw: int = 0


@dataclass(frozen=True)
class Removed:
    """Vectors of n chips, each (n, E) float32; a row is NaN where nothing is left of a chip.

    everything: fused embeddings with all inputs.
    without: for each case fused embeddings without what it removes.
    contrasted: per modality with all inputs, in the space that training contrasts.
    """

    everything: NDArray[np.float32]
    without: list[NDArray[np.float32]]
    contrasted: dict[str, NDArray[np.float32]]


def cases(channels: Mapping[str, tuple[str, ...]], *, seed: int, draws: int = 3) -> tuple[Case, ...]:
    """Return what to remove from these channels: modalities, seasons, random SHARES of all channels, single channels.

    A season is removed from all modalities at once; it is what channels' names begin with, one of SEASONS. The only
    modality, season or channel is never removed. A random share is rounded to at least one channel and less than all.
    """
    everything = [(name, channel) for name, names in channels.items() for channel in names]
    cases = []
    if len(channels) > 1:
        cases += [Case("modality", f"without {name}", {name: names}) for name, names in channels.items()]
    seasons = {season: [pair for pair in everything if pair[1].partition("_")[0] == season] for season in SEASONS}
    seasons = {season: pairs for season, pairs in seasons.items() if pairs}
    if len(seasons) > 1:
        cases += [Case("season", f"without {season}", _grouped(pairs)) for season, pairs in seasons.items()]
    if len(everything) > 1:
        for share in SHARES:
            percent = round(100 * share)
            k = min(max(1, round(share * len(everything))), len(everything) - 1)
            for draw in range(1, draws + 1):
                rng = np.random.default_rng((seed, percent, draw))
                drawn = [everything[i] for i in np.sort(rng.choice(len(everything), k, replace=False))]
                cases.append(Case("random", f"{percent} % of channels", _grouped(drawn), draw))
        cases += [Case("channel", f"without {name} {channel}", {name: (channel,)}) for name, channel in everything]
    return tuple(cases)


def _grouped(pairs: Sequence[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return the channels per modality of (modality, channel) pairs."""
    names = dict.fromkeys(name for name, _ in pairs)
    return {name: tuple(channel for modality, channel in pairs if modality == name) for name in names}


def embed(
    reader: Reader, trained: Trained, rows: NDArray[np.int64], cases: Sequence[Case], batch_size: int
) -> Generator[Progress, None, Removed]:
    """Embed some chips with everything and without what each case removes; yields progress in chips.

    Each chip is read once, and encoded once for each modality and set of removed channels, however many cases share
    that. Vectors equal those of `model.encode` on values in which the removed channels are NaN. Takes (1 + cases + M) *
    n * E * 4 bytes of memory for M modalities. Raises ValueError for a channel that the reader does not know.
    """
    width = trained.described.model.space
    everything, *without = (np.full((len(rows), width), np.nan, np.float32) for _ in range(1 + len(cases)))
    whole = {name: np.full((len(rows), width), np.nan, np.float32) for name in reader.channels}
    removals = [{}, *(case.removed for case in cases)]
    done = 0
    order = batches.blocks(rows, batch_size)
    with closing(batches.ahead(reader, trained.described.statistics, order, 1)) as source:
        for batch in source:
            part = slice(done, done + len(batch.rows))
            fused, vectors = _embed_batch(trained.model, batch, reader.channels, removals)
            for target, values in zip((everything, *without), fused, strict=True):
                target[part] = values
            for name, values in vectors.items():
                whole[name][part] = values
            done = part.stop
            yield Progress(done, len(rows), "chips")
    return Removed(everything, without, whole)


@torch.no_grad()
def _embed_batch(
    model: Model,
    batch: Batch,
    channels: Mapping[str, tuple[str, ...]],
    removals: Sequence[Mapping[str, tuple[str, ...]]],
) -> tuple[list[NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """Return the fused vectors (B, E) of a batch for each removal, and its contrasted ones with all inputs."""
    encoded: dict[Variant, Tensor] = {}

    def vector(name: str, removed: tuple[str, ...]) -> Tensor:
        if (name, removed) not in encoded:
            values = batch.values[name]
            if removed:
                at = [channels[name].index(channel) for channel in removed]
                values = values.index_fill(1, torch.tensor(at), math.nan)
            encoded[name, removed] = contrasted(model, {name: values})[name]
        return encoded[name, removed]

    def fused(removed: Mapping[str, tuple[str, ...]]) -> Tensor:
        return fuse({name: model.place(name, vector(name, removed.get(name, ()))) for name in batch.values})

    with autocast(model.log_scale.device):
        vectors = [fused(removed).float().cpu().numpy() for removed in removals]
        return vectors, {name: vector(name, ()).float().cpu().numpy() for name in batch.values}
