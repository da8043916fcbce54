"""geoembed embed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from geoembed.cli import command, streams
from geoembed.cli.options import (
    BatchSize,
    Chips,
    Device,
    DeviceOption,
    Modalities,
    Model,
    Output,
    Overwrite,
    Workers,
    names,
)
from geoembed.progress import Steps


class Kind(StrEnum):
    """Number types of embeddings."""

    float32 = "float32"
    float16 = "float16"


Channels = Annotated[
    list[str],
    typer.Option("--channels", metavar="NAME=GLOBS", help='Only these channels, such as "s2=jja_*". Repeatable.'),
]
KindOption = Annotated[Kind, typer.Option("--dtype", help="Number type to store.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first broken chip file.")]


@command
def embed(
    chips: Chips = Path("chips"),
    output: Output = Path("embeddings.h5"),
    model: Model = Path("model"),
    modalities: Modalities = None,
    channels: Channels = [],  # noqa: B006 (typer copies it)
    batch_size: BatchSize = None,
    dtype: KindOption = Kind.float32,
    device: DeviceOption = Device.auto,
    workers: Workers = 2,
    strict: Strict = False,
    overwrite: Overwrite = False,
) -> Steps:
    """Write an embedding per chip and modality, and one of all modalities that a chip has (fused).

    Example: geoembed embed --modalities s1,coh --channels "s1=jja_*"
    """
    from geoembed.steps.embed import embed

    return embed(
        streams.one_path(chips),
        streams.one_path(model),
        output,
        modalities=names(modalities),
        channels=streams.globs(channels),
        batch_size=batch_size,
        dtype=dtype.value,
        device=device.value,
        workers=workers,
        strict=strict,
        overwrite=overwrite,
    )
