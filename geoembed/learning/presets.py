"""Sizes of encoders, and how a training goes by default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from geoembed.errors import ConfigError, of_validation
from geoembed.learning.model import ModelConfig


@dataclass(frozen=True)
class Preset:
    """A size of encoder, and what its training is by default.

    width, depth, heads: of every encoder.
    epochs, batch_size, lr, keep_tokens: as in `Options`.
    """

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


class Options(BaseModel, frozen=True, extra="forbid"):
    """How a training goes; part of what a model was made from.

    preset: the size of the model; what is not given is the preset's.
    epochs: how often each chip is seen; None where `minutes` is given.
    minutes: how long to train; None where `epochs` is given.
    batch_size: chips in a step; a contrastive loss needs two.
    lr: highest learning rate of AdamW.
    keep_tokens: share of a chip's patches that a view keeps.
    drop_channels: share of views that go without some seasons and channels; None: half of those of several seasons.
    transductive: whether it learns from the chips of all splits.
    seed: of everything random.
    """

    preset: Literal["tiny", "small", "base"]
    epochs: float | None = Field(None, gt=0, allow_inf_nan=False)
    minutes: float | None = Field(None, gt=0, allow_inf_nan=False)
    batch_size: int = Field(ge=2)
    lr: float = Field(gt=0, allow_inf_nan=False)
    keep_tokens: float = Field(gt=0, le=1)
    drop_channels: float | None = Field(None, ge=0, le=1)
    transductive: bool = False
    seed: int = Field(0, ge=0)

    @classmethod
    def of(cls, preset: str, **given: Any) -> Options:
        """Return the options given, and the preset's for those that are None; raises ConfigError where one is wrong."""
        if given.get("epochs") is not None and given.get("minutes") is not None:
            raise ConfigError("epochs and minutes exclude each other; give one")
        defaults = vars(PRESETS[preset]) if preset in PRESETS else {}
        filled = {name: defaults.get(name) if value is None else value for name, value in given.items()}
        if given.get("minutes") is not None:
            filled["epochs"] = None
        try:
            return cls(preset=preset, **filled)  # type: ignore[arg-type]  # told apart by the next line
        except ValidationError as error:
            raise ConfigError(of_validation(error)) from None
