"""geoembed probe."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from geoembed.cli import candidates
from geoembed.cli.app import command
from geoembed.cli.options import (
    Classifier,
    Embeddings,
    HoldOut,
    LabelsCrs,
    Layer,
    Overlap,
    Overwrite,
    Seed,
    Target,
    Update,
    Weight,
    place,
)

Labels = Annotated[
    Path | None,
    typer.Option("--labels", metavar="FILE", help="Labels: any vector file.", autocompletion=candidates.labels),
]
Number = Annotated[
    int | None, typer.Option("--n", metavar="NUMBER", min=2, help="Labels to draw and learn from [default: all].")
]
Draw = Annotated[
    Literal["random", "stratified"], typer.Option("--draw", help="At random, or keeping the classes' proportions.")
]
Decide = Annotated[
    Literal["likeliest", "balanced"],
    typer.Option("--decide", help="A chip's class: the likeliest, or that relative to its share of the labels."),
]
Features = Annotated[
    str,
    typer.Option(
        "--features", metavar="NAME", help="A modality, fused, or concat.", autocompletion=candidates.features
    ),
]
Fitted = Annotated[
    Path | None,
    typer.Option(
        "--apply",
        metavar="FILE",
        help="Map these embeddings with a probe fitted before.",
        autocompletion=candidates.probes,
    ),
]
ProbeOutput = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FOLDER", help="Folder to write [default: probe/<labels name>]."),
]

FITTING = {
    "n": None, "draw": "random", "hold_out": False, "decide": "likeliest", "classifier": "logistic",
    "features": "fused", "target": None, "layer": None, "crs": None, "overlap": None, "weight": None, "seed": 0,
}  # fmt: skip
"""Options that say how a probe is fitted, with their defaults."""


@command
def probe(
    context: typer.Context,
    embeddings: Embeddings = Path("embeddings.h5"),
    labels: Labels = None,
    n: Number = None,
    draw: Draw = "random",
    hold_out: HoldOut = False,
    decide: Decide = "likeliest",
    classifier: Classifier = "logistic",
    features: Features = "fused",
    target: Target = None,
    layer: Layer = None,
    crs: LabelsCrs = None,
    overlap: Overlap = None,
    weight: Weight = None,
    apply: Fitted = None,
    seed: Seed = 0,
    output: ProbeOutput = None,
    update: Update = False,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Fit a classical model on few labels and map all chips.

    Example: geoembed probe --labels labels/water.gpkg --n 500
    """
    if (labels is None) == (apply is None):
        raise typer.BadParameter("give either --labels to fit a probe or --apply to use one")
    fitting = [f"--{name.replace('_', '-')}" for name in FITTING if place(context, name) == "COMMANDLINE"]
    if apply is not None and fitting:
        raise typer.BadParameter(f"{', '.join(fitting)} cannot change a fitted probe; drop it, or fit with --labels")
    return {} if apply is None else FITTING  # what the settings say of fitting is not about this probe
