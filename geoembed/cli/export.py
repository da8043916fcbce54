"""geoembed export."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from geoembed.cli.app import command
from geoembed.cli.options import Embeddings, Overwrite, Update

ExportOutput = Annotated[
    Path, typer.Option("--output", "-o", metavar="PATH", help="GeoParquet file, or Zarr store where it ends in .zarr.")
]
NumberType = Annotated[
    Literal["float32", "float16", "int8"],
    typer.Option("--dtype", help="Number type to store; int8, of GeoParquet, with a scale per dimension."),
]


@command
def export(
    embeddings: Embeddings = Path("embeddings.h5"),
    output: ExportOutput = Path("embeddings.parquet"),
    dtype: NumberType = "float32",
    update: Update = False,
    overwrite: Overwrite = False,
) -> None:
    """Write embeddings as GeoParquet or Zarr, for other programs.

    DuckDB, QGIS and geopandas read GeoParquet, xarray reads Zarr.

    Example: geoembed export -o embeddings.parquet

    Example: geoembed export -o embeddings.zarr
    """
