"""geoembed probe."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from geoembed.cli import command, streams
from geoembed.cli.options import Classifier, Embeddings, Overwrite, Seed, Target
from geoembed.progress import Steps


class Draw(StrEnum):
    """How labels are drawn."""

    random = "random"
    stratified = "stratified"


Labels = Annotated[Path | None, typer.Option("--labels", metavar="FILE", help="Labels: any vector file.")]
Number = Annotated[
    int | None, typer.Option("--n", metavar="NUMBER", min=2, help="Labels to draw from the train split [default: all].")
]
DrawOption = Annotated[Draw, typer.Option("--draw", help="At random, or keeping the classes' proportions.")]
Features = Annotated[str, typer.Option("--features", metavar="NAME", help="A modality, fused, or concat.")]
Fitted = Annotated[
    Path | None, typer.Option("--apply", metavar="FILE", help="Map these embeddings with a probe fitted before.")
]
ProbeOutput = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FOLDER", help="Folder to write [default: probe/<labels name>]."),
]

FITTING = ("n", "draw", "classifier", "features", "target", "seed")
"""Options that say how a probe is fitted."""


@command
def probe(
    embeddings: Embeddings = Path("embeddings.h5"),
    labels: Labels = None,
    n: Number = None,
    draw: DrawOption = Draw.random,
    classifier: Classifier = "logistic",
    features: Features = "fused",
    target: Target = None,
    fitted: Fitted = None,
    seed: Seed = 0,
    output: ProbeOutput = None,
    overwrite: Overwrite = False,
    context: typer.Context | None = None,
) -> Steps:
    """Fit a classical model on few labels and map every chip with it.

    Example: geoembed probe --labels labels/water.gpkg --n 500
    """
    from geoembed.steps import probe

    if (labels is None) == (fitted is None):
        raise typer.BadParameter("give either --labels to fit a probe or --apply to use one")
    assert context is not None
    places = {name: context.get_parameter_source(name) for name in FITTING}
    fitting = [f"--{name}" for name, place in places.items() if getattr(place, "name", "") == "COMMANDLINE"]
    if fitted is not None and fitting:
        raise typer.BadParameter(f"{', '.join(fitting)} cannot change a fitted probe; drop it, or fit with --labels")
    path = streams.one_path(embeddings)
    if fitted is not None:
        return probe.apply(path, streams.one_path(fitted), output, overwrite=overwrite)
    assert labels is not None
    return probe.probe(
        path,
        streams.one_path(labels),
        output,
        n=n,
        draw=draw.value,
        classifier=classifier,
        features=features,
        target=target,
        seed=seed,
        overwrite=overwrite,
    )
