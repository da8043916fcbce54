"""The model: one vision transformer per modality, all into one space, in which embeddings lie.

Missing values are NaN in the input, whether a pixel, a channel or a whole modality is missing. Chips are cut into
patches before they are encoded, so that training encodes only the patches that it keeps. Shapes: B samples, N patches,
C channels, P = patch * patch pixels, D width of encoders, E = 2 D width of the space and of embeddings.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that torch users know

from geoembed.errors import ConfigError
from geoembed.names import Channel, Modality

FUSED = "fused"
SPACE = (
    "the space that training contrasts: mean and deviation of the encoder's last tokens, where there are several "
    "modalities mapped into a space that they share, scaled to unit length, less the learned chips' mean, scaled "
    "again; fused: mean of the modalities present, scaled to unit length"
)
MOST_PARAMETERS = 2**31
"""Most parameters that are read from a file: eight times those of the largest preset."""
POSITION = 0.2
"""Largest entry of a patch's position vector, small beside the embedded pixels that it is added to."""


@dataclass(frozen=True)
class ModelConfig:
    """What is needed to build a model.

    channels: by modality, the channel names in the order of the input.
    patch: side of a patch in pixels.
    width: of the encoders' tokens.
    depth: number of transformer blocks of an encoder.
    heads: number of attention heads of a block.
    """

    channels: dict[Modality, tuple[Channel, ...]]
    patch: int
    width: int
    depth: int
    heads: int

    def __post_init__(self) -> None:
        """Refuse what makes no encoder, or one beyond any machine, such as a garbled file asks for."""
        known = (self.patch, 64), (self.width, 8192), (self.depth, 64), (self.heads, 64), (len(self.channels), 64)
        if not all(0 < number <= most for number, most in known) or not all(map(len, self.channels.values())):
            raise ValueError("patch, width, depth, heads or number of modalities or channels out of bounds")
        if self.width % math.lcm(4, self.heads):
            raise ValueError(f"width {self.width} is no multiple of 4 and of the {self.heads} heads")
        if self.parameters > MOST_PARAMETERS:
            raise ValueError(f"{self.parameters:,} parameters, more than {MOST_PARAMETERS:,}")

    @property
    def parameters(self) -> int:
        """Return about how many parameters the model has: those of its matrices."""
        return sum(
            2 * channels * self.patch**2 * self.width + (12 * self.depth + 4) * self.width**2
            for channels in self.numbers.values()
        )

    @property
    def numbers(self) -> dict[str, int]:
        """Return the number of channels of each modality."""
        return {name: len(channels) for name, channels in self.channels.items()}

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
    """A transformer block with normalisation before attention and before the MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map tokens (B, N, D) to tokens (B, N, D); `mask` (B, 1, 1, N) is True where a token may be attended to."""
        B, N, D = x.shape
        qkv = self.qkv(self.norm1(x)).view(B, N, 3, self.heads, D // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, N, D / heads)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(attended.transpose(1, 2).reshape(B, N, D))
        y: Tensor = x + self.down(F.gelu(self.up(self.norm2(x))))
        return y


class Encoder(nn.Module):
    """A vision transformer over the patches of one modality (Dosovitskiy et al. 2021, arXiv 2010.11929).

    Where there are several modalities it ends in a linear map into their `shared` space; a single modality learns
    better without. The buffer `centre` (E,) is subtracted from its vectors to give embeddings.
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
        """Map patches to unit vectors (B, E) made of the mean and the deviation of their tokens.

        Patches without a valid pixel take no part. The vector of a sample without any is meaningless; callers drop it.
        """
        valid = ~patches.values.isnan()  # (B, N, C, P)
        values = patches.values.nan_to_num(0.0)
        x = torch.cat([values.flatten(2), valid.flatten(2).to(values.dtype)], 2)  # (B, N, 2 C P)
        x = self.embed(x) + positions(patches.where, self.width).to(x.dtype)  # (B, N, D)
        has_pixel = valid.flatten(2).any(2)  # (B, N)
        mask = None if bool(has_pixel.all()) else _mask(has_pixel)
        for block in self.blocks:
            x = block(x, mask)
        weight = has_pixel.to(x.dtype)[..., None]  # (B, N, 1)
        weight = weight / weight.sum(1, keepdim=True).clamp(min=1.0)
        x = self.norm(x)
        mean = (x * weight).sum(1, keepdim=True)  # (B, 1, D)
        deviation = (((x - mean) ** 2 * weight).sum(1) + 1e-6).sqrt()  # (B, D)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would round off what differs from the centre
            return F.normalize(self.project(torch.cat([mean[:, 0], deviation], 1).float()), dim=1)


class Model(nn.Module):
    """An encoder per modality, and the temperature of the contrastive loss."""

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
        """Map the patches of a modality to unit vectors (B, E), on which the contrastive loss acts."""
        vectors: Tensor = self.encoders[modality](patches)
        return vectors

    def place(self, modality: str, vectors: Tensor) -> Tensor:
        """Map the vectors of an encoder (B, E) to embeddings (B, E): less their centre, scaled to unit length."""
        return F.normalize(vectors - self.encoders[modality].get_buffer("centre"), dim=1)


def cut(values: Tensor, patch: int) -> Patches:
    """Cut chips (B, C, H, W) into all their patches; sides that are no multiple of `patch` are padded with NaN."""
    B, C, H, W = values.shape
    rows, columns = -(-H // patch), -(-W // patch)
    values = F.pad(values, (0, columns * patch - W, 0, rows * patch - H), value=math.nan)
    values = values.view(B, C, rows, patch, columns, patch).permute(0, 2, 4, 1, 3, 5)  # (B, rows, columns, C, p, p)
    where = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).to(values.device)
    return Patches(values.reshape(B, rows * columns, C, patch**2), where.expand(B, -1, -1))


def positions(where: Tensor, width: int) -> Tensor:
    """Return fixed sine and cosine position vectors (B, N, D) of patches at row and column `where` (B, N, 2).

    Section 3.5 of Vaswani et al. 2017, arXiv 1706.03762, times POSITION; half of D is for rows, half for columns.
    """
    quarter = width // 4
    rates = torch.exp(torch.arange(quarter, device=where.device) * (-math.log(10000.0) / quarter))
    steps = torch.arange(int(where.max()) + 1, device=where.device)
    angles = steps[:, None] * rates  # (most, D / 4)
    table = POSITION * torch.cat([angles.sin(), angles.cos()], 1)  # (most, D / 2)
    return table[where].flatten(2)


def choose_device(name: str) -> torch.device:
    """Return the device called auto (a GPU if there is one), cpu or cuda; raises ConfigError where it is missing."""
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device {name!r} is not auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda: PyTorch finds no such GPU here; use --device auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def autocast(device: torch.device) -> torch.autocast:
    """Return a context that computes in bfloat16 on GPUs that can, and in float32 elsewhere."""
    able = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(device.type, torch.bfloat16, enabled=able)


def contrasted(model: Model, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the vectors of whole chips, on which the contrastive loss acts: (B, E) of unit length, by modality.

    values: (B, C, H, W) by modality, normalised, NaN where missing. Rows are NaN where a chip has no valid pixel.
    """
    vectors = {}
    for name, pixels in values.items():
        pixels = pixels.to(model.log_scale.device)
        is_present = ~pixels.isnan().flatten(1).all(1)  # (B,)
        vectors[name] = pixels.new_full((len(pixels), model.config.space), math.nan)
        if is_present.any():
            vectors[name][is_present] = model(name, cut(pixels[is_present], model.config.patch))
    return vectors


def encode(model: Model, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the embeddings (B, E) of chips, by modality in `values` and fused; NaN where a chip has no valid pixel.

    The fused one is the mean over the modalities present, scaled to unit length; of one modality it is that one's.

    values: (B, C, H, W) by modality, normalised, NaN where missing.
    """
    vectors = {name: model.place(name, encoded) for name, encoded in contrasted(model, values).items()}
    return vectors | {FUSED: fuse(vectors)}


@torch.no_grad()
def centre(model: Model, batches: Iterable[Mapping[str, Tensor]]) -> None:
    """Set the centre of each encoder to the mean of its vectors of these chips."""
    parts_of: dict[str, list[Tensor]] = {name: [] for name in model.config.modalities}
    for values in batches:
        with autocast(model.log_scale.device):
            for name, vectors in contrasted(model, values).items():
                parts_of[name].append(vectors)
    for name, parts in parts_of.items():
        model.encoders[name].get_buffer("centre").copy_(torch.cat(parts).nanmean(0).nan_to_num(0.0))


def fuse(vectors: Mapping[str, Tensor]) -> Tensor:
    """Return the mean of the unit vectors (B, E) that are not NaN, scaled to unit length; NaN where there is none."""
    stacked = torch.stack(list(vectors.values()))  # (M, B, E)
    total = stacked.nansum(0)
    count = (~stacked[..., :1].isnan()).sum(0)  # (B, 1)
    return torch.where(count > 1, F.normalize(total, dim=1), total).masked_fill(count == 0, math.nan)


def _mask(has_pixel: Tensor) -> Tensor:
    """Return an attention mask (B, 1, 1, N); a sample without any pixel attends to all patches, to stay finite."""
    return (has_pixel | ~has_pixel.any(1, keepdim=True))[:, None, None, :]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        # The usual deviation of 0.02 is too small at these widths: blocks then pass their input on almost unchanged.
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
