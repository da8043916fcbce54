"""Options that two or more commands share, each declared once."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from geoembed.cli import candidates
from geoembed.fits.classifiers import TABLE

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings file [default: geoembed.toml where it exists]."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what is wrong.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object in place of the path.")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="PATH", help="Where to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what geoembed made there before.")]
Update = Annotated[
    bool, typer.Option("--update", help="Make again what geoembed made there from older versions of the same inputs.")
]
Cache = Annotated[
    Path | None, typer.Option("--cache", metavar="FOLDER", help="Folder of what is fetched [default: cache].")
]
Aoi = Annotated[
    list[Path],
    typer.Option("--aoi", metavar="FILE", help="Polygons of the area of interest; any vector file. Repeatable."),
]
Adopt = Annotated[
    list[Path],
    typer.Option(
        "--adopt",
        metavar="FOLDER",
        help="In place of --aoi: chips that geetiles made, which stay where they lie. Repeatable.",
    ),
]
SplitColumn = Annotated[
    str | None,
    typer.Option("--split", metavar="COLUMN", help="Adopted tiles' column of splits [default: split, or the only]."),
]
AreaLayer = Annotated[
    str | None, typer.Option("--layer", metavar="NAME", help="The areas' layer, where several have polygons.")
]
Source = Annotated[
    list[str],
    typer.Option("--source", metavar="NAME=PATH", help="Where a modality's imagery lies, such as s2=scenes/*.tif."),
]
Size = Annotated[
    int | None,
    typer.Option(
        "--size",
        metavar="PIXELS",
        min=1,
        help="Pixels along a chip's side [default: 448, or less where that gives fewer than 1,000 chips].",
    ),
]
Resolution = Annotated[
    float | None, typer.Option("--resolution", metavar="METRES", help="Metres per pixel [default: 10].")
]
Align = Annotated[
    str | None, typer.Option("--align", metavar="NAME", help="Lay the grid on this modality's own pixels.")
]
MinValid = Annotated[
    float,
    typer.Option(
        "--min-valid", metavar="SHARE", min=0.0, max=1.0, help="Share of valid pixels below which a modality is absent."
    ),
]
CellNumber = Annotated[
    int | None,
    typer.Option("--cells", metavar="N", min=1, help="Confirm so many cells, where they are over 10 million."),
]
Year = Annotated[
    int | None, typer.Option("--year", metavar="YEAR", min=2015, help="Of Sentinel-2 that is fetched [default: 2020].")
]
SeasonNames = Annotated[
    str | None, typer.Option("--seasons", metavar="NAMES", help="Of what is fetched, such as jja,djf [default: all].")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what there is, and what it would cost to fetch it.")]
SearchAgain = Annotated[
    bool,
    typer.Option("--update", help="Search catalogues again, and make again what older versions of the inputs made."),
]
Offline = Annotated[bool, typer.Option("--offline", help="Ask no other machine; what is needed is in the cache.")]
Seed = Annotated[int, typer.Option("--seed", metavar="NUMBER", min=0, help="Seed of everything random.")]
Workers = Annotated[int, typer.Option("--workers", metavar="NUMBER", min=1, help="Threads that read and write chips.")]
Chips = Annotated[
    Path,
    typer.Argument(
        metavar="CHIPS", help="Chip folder, or - to read its path from stdin.", autocompletion=candidates.chips
    ),
]
Embeddings = Annotated[
    Path,
    typer.Argument(
        metavar="EMBEDDINGS",
        help="Embeddings file, or - to read its path from stdin.",
        autocompletion=candidates.embeddings,
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option("--device", help="Where the model runs; auto takes a GPU if there is one."),
]
Model = Annotated[
    Path, typer.Option("--model", metavar="FOLDER", help="Model folder.", autocompletion=candidates.models)
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", metavar="NUMBER", min=1, help="Chips per batch [default: the preset's].")
]
Modalities = Annotated[
    str | None,
    typer.Option(
        "--modalities", metavar="NAMES", help="Only these, such as s1,coh.", autocompletion=candidates.modalities
    ),
]
Classifier = Annotated[
    str,
    typer.Option(
        "--classifier", metavar="NAME", help=f"One of {', '.join(TABLE)}.", autocompletion=candidates.classifier
    ),
]
HoldOut = Annotated[
    bool, typer.Option("--hold-out", help="Learn from the train split alone, and score on the test split.")
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="COLUMN",
        help="The labels' column [default: label, value or class].",
        autocompletion=candidates.columns,
    ),
]
Layer = Annotated[
    str | None, typer.Option("--layer", metavar="NAME", help="The labels' layer, where several have that column.")
]
LabelsCrs = Annotated[
    str | None,
    typer.Option("--crs", metavar="CRS", help="CRS of labels that name none, such as EPSG:32632 for x and y of a CSV."),
]
Overlap = Annotated[
    str | None,
    typer.Option(
        "--overlap",
        metavar="any|half|SHARE",
        help="How much of a chip polygons of a class must cover [default: half; polygons that are smaller, any].",
    ),
]
Weight = Annotated[
    str | None,
    typer.Option(
        "--weight",
        metavar="COLUMN",
        help="Column: how much a label counts among several of one chip.",
        autocompletion=candidates.columns,
    ),
]


PLACES = ("COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP", "DEFAULT")
"""Where the value of an option may come from, the strongest first; DEFAULT_MAP is the settings file."""


def place(context: typer.Context, name: str) -> str:
    """Return where the value of an option came from, one of PLACES."""
    return getattr(context.get_parameter_source(name), "name", PLACES[-1])


def stronger(context: typer.Context, *names: str) -> dict[str, None]:
    """Return which of options that exclude each other to drop: those from a weaker place than another, as None."""
    strength = {name: PLACES.index(place(context, name)) for name in names}
    return {name: None for name in names if strength[name] > min(strength.values())}
