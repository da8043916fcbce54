"""geoembed evaluate."""

from pathlib import Path
from typing import Annotated

import typer

from geoembed.cli import candidates
from geoembed.cli.app import command
from geoembed.cli.options import (
    Device,
    Embeddings,
    HoldOut,
    LabelsCrs,
    Layer,
    Model,
    Output,
    Overlap,
    Overwrite,
    Seed,
    Target,
    Update,
    Weight,
)
from geoembed.fits.classifiers import TABLE

Labels = Annotated[
    list[Path],
    typer.Option(
        "--labels",
        metavar="FILE",
        help="Labels of one task: any vector file. Repeatable.",
        autocompletion=candidates.labels,
    ),
]
Chips = Annotated[
    Path | None,
    typer.Option(
        "--chips",
        metavar="FOLDER",
        help="The embedded chips: adds baselines, removed inputs, neighbours.",
        autocompletion=candidates.chips,
    ),
]
Against = Annotated[
    list[Path],
    typer.Option(
        "--against",
        metavar="FILE",
        help="Embeddings of the same chips to compare with. Repeatable.",
        autocompletion=candidates.embeddings,
    ),
]
Number = Annotated[
    int,
    typer.Option("--n", metavar="NUMBER", min=2, help="Number of labels for all questions except the learning curves."),
]
Sizes = Annotated[
    str | None,
    typer.Option("--sizes", metavar="NUMBERS", help="Numbers of labels, as in 10,50,all [default: 10,20,50,...,all]."),
]
Repeats = Annotated[int, typer.Option("--repeats", metavar="NUMBER", min=1, help="Draws of labels per size.")]
Classifiers = Annotated[
    str,
    typer.Option(
        "--classifiers",
        metavar="NAMES",
        help=f"One or more of {', '.join(TABLE)}.",
        autocompletion=candidates.classifiers,
    ),
]
Features = Annotated[
    str | None,
    typer.Option(
        "--features",
        metavar="NAMES",
        help="Such as s2,s1+s2,fused,subsets [default: each modality, fused, concat].",
        autocompletion=candidates.feature_lists,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only say how many fits there are and about how long they take.")
]


@command
def evaluate(
    labels: Labels,
    embeddings: Embeddings = Path("embeddings.h5"),
    chips: Chips = None,
    model: Model = Path("model"),
    against: Against = [],  # noqa: B006 (typer copies it)
    n: Number = 200,
    sizes: Sizes = None,
    repeats: Repeats = 5,
    classifiers: Classifiers = "logistic",
    features: Features = None,
    target: Target = None,
    layer: Layer = None,
    crs: LabelsCrs = None,
    overlap: Overlap = None,
    weight: Weight = None,
    seed: Seed = 0,
    hold_out: HoldOut = False,
    device: Device = "auto",
    dry_run: DryRun = False,
    output: Output = Path("report"),
    update: Update = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure how many labels are enough, and write a report.

    Example: geoembed evaluate --chips chips --labels labels/water.gpkg --labels labels/cropland.gpkg
    """
