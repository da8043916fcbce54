"""geoembed chip."""

from pathlib import Path
from typing import Any

import typer

from geoembed.cli.app import command
from geoembed.cli.options import (
    Adopt,
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
    SplitColumn,
    Workers,
    Year,
    stronger,
)


@command
def chip(
    context: typer.Context,
    aoi: Aoi = [],  # noqa: B006 (typer copies it)
    adopt: Adopt = [],  # noqa: B006
    split: SplitColumn = None,
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
) -> dict[str, Any]:
    """Cut aligned chips from imagery, over areas of interest.

    Imagery is named in geoembed.toml or with --source; where none is, it is fetched.

    Example: geoembed chip --aoi aoi.gpkg

    Example: geoembed chip --aoi aoi.gpkg --source s2=scenes/*.tif

    Example: geoembed chip --adopt conus_partitions_aschips_293d95e3ee589
    """
    if not (aoi or adopt):
        context.fail("name an area of interest with --aoi, or chips of others with --adopt")
    return {name: [] for name in stronger(context, "aoi", "adopt")}
