"""The step that fetches the imagery that chips need, and cuts none."""

import logging
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from typing import Any

from geoembed import interrupts, settings
from geoembed.archives.fetching import Fetcher
from geoembed.chips import cutting, survey
from geoembed.chips.cells import AreaCells
from geoembed.errors import FetchError
from geoembed.ground import aoi as areas_of_interest
from geoembed.imagery import modalities as modality_tables
from geoembed.inventory import prospects
from geoembed.progress import Progress, Result, Steps, verb
from geoembed.settings import PathLike, Paths

log = logging.getLogger(__name__)


@verb
def fetch(
    aoi: Paths,
    *,
    layer: str | None = None,
    source: Sequence[str] = (),
    size: int | None = None,
    resolution: float | None = None,
    align: str | None = None,
    min_valid: float = 0.5,
    cells: int | None = None,
    modalities: str | Sequence[str] | None = None,
    year: int | None = None,
    seasons: str | Sequence[str] | None = None,
    cache: PathLike | None = None,
    dry_run: bool = False,
    workers: int = 2,
    update: bool = False,
    config: PathLike | None = None,
    progress: bool = False,
) -> Steps[Any]:
    """Fetch what `chip` with the same options needs from catalogues and buckets, into the cache; see there.

    dry_run: only tell what there is and what it would cost.

    Raises AoiError, ImageryError, ConfigError, ChipError (there is nothing to fetch) and FetchError.
    """
    survey.require_options(size, resolution)
    areas, _ = areas_of_interest.read(settings.paths(aoi), layer)
    table = settings.file(config)
    tables = modality_tables.read(
        table,
        settings.by_modality("--source", list(map(str, source))),
        settings.words(modalities),
        year,
        settings.words(seasons),
    )
    fetching = modality_tables.fetching(table, None if cache is None else str(cache))
    names = ", ".join(map(str, settings.paths(aoi)))
    with closing(Fetcher(tables, fetching)) as fetcher:
        surveyed = survey.found(
            names, areas, tables, fetcher,
            size=size, resolution=resolution, align=align, min_valid=min_valid, cells=cells, anew=update,
        )  # fmt: skip
        cost = prospects.total(surveyed, fetcher)
        log.info("%s", prospects.told(cost, fetching.connections))
        counts = prospects.counts(cost, fetching.connections)
        if dry_run:
            return Result((), counts, tables=(prospects.table(surveyed, fetcher),))
        for line in fetcher.terms if cost.files else ():
            log.info("%s", line)
        kept = interrupts.noted("what was fetched is kept; run the same command again to fetch the rest")
        with kept:
            yield from _all(surveyed, fetcher, workers)
    traffic = fetcher.client.traffic
    log.info("%s MB fetched in %s requests", f"{traffic.bytes / 1e6:,.1f}", f"{traffic.requests:,}")
    counts = {"files_fetched": cost.files, "requests": traffic.requests, "bytes": traffic.bytes}
    return Result((Path(fetching.cache),), counts)


def _all(surveyed: survey.Survey, fetcher: Fetcher, workers: int) -> Generator[Progress, None, None]:
    """Fetch what the cells need, block by block as they are cut; raises FetchError in the end for what failed."""
    blocks = [block for cells in surveyed.cells for block in cutting.blocks(cells, {})]
    done = 0

    def provide(block: AreaCells) -> None:
        for imagery in surveyed.imagery:
            near = imagery.index.near(block.outlines)
            if near:
                fetcher.provide(near, cutting.box_of(block))

    yield Progress(0, len(blocks), "blocks")
    with ThreadPoolExecutor(workers) as pool:
        try:
            for providing in as_completed([pool.submit(provide, block) for block in blocks]):
                done += 1
                if providing.exception() is not None and not isinstance(providing.exception(), FetchError):
                    providing.result()
                yield Progress(done, len(blocks), "blocks", fetcher.note)
        except BaseException:  # an interrupt too: requests that other threads wait for would hold it up
            fetcher.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
    fetcher.require_all("run again, which fetches these alone")
