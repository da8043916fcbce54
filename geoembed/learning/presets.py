"""Presets: sizes of encoders with defaults of their training; and the options of a training."""

from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError

from geoembed.errors import ConfigError, of_validation
from geoembed.learning.model import ModelConfig


@dataclass(frozen=True)
class Preset:
    """A size of encoder, with defaults of its training.

    width, depth, heads: of the encoders, as in `ModelConfig`.
    epochs, batch_size, lr, keep_tokens: of the training, as in `Options`.
    """

    width: int
    depth: int
    heads: int
    epochs: float
    batch_size: int
    lr: float
    keep_tokens: float

    def config(self, channels: dict[str, tuple[str, ...]], size: int) -> ModelConfig:
        """Return what a model for these channels and for chips of `size` pixels is built from.

        Patches are 2 to 16 pixels wide, so that chips of 16 pixels or more have at least 64 of them.
        """
        patch = 2 if size < 32 else 4 if size < 64 else 8 if size < 128 else 16
        return ModelConfig(channels, patch, self.width, self.depth, self.heads)


PRESETS = {
    "tiny": Preset(128, 4, 4, epochs=100, batch_size=64, lr=1e-3, keep_tokens=0.125),
    "small": Preset(384, 8, 6, epochs=100, batch_size=64, lr=5e-4, keep_tokens=0.25),
    "base": Preset(768, 12, 12, epochs=50, batch_size=256, lr=2e-4, keep_tokens=0.25),
}


class Options(BaseModel, frozen=True, extra="forbid"):
    """The options of a training; part of the record of a model.

    preset: the size of the model, which gives the defaults of other options.
    epochs: number of times that each chip is seen; None where `minutes` is given.
    minutes: duration of the training; None where `epochs` is given.
    batch_size: chips in a step; the contrastive loss needs two.
    lr: highest learning rate of AdamW.
    keep_tokens: share of a chip's patches that a view keeps.
    drop_channels: share of views without some of their channels; None: half of the views of several seasons.
    transductive: whether to learn from the chips of all splits, and not of the train split only.
    seed: of everything random.
    """

    preset: Literal["tiny", "small", "base"]
    epochs: float | None = Field(None, gt=0, le=1e9, allow_inf_nan=False)
    minutes: float | None = Field(None, gt=0, le=1e9, allow_inf_nan=False)
    batch_size: int = Field(ge=2)
    lr: float = Field(gt=0, allow_inf_nan=False)
    keep_tokens: float = Field(gt=0, le=1)
    drop_channels: float | None = Field(None, ge=0, le=1)
    transductive: bool = False
    seed: int = Field(0, ge=0, lt=2**64)

    @classmethod
    def of(cls, preset: str, **values: Any) -> Self:
        """Return options; those that are None become the preset's. Raises ConfigError where one is wrong."""
        if values.get("epochs") is not None and values.get("minutes") is not None:
            raise ConfigError("epochs and minutes exclude each other; give one")
        defaults = vars(PRESETS[preset]) if preset in PRESETS else {}
        if values.get("minutes") is not None:
            defaults = {**defaults, "epochs": None}
        filled = {name: defaults.get(name) if value is None else value for name, value in values.items()}
        try:
            return cls(preset=preset, **filled)  # type: ignore[arg-type]  # pydantic checks the preset's name
        except ValidationError as error:
            raise ConfigError(of_validation(error)) from None
