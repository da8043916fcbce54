"""What if inputs are missing: fused embeddings of chips as if modalities, seasons or channels were not there."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from geoembed.chips import batches
from geoembed.imagery.modalities import SEASONS
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
"""A modality, and the channels that it goes without."""


@dataclass(frozen=True)
class Case:
    """Inputs that are removed together.

    kind: 'modality', 'season', 'random' or 'channel'. name: what a report calls it, the same for all draws of a share.
    removed: per modality that loses any, the channels that it loses. draw: number of a random draw from 1, else 0.
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

    A season is those of SEASONS that channels' names begin with, in all modalities at once; the only modality, season
    or channel is never removed. Random shares are rounded, but to one channel at least and never to all.
    """
    everything = [(name, channel) for name, names in channels.items() for channel in names]
    found = []
    if len(channels) > 1:
        found += [Case("modality", f"without {name}", {name: names}) for name, names in channels.items()]
    seasons = {season: [one for one in everything if one[1].partition("_")[0] == season] for season in SEASONS}
    seasons = {season: some for season, some in seasons.items() if some}
    if len(seasons) > 1:
        found += [Case("season", f"without {season}", _grouped(some)) for season, some in seasons.items()]
    if len(everything) > 1:
        for share in SHARES:
            percent = round(100 * share)
            k = min(max(1, round(share * len(everything))), len(everything) - 1)
            for draw in range(1, draws + 1):
                rng = np.random.default_rng((seed, percent, draw))
                some = [everything[i] for i in np.sort(rng.choice(len(everything), k, replace=False))]
                found.append(Case("random", f"{percent} % of channels", _grouped(some), draw))
        found += [Case("channel", f"without {name} {channel}", {name: (channel,)}) for name, channel in everything]
    return tuple(found)


def _grouped(pairs: Sequence[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return the channels per modality of (modality, channel) pairs."""
    names = dict.fromkeys(name for name, _ in pairs)
    return {name: tuple(channel for one, channel in pairs if one == name) for name in names}


def embed(
    reader: Reader, trained: Trained, rows: NDArray[np.int64], cases: Sequence[Case], batch_size: int
) -> Generator[Progress, None, Removed]:
    """Embed some chips with everything and without what each case removes; yields progress in chips.

    Each chip is read once, and encoded once per modality and set of removed channels, whatever number of cases share
    it. Vectors equal those of `model.encode` on values in which the removed channels are NaN. Takes (1 + cases) * n * E
    * 4 bytes of memory. Raises ValueError for a channel that the reader does not know.
    """
    width = trained.described.model.space
    everything, *without = (np.full((len(rows), width), np.nan, np.float32) for _ in range(1 + len(cases)))
    whole = {name: np.full((len(rows), width), np.nan, np.float32) for name in reader.channels}
    removals = [{}, *(case.removed for case in cases)]
    done = 0
    order = batches.blocks(rows, batch_size)
    with closing(batches.ahead(reader, trained.described.statistics, order, 1)) as source:
        for batch in source:
            some = slice(done, done + len(batch.rows))
            fused, vectors = _embed_batch(trained.model, batch, reader.channels, removals)
            for target, values in zip((everything, *without), fused, strict=True):
                target[some] = values
            for name, values in vectors.items():
                whole[name][some] = values
            done = some.stop
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
