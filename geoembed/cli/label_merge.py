"""geoembed label-merge, or label merge."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from geoembed.cli import candidates
from geoembed.cli.app import command
from geoembed.cli.options import LabelsCrs, Overwrite, Target, Update

Labels = Annotated[
    list[Path],
    typer.Argument(metavar="LABELS...", help="Label files, the oldest first.", autocompletion=candidates.labels),
]
Prefer = Annotated[
    Literal["last", "first", "none"], typer.Option("--prefer", help="Whose label counts where files contradict.")
]
MergedOutput = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="GeoPackage to write.")]


@command
def label_merge(
    labels: Labels,
    prefer: Prefer = "last",
    target: Target = None,
    crs: LabelsCrs = None,
    output: MergedOutput = Path("labels.gpkg"),
    update: Update = False,
    overwrite: Overwrite = False,
) -> None:
    """Join label files, such as rounds, and tell contradictions.

    Example: geoembed label merge round1.gpkg round2.gpkg -o water.gpkg
    """
