"""geoembed label."""

from pathlib import Path
from typing import Annotated

import typer

from geoembed.cli import candidates
from geoembed.cli.app import command
from geoembed.cli.options import Overwrite, Update, place

Rasters = Annotated[
    list[str], typer.Argument(metavar="RASTER...", help="Rasters, one mosaic; - reads paths from stdin.")
]
ChipsOption = Annotated[
    Path, typer.Option("--chips", metavar="FOLDER", help="Chip folder to label.", autocompletion=candidates.chips)
]
Classes = Annotated[
    list[str],
    typer.Option(
        "--class",
        metavar="CLASS",
        help="Such as water=80, vegetation=10,20,30 or cropland. Repeatable.",
        autocompletion=candidates.classes,
    ),
]
Threshold = Annotated[
    float,
    typer.Option("--threshold", metavar="SHARE", min=0.0, max=1.0, help="Share of a chip from which its label is 1."),
]
Above = Annotated[
    float | None, typer.Option("--above", metavar="VALUE", help="Mean value above which a chip's label is 1.")
]
Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="Name of the labels of a continuous raster [default: its own]."),
]
LabelOutput = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="PATH", help="File, or folder of several [default: labels/<name>.gpkg]."),
]


@command
def label(
    context: typer.Context,
    rasters: Rasters,
    chips: ChipsOption = Path("chips"),
    classes: Classes = [],  # noqa: B006 (typer copies it)
    threshold: Threshold = 0.5,
    above: Above = None,
    name: Name = None,
    output: LabelOutput = None,
    update: Update = False,
    overwrite: Overwrite = False,
) -> dict[str, float]:
    """Label chips from a class raster (--class) or a continuous one.

    Example: geoembed label landcover.tif --class water=80 --class vegetation=10,20,30
    """
    if not classes and place(context, "threshold") == "COMMANDLINE":
        raise typer.BadParameter("--threshold is for --class; continuous rasters take --above")
    return {} if classes else {"threshold": 0.5}  # what the settings say is about classes
