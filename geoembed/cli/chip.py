"""geoembed chip."""

from pathlib import Path
from typing import Annotated

import typer

from geoembed.cli.app import command
from geoembed.cli.options import Output, Overwrite, Seed, Update, Workers

Aoi = Annotated[
    list[Path],
    typer.Option("--aoi", metavar="FILE", help="Polygons of the area of interest; any vector file. Repeatable."),
]
Layer = Annotated[
    str | None, typer.Option("--layer", metavar="NAME", help="The areas' layer, where several have polygons.")
]
Source = Annotated[
    list[str],
    typer.Option("--source", metavar="NAME=PATH", help="Where a modality's imagery lies, such as s2=scenes/*.tif."),
]
Size = Annotated[
    int | None,
    typer.Option(
        "--size",
        metavar="PIXELS",
        min=1,
        help="Pixels along a chip's side [default: 448, or less where that gives fewer than 1,000 chips].",
    ),
]
Resolution = Annotated[
    float | None, typer.Option("--resolution", metavar="METRES", help="Metres per pixel [default: 10].")
]
Align = Annotated[
    str | None, typer.Option("--align", metavar="NAME", help="Lay the grid on this modality's own pixels.")
]
MinValid = Annotated[
    float,
    typer.Option(
        "--min-valid", metavar="SHARE", min=0.0, max=1.0, help="Share of valid pixels below which a modality is absent."
    ),
]

CellNumber = Annotated[
    int | None,
    typer.Option("--cells", metavar="N", min=1, help="Confirm so many cells, where they are over 10 million."),
]


@command
def chip(
    aoi: Aoi,
    layer: Layer = None,
    source: Source = [],  # noqa: B006 (typer copies it)
    output: Output = Path("chips"),
    size: Size = None,
    resolution: Resolution = None,
    align: Align = None,
    min_valid: MinValid = 0.5,
    cells: CellNumber = None,
    seed: Seed = 0,
    workers: Workers = 2,
    update: Update = False,
    overwrite: Overwrite = False,
) -> None:
    """Cut aligned chips from imagery, over areas of interest.

    Imagery is named in geoembed.toml or with --source.

    Example: geoembed chip --aoi aoi.gpkg --source s2=scenes/*.tif
    """
