"""The encoders: one vision transformer per modality, into one space that training contrasts and embeddings lie in.

A missing value is NaN on the way in, whether its pixel, its channel or its whole modality is missing. Patches are cut
before they are encoded, so that training encodes only those that it keeps. Shapes: B samples, N patches, C channels,
P = patch * patch pixels, D width of encoders, E = 2 D width of the space, and so of embeddings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that torch users know

from geoembed.errors import ConfigError

FUSED = "fused"
SPACE = (
    "the space that training contrasts: mean and deviation of the encoder's last tokens, where there are several "
    "modalities mapped into a space that they share, scaled to unit length, less the learned chips' mean, scaled "
    "again; fused: mean of the modalities present, scaled to unit length"
)
POSITION = 0.2
"""Largest entry of a patch's position, small beside what the patch holds."""


@dataclass(frozen=True)
class ModelConfig:
    """What is needed to build a model.

    channels: per modality the channel names, in the order of the input.
    patch: side of a patch in pixels; width, depth, heads: of every encoder.
    """

    channels: dict[str, tuple[str, ...]]
    patch: int
    width: int
    depth: int
    heads: int

    @property
    def space(self) -> int:
        """Return the width of the space that training contrasts."""
        return 2 * self.width

    @property
    def modalities(self) -> tuple[str, ...]:
        """Return the names of the modalities, in order."""
        return tuple(self.channels)


@dataclass(frozen=True)
class Patches:
    """Patches of B samples in one modality.

    values: (B, N, C, P), normalised, NaN where missing.
    where: (B, N, 2) row and column of each patch, counted in patches.
    """

    values: Tensor
    where: Tensor


class Block(nn.Module):
    """A transformer block that normalises before attention and before its MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map (B, N, D) to (B, N, D); `mask` (B, 1, 1, N) is True where a token may be attended to."""
        B, N, D = x.shape
        qkv = self.qkv(self.norm1(x)).view(B, N, 3, self.heads, D // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, N, D / heads)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(seen.transpose(1, 2).reshape(B, N, D))
        y: Tensor = x + self.down(F.gelu(self.up(self.norm2(x))))
        return y


class Encoder(nn.Module):
    """A vision transformer over the patches of one modality; see Dosovitskiy et al. 2021, arXiv 2010.11929.

    One of several modalities ends in a linear map into their `shared` space; one alone needs none and learns better
    without. The buffer `centre` (E,) is what embeddings are measured from.
    """

    def __init__(self, channels: int, patch: int, width: int, depth: int, heads: int, *, shared: bool) -> None:
        super().__init__()
        self.width = width
        self.embed = nn.Linear(2 * channels * patch**2, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(2 * width, 2 * width) if shared else nn.Identity()
        self.register_buffer("centre", torch.zeros(2 * width))

    def forward(self, patches: Patches) -> Tensor:
        """Map patches to unit vectors (B, E) by their tokens' mean and deviation; those without any pixel take no part.

        A sample without any valid pixel gives a vector without meaning; the caller leaves it out.
        """
        valid = ~patches.values.isnan()  # (B, N, C, P)
        values = patches.values.nan_to_num(0.0)
        x = torch.cat([values.flatten(2), valid.flatten(2).to(values.dtype)], 2)  # (B, N, 2 C P)
        x = self.embed(x) + positions(patches.where, self.width).to(x.dtype)  # (B, N, D)
        held = valid.flatten(2).any(2)  # (B, N)
        mask = None if bool(held.all()) else _mask(held)
        for block in self.blocks:
            x = block(x, mask)
        weight = held.to(x.dtype)[..., None]  # (B, N, 1)
        weight = weight / weight.sum(1, keepdim=True).clamp(min=1.0)
        x = self.norm(x)
        mean = (x * weight).sum(1, keepdim=True)  # (B, 1, D)
        deviation = (((x - mean) ** 2 * weight).sum(1) + 1e-6).sqrt()  # (B, D)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would round what is left beside the centre
            return F.normalize(self.project(torch.cat([mean[:, 0], deviation], 1).float()), dim=1)


class Model(nn.Module):
    """An encoder per modality, and the temperature of their contrast."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        several = len(config.channels) > 1
        encoders = {
            name: Encoder(len(channels), config.patch, config.width, config.depth, config.heads, shared=several)
            for name, channels in config.channels.items()
        }
        self.encoders = nn.ModuleDict(encoders)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.apply(_initialise)

    def forward(self, modality: str, patches: Patches) -> Tensor:
        """Map the patches of one modality into the space that training contrasts, (B, E), unit length."""
        vectors: Tensor = self.encoders[modality](patches)
        return vectors

    def place(self, modality: str, vectors: Tensor) -> Tensor:
        """Map what an encoder gives (B, E) to embeddings (B, E): about their centre, unit length."""
        return F.normalize(vectors - self.encoders[modality].get_buffer("centre"), dim=1)


def cut(values: Tensor, patch: int) -> Patches:
    """Cut (B, C, H, W) into all its patches; a side that is no multiple of `patch` is filled up with NaN."""
    B, C, H, W = values.shape
    rows, columns = -(-H // patch), -(-W // patch)
    values = F.pad(values, (0, columns * patch - W, 0, rows * patch - H), value=math.nan)
    values = values.view(B, C, rows, patch, columns, patch).permute(0, 2, 4, 1, 3, 5)  # (B, rows, columns, C, p, p)
    where = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).to(values.device)
    return Patches(values.reshape(B, rows * columns, C, patch**2), where.expand(B, -1, -1))


def positions(where: Tensor, width: int) -> Tensor:
    """Return fixed sine and cosine positions (B, N, D) of patches at row and column `where` (B, N, 2).

    As in section 3.5 of Vaswani et al. 2017, arXiv 1706.03762, times POSITION; half of the width for rows and half for
    columns.
    """
    quarter = width // 4
    rates = torch.exp(torch.arange(quarter, device=where.device) * (-math.log(10000.0) / quarter))
    steps = torch.arange(int(where.max()) + 1, device=where.device)
    angles = steps[:, None] * rates  # (most, D / 4)
    table = POSITION * torch.cat([angles.sin(), angles.cos()], 1)  # (most, D / 2)
    return table[where].flatten(2)


def choose_device(name: str) -> torch.device:
    """Return the device auto (a GPU where there is one), cpu or cuda; raises ConfigError for one that is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device {name!r} is not auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda: PyTorch finds no such GPU here; use --device auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def autocast(device: torch.device) -> torch.autocast:
    """Return the context that computes in bfloat16 on GPUs that have it, and in float32 elsewhere."""
    able = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(device.type, torch.bfloat16, enabled=able)


def contrasted(model: Model, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Map chips into the space that training contrasts: per modality (B, C, H, W) to (B, E) of unit length.

    Values are normalised, NaN where missing; rows are NaN where a chip has no valid pixel.
    """
    vectors = {}
    for name, pixels in values.items():
        pixels = pixels.to(model.log_scale.device)
        here = ~pixels.isnan().flatten(1).all(1)  # (B,)
        vectors[name] = pixels.new_full((len(pixels), model.config.space), math.nan)
        if here.any():
            vectors[name][here] = model(name, cut(pixels[here], model.config.patch))
    return vectors


def encode(model: Model, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Embed chips: per modality (B, C, H, W), normalised, NaN where missing, to (B, E), and the same for 'fused'.

    Rows are NaN where a chip has no valid pixel in a modality; 'fused' is the mean over those present, scaled to unit
    length, so that with one modality it equals that modality's. Modalities that the model knows and `values` lacks
    are left out.
    """
    vectors = {name: model.place(name, found) for name, found in contrasted(model, values).items()}
    return vectors | {FUSED: fuse(vectors)}


@torch.no_grad()
def centre(model: Model, batches: Iterable[Mapping[str, Tensor]]) -> None:
    """Set where embeddings are measured from: the mean of what each encoder gives for these chips."""
    found: dict[str, list[Tensor]] = {name: [] for name in model.config.modalities}
    for values in batches:
        with autocast(model.log_scale.device):
            for name, vectors in contrasted(model, values).items():
                found[name].append(vectors)
    for name, parts in found.items():
        model.encoders[name].get_buffer("centre").copy_(torch.cat(parts).nanmean(0).nan_to_num(0.0))


def fuse(vectors: Mapping[str, Tensor]) -> Tensor:
    """Return the mean of the unit vectors (B, E) that are there, scaled to unit length; NaN where there is none."""
    stacked = torch.stack(list(vectors.values()))  # (M, B, E)
    total = stacked.nansum(0)
    count = (~stacked[..., :1].isnan()).sum(0)  # (B, 1)
    return torch.where(count > 1, F.normalize(total, dim=1), total).masked_fill(count == 0, math.nan)


def _mask(held: Tensor) -> Tensor:
    """Return an attention mask (B, 1, 1, N); a sample that holds nothing attends to everything, to stay finite."""
    return (held | ~held.any(1, keepdim=True))[:, None, None, :]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        # The usual deviation of 0.02 is too small at these widths: blocks then pass on what they get.
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
