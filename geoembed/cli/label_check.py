"""geoembed label-check, or label check."""

from pathlib import Path
from typing import Annotated

import typer

from geoembed.cli import candidates
from geoembed.cli.app import command
from geoembed.cli.options import (
    Classifier,
    Embeddings,
    LabelsCrs,
    Layer,
    Overlap,
    Overwrite,
    Seed,
    Target,
    Update,
    Weight,
)
from geoembed.cli.suggest import Features, Pictures, SheetOutput

Labels = Annotated[
    Path, typer.Option("--labels", metavar="FILE", help="Labels: any vector file.", autocompletion=candidates.labels)
]


@command
def label_check(
    labels: Labels,
    embeddings: Embeddings = Path("embeddings.h5"),
    chips: Pictures = None,
    features: Features = "fused",
    classifier: Classifier = "logistic",
    target: Target = None,
    layer: Layer = None,
    crs: LabelsCrs = None,
    overlap: Overlap = None,
    weight: Weight = None,
    seed: Seed = 0,
    output: SheetOutput = Path("suspicious.gpkg"),
    update: Update = False,
    overwrite: Overwrite = False,
) -> None:
    """Find labels that look wrong, in a file to correct them in.

    Example: geoembed label check --labels water.gpkg --chips chips
    """
