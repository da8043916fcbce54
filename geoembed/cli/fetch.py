"""geoembed fetch."""

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
    Resolution,
    SearchAgain,
    SeasonNames,
    Size,
    Source,
    Workers,
    Year,
)


@command
def fetch(
    aoi: Aoi,
    layer: AreaLayer = None,
    source: Source = [],  # noqa: B006 (typer copies it)
    size: Size = None,
    resolution: Resolution = None,
    align: Align = None,
    min_valid: MinValid = 0.5,
    cells: CellNumber = None,
    modalities: Modalities = None,
    year: Year = None,
    seasons: SeasonNames = None,
    cache: Cache = None,
    dry_run: DryRun = False,
    workers: Workers = 2,
    update: SearchAgain = False,
) -> None:
    """Fetch the imagery that chips are cut from, into the cache.

    It is what geoembed chip needs with the same options. On a machine without internet that shares the folder,
    geoembed chip --offline cuts the chips then.

    Example: geoembed fetch --aoi aoi.gpkg --dry-run
    """
