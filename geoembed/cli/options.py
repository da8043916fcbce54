"""Options that two or more commands share, each declared once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from geoembed.fits.classifiers import TABLE


class Device(StrEnum):
    """Where a model runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def classifier_names(incomplete: str) -> list[str]:
    """Complete a classifier's name, or the last one of a list such as "logistic,forest"."""
    before, comma, begun = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in TABLE if name.startswith(begun)]


Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings file [default: geoembed.toml where it exists]."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what is wrong.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object in place of the path.")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="PATH", help="Where to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what geoembed made there before.")]
Seed = Annotated[int, typer.Option("--seed", metavar="NUMBER", min=0, help="Seed of everything random.")]
Workers = Annotated[int, typer.Option("--workers", metavar="NUMBER", min=1, help="Threads that read and write chips.")]
Chips = Annotated[Path, typer.Argument(metavar="CHIPS", help="Chip folder, or - to read its path from stdin.")]
Embeddings = Annotated[
    Path, typer.Argument(metavar="EMBEDDINGS", help="Embeddings file, or - to read its path from stdin.")
]
DeviceOption = Annotated[
    Device, typer.Option("--device", help="Where the model runs; auto takes a GPU if there is one.")
]
Model = Annotated[Path, typer.Option("--model", metavar="FOLDER", help="Model folder.")]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", metavar="NUMBER", min=1, help="Chips per batch [default: the preset's].")
]
Modalities = Annotated[str | None, typer.Option("--modalities", metavar="NAMES", help="Only these, such as s1,coh.")]
Classifier = Annotated[
    str,
    typer.Option("--classifier", metavar="NAME", help=f"One of {', '.join(TABLE)}.", autocompletion=classifier_names),
]
Target = Annotated[
    str | None, typer.Option("--target", metavar="COLUMN", help="The labels' column [default: label, else value].")
]


def names(text: str | None) -> tuple[str, ...] | None:
    """Return the words of a list such as "s1,coh", or None where nothing was said."""
    return None if text is None else tuple(word for word in text.replace(",", " ").split() if word)


def stronger(context: typer.Context | None, **values: float) -> tuple[float | None, ...]:
    """Of options that exclude each other, keep those from the strongest place: command line, environment or file."""
    assert context is not None
    order = ("COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP")
    places = {name: order.index(getattr(context.get_parameter_source(name), "name", order[-1])) for name in values}
    return tuple(value if places[name] == min(places.values()) else None for name, value in values.items())
