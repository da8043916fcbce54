"""Prospects: what cutting chips will fetch, told before it starts."""

from collections.abc import Iterable
from typing import Any

from geoembed import display
from geoembed.archives import scenes
from geoembed.archives.fetching import Cost, Fetcher
from geoembed.chips.survey import Survey
from geoembed.imagery.catalogues import Stac
from geoembed.imagery.modalities import Modality
from geoembed.imagery.rasters import Raster
from geoembed.progress import Table

HEAD = ("modality", "season", "tiles", "scenes", "months without any", "files to fetch", "requests", "MB", "disk MB")


def table(survey: Survey, fetcher: Fetcher) -> Table:
    """Return, by modality and season, what there is near the cells and what of it is to be fetched."""
    rows: list[tuple[str, ...]] = [HEAD]
    for modality, rasters in survey.near():
        if modality.archive is None:
            rows.append((modality.name, "", "", "", "", "0, files of your own", "0", "0", "0"))
            continue
        for season in modality.archive.seasons:
            of_season = [raster for raster in rasters if raster.recipe and _is_of(raster, season)]
            cost = fetcher.cost(modality.name, of_season)
            rows.append((modality.name, season, *_found(modality, season, of_season, fetcher), *_numbers(cost)))
    return Table(f"{sum(map(len, survey.cells)):,} cells of {survey.size} pixels", rows)


def total(survey: Survey, fetcher: Fetcher) -> Cost:
    """Return what is to be fetched in all."""
    return sum(
        (fetcher.cost(modality.name, rasters) for modality, rasters in survey.near() if modality.archive is not None),
        Cost(),
    )


def told(cost: Cost, connections: int) -> str:
    """Return in words what fetching costs."""
    if not cost.files:
        return "all imagery is in the cache"
    parts = [
        f"{cost.files:,} files are to be fetched: about {cost.bytes / 1e6:,.0f} MB in {cost.requests:,} requests",
        f"{display.duration(cost.seconds(connections))} at 20 MB/s",
        f"{cost.disk / 1e6:,.0f} MB of disk",
    ]
    return ", ".join(parts)


def counts(cost: Cost, connections: int) -> dict[str, int | float]:
    """Return what fetching costs as counts."""
    return {
        "files_to_fetch": cost.files,
        "requests": cost.requests,
        "bytes": round(cost.bytes),
        "disk_bytes": round(cost.disk),
        "seconds": round(cost.seconds(connections)),
    }


def _is_of(raster: Raster, season: str) -> bool:
    return raster.channels[0].startswith(f"{season}_")


def _found(modality: Modality, season: Any, rasters: Iterable[Raster], fetcher: Fetcher) -> tuple[str, str, str]:
    """Return the number of tiles and scenes of a season near the cells, and its months without any scene."""
    holding = fetcher.holdings[modality.name]
    if not isinstance(modality.archive, Stac):
        return f"{len({raster.path.parent for raster in rasters}):,}", "", ""
    near = [holding.pieces[raster.address] for raster in rasters]
    used = {scene.id: scene for piece in near for scene in piece.scenes}
    empty = scenes.empty_months(used.values(), season, modality.archive.year)
    return f"{len({piece.tile for piece in near}):,}", f"{len(used):,}", ", ".join(empty) or "none"


def _numbers(cost: Cost) -> tuple[str, ...]:
    return (f"{cost.files:,}", f"{cost.requests:,}", f"{cost.bytes / 1e6:,.1f}", f"{cost.disk / 1e6:,.1f}")
