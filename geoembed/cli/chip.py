"""geoembed chip."""

from pathlib import Path

from geoembed.cli.app import command
from geoembed.cli.options import (
    Align,
    Aoi,
    AreaLayer,
    Cache,
    CellNumber,
    DryRun,
    MinValid,
    Modalities,
    Offline,
    Output,
    Overwrite,
    Resolution,
    SearchAgain,
    SeasonNames,
    Seed,
    Size,
    Source,
    Workers,
    Year,
)


@command
def chip(
    aoi: Aoi,
    layer: AreaLayer = None,
    source: Source = [],  # noqa: B006 (typer copies it)
    output: Output = Path("chips"),
    size: Size = None,
    resolution: Resolution = None,
    align: Align = None,
    min_valid: MinValid = 0.5,
    cells: CellNumber = None,
    seed: Seed = 0,
    modalities: Modalities = None,
    year: Year = None,
    seasons: SeasonNames = None,
    cache: Cache = None,
    offline: Offline = False,
    dry_run: DryRun = False,
    workers: Workers = 2,
    update: SearchAgain = False,
    overwrite: Overwrite = False,
) -> None:
    """Cut aligned chips from imagery, over areas of interest.

    Imagery is named in geoembed.toml or with --source; where none is, it is fetched.

    Example: geoembed chip --aoi aoi.gpkg

    Example: geoembed chip --aoi aoi.gpkg --source s2=scenes/*.tif
    """
