"""Sizes of encoders, and how a training goes by default."""

from __future__ import annotations

import math
from dataclasses import dataclass

from geoembed.errors import ConfigError
from geoembed.learning.model import ModelConfig


@dataclass(frozen=True)
class Preset:
    """A size of encoder, and what its training is by default."""

    width: int
    depth: int
    heads: int
    epochs: float
    batch_size: int
    lr: float
    keep_tokens: float

    def config(self, channels: dict[str, tuple[str, ...]], size: int) -> ModelConfig:
        """Return the model for these channels and chips of `size` pixels."""
        return ModelConfig(channels, patch_of(size), self.width, self.depth, self.heads)


def patch_of(size: int) -> int:
    """Return the side of a patch, 2 to 16 pixels, for chips of `size` pixels: 64 patches or more from 16 pixels on."""
    return 2 if size < 32 else 4 if size < 64 else 8 if size < 128 else 16


PRESETS = {
    "tiny": Preset(128, 4, 4, epochs=100, batch_size=64, lr=1e-3, keep_tokens=0.125),
    "small": Preset(384, 8, 6, epochs=100, batch_size=64, lr=5e-4, keep_tokens=0.25),
    "base": Preset(768, 12, 12, epochs=50, batch_size=256, lr=2e-4, keep_tokens=0.25),
}


@dataclass(frozen=True)
class Options:
    """How a training goes; part of what a model was made from. Either `epochs` or `minutes` is None."""

    preset: str
    epochs: float | None
    minutes: float | None
    batch_size: int
    lr: float
    keep_tokens: float
    drop_channels: float | None
    transductive: bool
    seed: int


def resolve(
    preset: str,
    *,
    epochs: float | None,
    minutes: float | None,
    batch_size: int | None,
    lr: float | None,
    keep_tokens: float | None,
    drop_channels: float | None,
    transductive: bool,
    seed: int,
) -> Options:
    """Fill in the preset's defaults for what is None; raises ConfigError for what makes no sense."""
    if preset not in PRESETS:
        raise ConfigError(f"preset {preset!r} is not {', '.join(PRESETS)}")
    if epochs is not None and minutes is not None:
        raise ConfigError("epochs and minutes exclude each other; give one")
    default = PRESETS[preset]
    options = Options(
        preset=preset,
        epochs=(default.epochs if epochs is None else epochs) if minutes is None else None,
        minutes=minutes,
        batch_size=default.batch_size if batch_size is None else batch_size,
        lr=default.lr if lr is None else lr,
        keep_tokens=default.keep_tokens if keep_tokens is None else keep_tokens,
        drop_channels=drop_channels,
        transductive=transductive,
        seed=seed,
    )
    for name in ("epochs", "minutes", "lr"):
        value = getattr(options, name)
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ConfigError(f"{name} {value} is not a number above 0")
    if options.batch_size < 2:
        raise ConfigError(f"batch_size {options.batch_size} is below 2; a contrastive loss needs two chips")
    if not 0 < options.keep_tokens <= 1:
        raise ConfigError(f"keep_tokens {options.keep_tokens} is not above 0 and at most 1")
    if drop_channels is not None and not 0 <= drop_channels <= 1:
        raise ConfigError(f"drop_channels {drop_channels} is not from 0 to 1")
    if seed < 0:
        raise ConfigError(f"seed {seed} is below 0")
    return options
