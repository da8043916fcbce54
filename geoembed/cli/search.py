"""geoembed search."""

from pathlib import Path
from typing import Annotated

import typer

from geoembed.cli import candidates
from geoembed.cli.app import command
from geoembed.cli.options import Device, Embeddings, Model, Output, Overwrite, Update

EXAMPLE = "LON,LAT|ID|PATH"
"""How an example is given; a path may be that of a vector file, of chips, or of embeddings."""

Like = Annotated[
    list[str],
    typer.Option(
        "--like",
        metavar=EXAMPLE,
        help="An example: a place, a chip, or a file or chip folder of them. Repeatable.",
        autocompletion=candidates.labels,
    ),
]
Unlike = Annotated[
    list[str],
    typer.Option(
        "--not", metavar=EXAMPLE, help="A counterexample, given likewise. Repeatable.", autocompletion=candidates.labels
    ),
]
Features = Annotated[
    str,
    typer.Option(
        "--in",
        metavar="NAME",
        help="Which vectors to search: a modality, or fused.",
        autocompletion=candidates.vectors,
    ),
]
By = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="NAME",
        help="Which vectors of the examples to search by [default: the same].",
        autocompletion=candidates.vectors,
    ),
]
Number = Annotated[int, typer.Option("--n", metavar="NUMBER", min=1, help="Chips to find.")]
Chips = Annotated[
    Path | None,
    typer.Option(
        "--chips", metavar="FOLDER", help="The embedded chips: pictures for --page.", autocompletion=candidates.chips
    ),
]
Page = Annotated[bool, typer.Option("--page", help="Write a page beside the map, too.")]


@command
def search(
    embeddings: Embeddings = Path("embeddings.h5"),
    like: Like = [],  # noqa: B006 (typer copies it)
    unlike: Unlike = [],  # noqa: B006
    features: Features = "fused",
    by: By = None,
    n: Number = 100,
    chips: Chips = None,
    page: Page = False,
    model: Model = Path("model"),
    device: Device = "auto",
    output: Output = Path("similar.gpkg"),
    update: Update = False,
    overwrite: Overwrite = False,
) -> None:
    """Find where else it looks like this.

    Example: geoembed search --like 14.27,40.85 --not 14.3,40.9 --page --chips chips
    """
