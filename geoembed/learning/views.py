"""Views of chips for training: crops, flipped and turned, with fewer patches and channels, other gain and offset."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that torch users know

from geoembed.imagery.catalogues import SEASONS
from geoembed.learning.model import Patches

SMALLEST_CROP = 0.3
"""Smallest side of a crop, as a share of the chip's."""

JITTER = 0.2, 0.1
"""Standard deviation of the logarithm of a view's gain, and of its offset in deviations of the band: of the part that
all channels of a modality share, and of each channel's part. Haze, light, calibration and incidence vary so between
scenes, and say nothing of the ground."""

DROPPED = 0.5
"""Share of views without some of their channels, by default, where channels are of several seasons."""
SEASONS_DROPPED, CHANNELS_DROPPED = 0.25, 0.15
"""Share of the seasons, and share of the single channels, that such a view goes without."""


def view(values: Tensor, patch: int, keep_tokens: float, generator: torch.Generator) -> Patches:
    """Return a random view of each chip (B, C, H, W): some patches of a crop that is flipped and turned.

    All views of a batch have the same number of patches: the share `keep_tokens` (0-1) of a chip's, or all of the crop
    where it has fewer. Patches with a valid pixel in their centre come first. `generator` is one of the CPU.
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
    count = min(max(1, round(keep_tokens * side**2)), crop * crop)
    chosen = score.topk(count, dim=1).indices.cpu()  # (B, N)

    where = where.gather(1, chosen[..., None].expand(-1, -1, 2))  # (B, N, 2)
    inner = torch.cartesian_prod(torch.arange(patch), torch.arange(patch))  # (P, 2)
    pixels = (where[:, :, None] * patch + inner).flatten(1, 2)  # (B, N * P, 2)
    index = (_locate(pixels, crop * patch, corner, turn) @ torch.tensor([side * patch, 1])).to(values.device)
    gathered = values.flatten(2).gather(2, index[:, None].expand(-1, C, -1))  # (B, C, N * P)
    return Patches(gathered.view(B, C, -1, patch**2).transpose(1, 2), where.to(values.device))  # (B, N, C, P)


def _locate(points: Tensor, length: int, corner: Tensor, turn: Tensor) -> Tensor:
    """Return rows and columns (B, n, 2) in chips of points in views, which are `length` pixels wide and high."""
    points = torch.where(turn[:2].T[:, None], length - 1 - points, points)
    points = torch.where(turn[2][:, None, None], points.flip(2), points)
    return points + corner[:, None]


def jitter(patches: Patches, generator: torch.Generator) -> Patches:
    """Change gain and offset of each sample at random, for all its channels alike and a little for each of them."""
    B, _, C, _ = patches.values.shape
    of_all, of_each = JITTER
    draws = of_all * torch.randn(2, B, 1, 1, 1, generator=generator)
    draws = draws + of_each * torch.randn(2, B, 1, C, 1, generator=generator)
    gain, offset = draws.to(patches.values.device)
    return replace(patches, values=patches.values * gain.exp() + offset)


def drop_channels(patches: Patches, groups: Tensor, share: float | None, generator: torch.Generator) -> Patches:
    """Drop whole seasons and single channels of a share of the samples; at least one channel of each sample stays.

    groups: (C,) the number of each channel's season; see `seasons`. A single season is not dropped as a whole.
    share: None: DROPPED where there are several seasons, and 0 where there is one.
    """
    B, C, S = len(patches.values), len(groups), int(groups.max()) + 1
    if share is None:
        share = DROPPED if S > 1 else 0.0
    whole = torch.rand(B, 1, generator=generator) >= share
    season = torch.rand(B, S, generator=generator)[:, groups] if S > 1 else torch.ones(B, C)
    single = torch.rand(B, C, generator=generator)
    # A random channel of each sample always stays.
    stays = torch.zeros(B, C, dtype=torch.bool).scatter(1, torch.randint(C, (B, 1), generator=generator), True)
    dropped = ~(whole | stays | ((season >= SEASONS_DROPPED) & (single >= CHANNELS_DROPPED)))
    values = patches.values.masked_fill(dropped.to(patches.values.device)[:, None, :, None], math.nan)
    return replace(patches, values=values)


def seasons(channels: Sequence[str]) -> Tensor:
    """Return the number of each channel's season, (C,) from 0, by its prefix; channels of no season are one season."""
    prefixes = [name.partition("_")[0] for name in channels]
    groups = [prefix if prefix in SEASONS else "" for prefix in prefixes]
    order = list(dict.fromkeys(groups))
    return torch.tensor([order.index(group) for group in groups])
