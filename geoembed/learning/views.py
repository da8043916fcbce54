"""Views of chips for training: crops, flips and quarter turns, some patches and channels, other gain and offset."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that torch users know

from geoembed.imagery.modalities import SEASONS
from geoembed.learning.model import Patches

SMALLEST_CROP = 0.3
"""Smallest side of a crop, as a share of the chip's."""

JITTER = 0.2, 0.1
"""Standard deviation of the logarithm of a view's gain, about the band's mean, and of its offset, in deviations of the
band; first what a modality's channels share, then of each on its own. Haze, light, calibration and incidence differ so
between scenes and say nothing about what is on the ground."""

DROPPED = 0.5
"""Share of views that go without some channels, where there are several seasons and nothing else is asked for."""
SEASONS_DROPPED, CHANNELS_DROPPED = 0.25, 0.15
"""Of those views, share of seasons, and of single channels, that go."""


def view(values: Tensor, patch: int, keep_tokens: float, generator: torch.Generator) -> Patches:
    """Take a random view of each chip (B, C, H, W): a crop, flipped and turned, of which some patches are kept.

    All views of a batch have the same number of patches: `keep_tokens` (0-1) of the chip's, or the whole crop where
    that is smaller. Patches with a valid centre are kept first. `generator` lives on the CPU.
    """
    B, C, H, W = values.shape
    side = -(-max(H, W) // patch)  # of the chip, in patches
    values = F.pad(values, (0, side * patch - W, 0, side * patch - H), value=math.nan)
    smallest = math.ceil(side * SMALLEST_CROP)
    crop = int(torch.randint(smallest, side + 1, (), generator=generator))
    corner = torch.randint((side - crop) * patch + 1, (B, 2), generator=generator)
    turn = torch.randint(2, (3, B), generator=generator).bool()
    luck = torch.rand(B, crop * crop, generator=generator)

    grid = torch.arange(crop * crop)
    where = torch.stack([grid // crop, grid % crop], 1).expand(B, -1, -1)  # (B, crop * crop, 2)
    centre = torch.tensor([[patch // 2, patch // 2]])
    centres = _locate(where * patch + centre, crop * patch, corner, turn) @ torch.tensor([side * patch, 1])
    valid = (~values.isnan()).any(1).flatten(1)  # (B, pixels)
    score = luck.to(values.device) + valid.gather(1, centres.to(values.device))
    kept = score.topk(min(max(1, round(keep_tokens * side**2)), crop * crop), dim=1).indices.cpu()  # (B, N)

    where = where.gather(1, kept[..., None].expand(-1, -1, 2))  # (B, N, 2)
    inner = torch.cartesian_prod(torch.arange(patch), torch.arange(patch))  # (P, 2)
    pixels = (where[:, :, None] * patch + inner).flatten(1, 2)  # (B, N * P, 2)
    index = (_locate(pixels, crop * patch, corner, turn) @ torch.tensor([side * patch, 1])).to(values.device)
    taken = values.flatten(2).gather(2, index[:, None].expand(-1, C, -1))  # (B, C, N * P)
    taken = taken.view(B, C, -1, patch**2).transpose(1, 2)  # (B, N, C, P)
    return Patches(taken, where.to(values.device))


def _locate(points: Tensor, length: int, corner: Tensor, turn: Tensor) -> Tensor:
    """Map rows and columns (B, n, 2) in views of `length` pixels a side to those in the chips."""
    points = torch.where(turn[:2].T[:, None], length - 1 - points, points)
    points = torch.where(turn[2][:, None, None], points.flip(2), points)
    return points + corner[:, None]


def jitter(patches: Patches, generator: torch.Generator) -> Patches:
    """Change gain and offset of each sample at random: of all its channels, and less of each on its own."""
    B, _, C, _ = patches.values.shape
    shared, own = JITTER
    draws = shared * torch.randn(2, B, 1, 1, 1, generator=generator) + own * torch.randn(
        2, B, 1, C, 1, generator=generator
    )
    gain, offset = draws.to(patches.values.device)
    return replace(patches, values=patches.values * gain.exp() + offset)


def drop_channels(patches: Patches, groups: Tensor, share: float | None, generator: torch.Generator) -> Patches:
    """Take whole seasons and single channels away from a share of the samples, but never all, nor the only season.

    `groups` (C,) numbers the season of each channel from 0; see `seasons`. A `share` of None is DROPPED where there are
    several seasons, and 0 where there is one.
    """
    B, C, S = len(patches.values), len(groups), int(groups.max()) + 1
    if share is None:
        share = DROPPED if S > 1 else 0.0
    whole = torch.rand(B, 1, generator=generator) >= share
    season = torch.rand(B, S, generator=generator)[:, groups] if S > 1 else torch.ones(B, C)
    single = torch.rand(B, C, generator=generator)
    # One channel per sample, of which neither number counts, always stays.
    stays = torch.zeros(B, C, dtype=torch.bool).scatter(1, torch.randint(C, (B, 1), generator=generator), True)
    kept = whole | stays | ((season >= SEASONS_DROPPED) & (single >= CHANNELS_DROPPED))
    return replace(
        patches, values=patches.values.masked_fill(~kept.to(patches.values.device)[:, None, :, None], math.nan)
    )


def seasons(channels: Sequence[str]) -> Tensor:
    """Number the seasons of channels (C,) from 0, by what stands before the first underscore; all others are one."""
    prefixes = [name.partition("_")[0] for name in channels]
    groups = [prefix if prefix in SEASONS else "" for prefix in prefixes]
    order = list(dict.fromkeys(groups))
    return torch.tensor([order.index(group) for group in groups])
