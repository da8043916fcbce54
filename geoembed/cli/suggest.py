"""geoembed suggest."""

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

Number = Annotated[int, typer.Option("--n", metavar="NUMBER", min=1, help="Chips to suggest.")]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels", metavar="FILE", help="Labels that there are [default: none].", autocompletion=candidates.labels
    ),
]
Pictures = Annotated[
    Path | None,
    typer.Option(
        "--chips", metavar="FOLDER", help="The embedded chips: adds their pictures.", autocompletion=candidates.chips
    ),
]
Areas = Annotated[
    list[str], typer.Option("--area", metavar="NAME", help="An area to choose from [default: all]. Repeatable.")
]
Test = Annotated[bool, typer.Option("--test", help="Choose from the test split too, which is to judge maps.")]
Names = Annotated[
    list[str], typer.Option("--names", metavar="NAMES", help="Classes that the form offers, as in water,forest,other.")
]
Features = Annotated[
    str,
    typer.Option(
        "--features", metavar="NAME", help="A modality, fused, or concat.", autocompletion=candidates.features
    ),
]
SheetOutput = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="GeoPackage to write.")]


@command
def suggest(
    embeddings: Embeddings = Path("embeddings.h5"),
    n: Number = 20,
    labels: Labels = None,
    chips: Pictures = None,
    areas: Areas = [],  # noqa: B006
    test: Test = False,
    names: Names = [],  # noqa: B006
    features: Features = "fused",
    classifier: Classifier = "logistic",
    target: Target = None,
    layer: Layer = None,
    crs: LabelsCrs = None,
    overlap: Overlap = None,
    weight: Weight = None,
    seed: Seed = 0,
    output: SheetOutput = Path("to-label.gpkg"),
    update: Update = False,
    overwrite: Overwrite = False,
) -> None:
    """Suggest which chips to label next, in a file to fill in.

    Example: geoembed suggest --n 20 --labels water.gpkg --chips chips
    """
