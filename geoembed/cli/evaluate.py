"""geoembed evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoembed.cli import command, streams
from geoembed.cli.options import Embeddings, Output, Overwrite, Seed, Target, names
from geoembed.steps import Steps

Labels = Annotated[
    list[Path], typer.Option("--labels", metavar="FILE", help="Labels of one task: any vector file. Repeatable.")
]
Sizes = Annotated[
    str | None,
    typer.Option(
        "--sizes", metavar="NUMBERS", help="Numbers of labels, such as 10,50,all [default: 10 20 50 100 ... all]."
    ),
]
Repeats = Annotated[int, typer.Option("--repeats", metavar="NUMBER", min=1, help="Draws of labels per size.")]
Classifiers = Annotated[str, typer.Option("--classifiers", metavar="NAMES", help="logistic, ridge, forest, knn.")]
Features = Annotated[
    str | None,
    typer.Option("--features", metavar="NAMES", help="Such as s2,fused [default: each modality, fused, concat]."),
]


@command
def evaluate(
    labels: Labels,
    embeddings: Embeddings = Path("embeddings.h5"),
    sizes: Sizes = None,
    repeats: Repeats = 5,
    classifiers: Classifiers = "logistic",
    features: Features = None,
    target: Target = None,
    seed: Seed = 0,
    output: Output = Path("report"),
    overwrite: Overwrite = False,
) -> Steps:
    """Measure how many labels are enough, per task, area and modality, and write a report.

    Example: geoembed evaluate --labels labels/water.gpkg --labels labels/cropland.gpkg
    """
    from geoembed.evaluate import evaluate

    return evaluate(
        streams.one_path(embeddings),
        streams.all_paths(labels),
        output,
        sizes=names(sizes),
        repeats=repeats,
        classifiers=names(classifiers) or (),
        features=names(features),
        target=target,
        seed=seed,
        overwrite=overwrite,
    )
