"""geoembed label."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from geoembed.cli import candidates
from geoembed.cli.app import command
from geoembed.cli.options import Cache, Offline, Overwrite, Update, place

Rasters = Annotated[
    list[str],
    typer.Argument(
        metavar="RASTER...", help="Rasters, one mosaic; worldcover fetches ESA WorldCover; - reads paths from stdin."
    ),
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
Kind = Annotated[
    Literal["classes", "numbers"] | None,
    typer.Option("--kind", help="Without --class: what the raster holds [default: as it tells]."),
]
Names = Annotated[
    str | None,
    typer.Option(
        "--names", metavar="NAMES", help="Of all classes, as in water=1,trees=2,3 or worldcover [default: its own]."
    ),
]
Threshold = Annotated[
    float,
    typer.Option(
        "--threshold", metavar="SHARE", min=0.0, max=1.0, help="Share of a chip from which a class is its label."
    ),
]
Above = Annotated[
    float | None, typer.Option("--above", metavar="VALUE", help="Mean of numbers above which a chip's label is 1.")
]
Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="Name of the label file [default: that of class or raster]."),
]
Driver = Annotated[
    list[str],
    typer.Option(
        "--driver", metavar="NAME", help="GDAL's driver of an unusual kind of raster, such as GRIB. Repeatable."
    ),
]
Outside = Annotated[
    list[str],
    typer.Option("--outside", metavar="FOLDER", help="Where a VRT may name files that are not beside it. Repeatable."),
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
    kind: Kind = None,
    names: Names = None,
    threshold: Threshold = 0.5,
    above: Above = None,
    name: Name = None,
    driver: Driver = [],  # noqa: B006 (typer copies it)
    outside: Outside = [],  # noqa: B006 (typer copies it)
    cache: Cache = None,
    offline: Offline = False,
    output: LabelOutput = None,
    update: Update = False,
    overwrite: Overwrite = False,
) -> dict[str, float]:
    """Label chips from a raster of classes or of numbers.

    Without --class, one file of all its classes, or of the means of its numbers.

    Example: geoembed label landcover.tif --class water=80 --class vegetation=10,20,30

    Example: geoembed label worldcover --class water
    """
    if kind != "numbers" and above is None:
        return {}
    if place(context, "threshold") == "COMMANDLINE":
        raise typer.BadParameter("--threshold is for classes; rasters of numbers take --above")
    return {"threshold": 0.5}  # what the settings say is about classes
