"""The step that cuts aligned chips from the imagery of every modality, over areas of interest."""

import logging
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import geopandas
import numpy as np

from geoembed import interrupts, settings
from geoembed.chips import cutting
from geoembed.chips import folder as chip_folder
from geoembed.chips import index as chip_index
from geoembed.chips.cells import AreaCells
from geoembed.chips.cutting import Contents, Cut, Cutter, Imagery, Synced
from geoembed.chips.folder import Contained, Description
from geoembed.chips.layout import Layout
from geoembed.errors import ChipError, ConfigError, GeoembedError, StaleError
from geoembed.ground import aoi as areas_of_interest
from geoembed.imagery import inspection, modalities
from geoembed.imagery.modalities import Modality
from geoembed.imagery.rasters import Raster
from geoembed.outputs import atomic, digests, documents, geopackage, journal, locks, records, styles
from geoembed.outputs.journal import Journal
from geoembed.outputs.records import Record, Standing
from geoembed.progress import Progress, Result, Steps, verb
from geoembed.settings import PathLike, Paths
from geoembed.version import __version__

log = logging.getLogger(__name__)

JOURNAL = ".journal.jsonl"

MANY_CELLS = 100_000
"""Cells above which it is said how many there are, as cutting them takes long."""

Sources: TypeAlias = Mapping[str, Paths] | Sequence[str | Modality]


@verb
def chip(
    aoi: Paths,
    *,
    layer: str | None = None,
    source: Sources = (),
    output: PathLike = "chips",
    size: int | None = None,
    resolution: float | None = None,
    align: str | None = None,
    min_valid: float = 0.5,
    cells: int | None = None,
    seed: int = 0,
    workers: int = 2,
    update: bool = False,
    overwrite: bool = False,
    config: PathLike | None = None,
    progress: bool = False,
) -> Steps[geopandas.GeoDataFrame]:
    """Cut the chips of areas into a folder; the result is its index. Chips of the same inputs and options are kept.

    aoi: vector files of polygons.
    layer: the layer of each that has the areas; None: the only one with polygons.
    source: where imagery lies, by modality or as `s2=PATH`, in place of what `config` says; or modalities.
    config: the settings file whose [modalities] tables say what imagery there is; None: geoembed.toml if it exists.
    size: pixels along a chip's side; None: that of chips that are there, else chosen by the area, 448 or less.
    resolution: metres per pixel; None: 10, or that of `align`.
    align: the modality whose pixel lattice the grid lies on; None: the fixed UTM grid.
    min_valid: the share of valid pixels below which a modality is absent from a chip.
    cells: a number of cells that is meant though it is above ten million.

    Raises AoiError, ImageryError, ConfigError, ChipError (there is nothing to cut) and StaleError.
    """
    folder = Path(output)
    if (size is not None and size < 1) or (resolution is not None and not 0.0 < resolution < float("inf")):
        raise ConfigError(f"--size {size} --resolution {resolution}: both must be above 0")
    areas, aoi_files = areas_of_interest.read(settings.paths(aoi), layer)
    table = settings.file(config)
    imagery = tuple(cutting.imagery_of(modality) for modality in _modalities(source, table))
    names = ", ".join(map(str, settings.paths(aoi)))
    with locks.hold(folder, folder=True):
        described = _described(folder)
        earlier = described.made_from if described else journal.read(folder / JOURNAL)[0]
        failed = _has_failed(folder, described)
        recorded = described.grids if described and not failed else ()
        layout = Layout(names, areas, imagery, resolution, align, min_valid, recorded)
        if size is None:
            before = earlier.options.get("size") if earlier and not (overwrite or failed) else None
            size = before if isinstance(before, int) else layout.choose()
        layout.require_consent(size, cells)
        area_cells, beyond = layout.cells(size)
        if beyond:
            log.warning("%d cells beyond 80 degrees south or 84 north are left out: UTM ends there", beyond)
        if not area_cells:
            raise ChipError(layout.nothing_at(size))
        near = [(each.modality, each.near(area_cells)) for each in imagery]
        options = {
            "aoi": [name for name, _ in aoi_files],
            **({"layer": layer} if layer else {}),
            "modalities": {each.modality.name: each.settings() for each in imagery},
            "size": size,
            "resolution": resolution,
            "align": align,
            "min_valid": min_valid,
            "seed": seed,
        }
        record = _record([digest for _, digest in aoi_files], near, options, earlier.stamps if earlier else {})
        if failed and earlier is not None and earlier.digest != record.digest:
            overwrite = True
        is_new = _standing(folder, earlier, record, update=update, overwrite=overwrite) is Standing.ABSENT
        if is_new or described is None:
            inspected = inspection.inspect(near, table.parent if table else Path())
        else:
            inspected = described.inspected
        if is_new:
            described = None
            _delete(folder)
        description = _describe(folder, described, record, imagery, area_cells, inspected)
        cutter = Cutter(folder, imagery, min_valid)
        if (total := sum(map(len, area_cells))) > MANY_CELLS:
            log.warning("%s cells are to be cut; a larger --size gives fewer", f"{total:,}")
        kept = interrupts.noted("the chips cut so far are kept; run the same command again to cut the others")
        with closing(Journal(folder / JOURNAL, record)) as finished, closing(cutter), kept:
            try:
                contents, cut_now = yield from _cut_all(folder, cutter, area_cells, workers, finished)
            except GeoembedError:
                chip_folder.write_description(folder, replace(description, failed=True))
                raise
        if not any(contents.values()):
            _delete(folder)
            raise ChipError(layout.too_little_at(size, cutter.fullest))
        return _finish(folder, description, layout, area_cells, contents, cut_now, beyond)


def _record(
    areas: list[str],
    near: Sequence[tuple[Modality, Sequence[Raster]]],
    options: dict[str, Any],
    stamps: Mapping[str, str],
) -> Record:
    """Return the record of chips, from digests of area files and the rasters near cells; `stamps` are known ones."""
    files = digests.Files(stamps)
    sources = {
        modality.name: [files.fingerprint(raster.address, raster.files) for raster in rasters]
        for modality, rasters in near
    }
    return Record("chip", {"areas": areas, "sources": sources}, options, files.stamps)


def _modalities(source: Sources, config: Path | None) -> tuple[Modality, ...]:
    """Return the modalities that have imagery."""
    ready = tuple(item for item in source if isinstance(item, Modality))
    if ready:
        return ready
    located = source if isinstance(source, Mapping) else list(map(str, source))
    return modalities.read(config, settings.by_modality("--source", located))


def _described(folder: Path) -> Description | None:
    """Return the chips.json of an earlier run; None where there is none, or a damaged one that can be written anew.

    Raises ChipError for a file that geoembed did not write.
    """
    path = folder / chip_folder.DESCRIPTION
    if not path.exists():
        return None
    try:
        return chip_folder.read_description(folder)
    except ChipError as error:
        if not (documents.is_ours(path) or journal.read(folder / JOURNAL)[0]):
            raise ChipError(f"{path}: exists and was not made by geoembed chip; choose another -o") from None
        log.warning("%s", error)
        return None


def _has_failed(folder: Path, described: Description | None) -> bool:
    """Tell whether an earlier run has failed, or ended before it made anything: no reason to refuse other options."""
    if (folder / chip_folder.INDEX).exists():
        return False
    if described and described.failed:
        return True
    return not any(cutting.finished(journal.read(folder / JOURNAL)[1]).values())


def _standing(folder: Path, earlier: Record | None, record: Record, *, update: bool, overwrite: bool) -> Standing:
    """Decide about the folder of an earlier run; raises StaleError or ChipError where it is refused."""
    finished = (folder / chip_folder.INDEX).exists()
    standing = records.settle(folder, record, earlier, finished=finished, update=update, overwrite=overwrite)
    atomic.sweep(folder, chip_folder.DESCRIPTION)
    ours = (locks.NAME, JOURNAL, chip_folder.DESCRIPTION)
    if earlier is None and any(path.name not in ours for path in folder.iterdir()):
        path = folder / chip_folder.DESCRIPTION  # if it is there, geoembed wrote it (see `_described`)
        if not path.exists():
            raise ChipError(f"{folder}: exists and was not made by geoembed chip; choose another -o")
        if not overwrite:
            raise StaleError(
                f"{path}: cannot be read, and nothing else tells what the chips were made from; "
                "choose another -o or pass --overwrite to cut them again"
            )
    atomic.sweep(folder, deep=not finished)
    if standing is not Standing.KEPT:
        geopackage.require_closed(folder / chip_folder.INDEX)
    return standing


def _describe(
    folder: Path,
    described: Description | None,
    record: Record,
    imagery: Sequence[Imagery],
    area_cells: Sequence[AreaCells],
    inspected: dict[str, Any],
) -> Description:
    """Write what the chips are made from before the first is cut, and again where stamps of files are new."""
    if described is None:
        description = Description(
            __version__,
            record.options["size"],
            tuple(dict.fromkeys(cells.grid for cells in area_cells)),
            {each.modality.name: Contained((), each.modality.unit) for each in imagery},
            record,
            inspected,
        )
    else:
        description = replace(described, made_from=record, failed=False)
    if description != described or record.stamps != described.made_from.stamps:
        chip_folder.write_description(folder, description)
    return description


def _delete(folder: Path) -> None:
    """Delete the index, the chips that the journal or the index names, and the description; other files stay."""
    index = folder / chip_folder.INDEX
    _, lines = journal.read(folder / JOURNAL)
    files = {(chip_id, name) for chip_id, contents in cutting.finished(lines).items() for name in contents}
    files |= chip_folder.indexed(folder)
    geopackage.remove(index)
    chip_folder.remove_chips(folder, files)
    for path in (styles.beside(index), folder / JOURNAL, folder / chip_folder.DESCRIPTION):
        path.unlink(missing_ok=True)


def _cut_all(
    folder: Path, cutter: Cutter, area_cells: Sequence[AreaCells], workers: int, finished: Journal
) -> Generator[Progress, None, tuple[Cut, int]]:
    """Cut what is missing or damaged, in a pool of threads; return what each chip holds, and how many were cut now."""
    contents = _intact(folder, cutting.finished(finished.lines))
    blocks = iter([block for cells in area_cells for block in cutting.blocks(cells, contents)])
    total, cut_now = sum(map(len, area_cells)), 0
    yield Progress(len(contents), total, "chips")
    waiting: deque[Future[Cut]] = deque()
    with ThreadPoolExecutor(workers) as pool, closing(Synced(folder, finished)) as synced:
        try:
            waiting.extend(pool.submit(cutter, block) for block in islice(blocks, 2 * workers))
            while waiting:
                cut = waiting.popleft().result()
                waiting.extend(pool.submit(cutter, block) for block in islice(blocks, 1))
                synced.add(cut)
                contents.update(cut)
                cut_now += len(cut)
                yield Progress(len(contents), total, "chips")
        finally:
            pool.shutdown(cancel_futures=True)
    return contents, cut_now


def _intact(folder: Path, contents: Cut) -> Cut:
    """Return the chips whose files are all there and intact (see `chip_folder.damaged`); the others are told."""
    files = [(chip_id, name, one.digest) for chip_id, held in contents.items() for name, one in held.items()]
    broken = chip_folder.damaged(folder, files)
    if broken:
        log.warning("%s chip files are missing or damaged, %s the first; cut again", f"{len(broken):,}", broken[0])
    lost = {path.stem for path in broken}
    return {chip_id: held for chip_id, held in contents.items() if chip_id not in lost}


def _finish(
    folder: Path,
    description: Description,
    layout: Layout,
    area_cells: Sequence[AreaCells],
    contents: Mapping[str, Contents],
    cut_now: int,
    beyond: int,
) -> Result[geopandas.GeoDataFrame]:
    """Write the index last, or renew its time stamp where nothing changed, and count."""
    total = sum(map(len, area_cells))
    left_out = total - sum(bool(contents[chip_id]) for cells in area_cells for chip_id in cells.chip_ids)
    channels = {each.modality.name: chip_index.channels(each, contents) for each in layout.imagery}
    for name in [name for name, present in channels.items() if not present]:
        log.warning("%s: no chip has enough valid pixels of this modality; it is left out", name)
        del channels[name]
    seed = description.made_from.options["seed"]
    index, apart = chip_index.build(area_cells, contents, list(channels), seed)
    path = folder / chip_folder.INDEX
    contained = {
        name: Contained(tuple(present), description.modalities[name].unit) for name, present in channels.items()
    }
    if cut_now or contained != description.modalities or not chip_index.is_of(path, index, description.made_from):
        geopackage.remove(path)
        chip_folder.write_description(folder, replace(description, modalities=contained))
        styles.write(path, styles.splits())
        chip_folder.write_index(folder, index, description.made_from)
    atomic.touch(path)
    log.info("%d chips: %d cells cut, %d kept", len(index), cut_now, total - cut_now)
    if left_out:
        log.info("%d cells left out: too few valid pixels in every modality", left_out)
    share = layout.share()
    if share < 0.995:
        log.info("%.3g %% of the area has imagery", 100.0 * share)
    if not np.isnan(apart):
        log.info("%.1f %% of neighbouring chips fall into different splits", 100.0 * apart)
    counts: dict[str, int | float] = {
        "chips": len(index),
        "size": description.size,
        "cells_cut": cut_now,
        "cells_kept": total - cut_now,
        "left_out_without_imagery": left_out,
        "left_out_beyond_utm": beyond,
        "area_with_imagery": round(share, 4),
        "neighbours_in_other_split": round(apart, 4),
    }
    counts |= {name: int(index[name].notna().sum()) for name in channels}
    report = description.inspected
    return Result((folder,), counts, report=report, read=lambda: chip_folder.read(folder).index)
