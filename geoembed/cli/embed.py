"""geoembed embed."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from geoembed.cli.app import command
from geoembed.cli.options import BatchSize, Chips, Device, Modalities, Model, Output, Overwrite, Update, Workers

Channels = Annotated[
    list[str],
    typer.Option("--channels", metavar="NAME=GLOBS", help='Only these channels, such as "s2=jja_*". Repeatable.'),
]
NumberType = Annotated[Literal["float32", "float16"], typer.Option("--dtype", help="Number type to store.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first broken chip file.")]


@command
def embed(
    chips: Chips = Path("chips"),
    output: Output = Path("embeddings.h5"),
    model: Model = Path("model"),
    modalities: Modalities = None,
    channels: Channels = [],  # noqa: B006 (typer copies it)
    batch_size: BatchSize = None,
    dtype: NumberType = "float32",
    device: Device = "auto",
    workers: Workers = 2,
    strict: Strict = False,
    update: Update = False,
    overwrite: Overwrite = False,
) -> None:
    """Write an embedding per chip and modality, and a fused one.

    Example: geoembed embed --modalities s1,coh --channels "s1=jja_*"
    """
