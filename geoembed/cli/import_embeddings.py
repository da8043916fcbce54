"""geoembed import."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from geoembed.cli import candidates
from geoembed.cli.app import command
from geoembed.cli.options import Output, Overwrite, Update

Source = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...", help="GeoParquet files with vectors, or rasters of vectors; - reads paths from stdin."
    ),
]
PooledChips = Annotated[
    Path | None,
    typer.Option(
        "--chips",
        metavar="FOLDER",
        help="Pool vectors over these chips [default: each footprint of a table is a chip].",
        autocompletion=candidates.chips,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name", metavar="NAME", help="What they are called [default: alphaearth, tessera or the file's name]."
    ),
]
Column = Annotated[
    str | None,
    typer.Option("--column", metavar="COLUMN", help="The table's column of vectors [default: the only one]."),
]
Pool = Annotated[
    Literal["mean", "stats"],
    typer.Option("--pool", help="Per chip: the mean; or mean, deviation, minimum and maximum."),
]
Match = Annotated[
    Literal["centre", "overlap"] | None,
    typer.Option("--match", help="A footprint is on a chip by its middle, or by area [default: overlap if larger]."),
]
Scales = Annotated[
    Path | None,
    typer.Option("--scales", metavar="FILE", help="Scales of a raster of int8 [default: NAME_scales.* beside it]."),
]
TableCrs = Annotated[
    str | None, typer.Option("--crs", metavar="CRS", help="CRS of geometry that names none, such as EPSG:4326.")
]


@command
def import_embeddings(
    source: Source,
    output: Output = Path("embeddings.h5"),
    chips: PooledChips = None,
    name: Name = None,
    column: Column = None,
    pool: Pool = "mean",
    match: Match = None,
    scales: Scales = None,
    crs: TableCrs = None,
    update: Update = False,
    overwrite: Overwrite = False,
) -> None:
    """Take over embeddings of others, or an export.

    Such as AlphaEarth, TESSERA, Clay or Major TOM.

    Example: geoembed import aef/*.vrt --chips chips -o alphaearth.h5

    Example: geoembed import clay.parquet -o clay.h5
    """
