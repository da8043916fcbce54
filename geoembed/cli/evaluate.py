"""geoembed evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoembed.cli import command, options, streams
from geoembed.cli.options import Device, DeviceOption, Embeddings, Model, Output, Overwrite, Seed, Target, names
from geoembed.fits.classifiers import TABLE
from geoembed.progress import Steps

Labels = Annotated[
    list[Path], typer.Option("--labels", metavar="FILE", help="Labels of one task: any vector file. Repeatable.")
]
Chips = Annotated[
    Path | None,
    typer.Option(
        "--chips",
        metavar="FOLDER",
        help="The chips that were embedded: compare with simple baselines, remove inputs, show neighbours.",
    ),
]
Against = Annotated[
    list[Path],
    typer.Option("--against", metavar="FILE", help="Embeddings of the same chips to compare with. Repeatable."),
]
Number = Annotated[
    int, typer.Option("--n", metavar="NUMBER", min=2, help="Labels at which all but the learning curves is asked.")
]
Sizes = Annotated[
    str | None,
    typer.Option(
        "--sizes", metavar="NUMBERS", help="Numbers of labels, such as 10,50,all [default: 10 20 50 100 ... all]."
    ),
]
Repeats = Annotated[int, typer.Option("--repeats", metavar="NUMBER", min=1, help="Draws of labels per size.")]
Classifiers = Annotated[
    str,
    typer.Option(
        "--classifiers",
        metavar="NAMES",
        help=f"One or more of {', '.join(TABLE)}.",
        autocompletion=options.classifier_names,
    ),
]
Features = Annotated[
    str | None,
    typer.Option(
        "--features", metavar="NAMES", help="Such as s2,s1+s2,fused,subsets [default: each modality, fused, concat]."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say how many fits there are and about how long.")]


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
    seed: Seed = 0,
    device: DeviceOption = Device.auto,
    dry_run: DryRun = False,
    output: Output = Path("report"),
    overwrite: Overwrite = False,
) -> Steps:
    """Measure how many labels are enough, compared with what, and whether to believe it; write a report.

    Example: geoembed evaluate --chips chips --labels labels/water.gpkg --labels labels/cropland.gpkg
    """
    from geoembed.steps.evaluate import evaluate

    return evaluate(
        streams.one_path(embeddings),
        streams.all_paths(labels),
        output,
        against=tuple(against),
        chips=chips,
        model=model,
        device=device.value,
        n=n,
        sizes=names(sizes),
        repeats=repeats,
        classifiers=names(classifiers) or (),
        features=names(features),
        target=target,
        seed=seed,
        dry_run=dry_run,
        overwrite=overwrite,
    )
