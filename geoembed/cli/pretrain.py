"""geoembed pretrain."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from geoembed.cli.app import command
from geoembed.cli.options import (
    BatchSize,
    Chips,
    Device,
    Modalities,
    Output,
    Overwrite,
    Seed,
    Update,
    Workers,
    stronger,
)

Preset = Annotated[
    Literal["tiny", "small", "base"], typer.Option("--preset", help="Size of the model, and defaults of its training.")
]
Epochs = Annotated[
    float | None,
    typer.Option("--epochs", metavar="NUMBER", help="How often to use each chip [default: the preset's]."),
]
Minutes = Annotated[
    float | None, typer.Option("--minutes", metavar="NUMBER", help="How long to train, in place of --epochs.")
]
Rate = Annotated[
    float | None, typer.Option("--lr", metavar="RATE", help="Highest learning rate [default: the preset's].")
]
KeepTokens = Annotated[
    float | None,
    typer.Option("--keep-tokens", metavar="SHARE", help="Share of a chip's patches in a view [default: the preset's]."),
]

DropChannels = Annotated[
    float | None,
    typer.Option(
        "--drop-channels",
        metavar="SHARE",
        help="Share of views without some of their channels [default: half where there are several seasons].",
    ),
]
Transductive = Annotated[
    bool, typer.Option("--transductive", help="Learn from the chips of all splits, for a map of these very chips.")
]


@command
def pretrain(
    context: typer.Context,
    chips: Chips = Path("chips"),
    output: Output = Path("model"),
    preset: Preset = "tiny",
    modalities: Modalities = None,
    epochs: Epochs = None,
    minutes: Minutes = None,
    batch_size: BatchSize = None,
    lr: Rate = None,
    keep_tokens: KeepTokens = None,
    drop_channels: DropChannels = None,
    transductive: Transductive = False,
    seed: Seed = 0,
    device: Device = "auto",
    workers: Workers = 2,
    update: Update = False,
    overwrite: Overwrite = False,
) -> dict[str, None]:
    """Pretrain one encoder per modality on chips, without labels.

    Killed and run again, it goes on.

    Example: geoembed pretrain --preset small --minutes 60
    """
    return stronger(context, "epochs", "minutes") if epochs is not None and minutes is not None else {}
