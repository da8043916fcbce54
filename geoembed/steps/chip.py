"""The step that cuts aligned chips from the imagery of every modality, over areas of interest."""

import logging
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
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
from geoembed.chips.cutting import Contents, Cutter, Imagery
from geoembed.chips.layout import Layout
from geoembed.errors import ChipError, ConfigError, GeoembedError
from geoembed.ground import aoi as areas_of_interest
from geoembed.ground.grid import Grid
from geoembed.imagery import inspection, modalities
from geoembed.imagery.modalities import Modality
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
        described = _description(folder)
        earlier = Record.from_json(described.get("made_from"))
        failed = _has_failed(folder, described)
        recorded = [] if failed else [Grid(**grid) for grid in described.get("grids", [])]
        layout = Layout(names, areas, imagery, resolution, align, min_valid, recorded)
        if size is None:
            size = described["size"] if described and not (overwrite or failed) else layout.choose()
        layout.require_consent(size, cells)
        area_cells, beyond = layout.cells(size)
        if beyond:
            log.warning("%d cells beyond 80 degrees south or 84 north are left out: UTM ends there", beyond)
        if not area_cells:
            raise ChipError(layout.nothing_at(size))
        files = digests.Files(earlier.stamps if earlier else {})
        near = [(each.modality, each.near(area_cells)) for each in imagery]
        record = Record(
            "chip",
            inputs={
                "areas": [digest for _, digest in aoi_files],
                "sources": {
                    modality.name: [files.fingerprint(raster.address, raster.files) for raster in rasters]
                    for modality, rasters in near
                },
            },
            options={
                "aoi": [name for name, _ in aoi_files],
                **({"layer": layer} if layer else {}),
                "modalities": {each.modality.name: each.settings() for each in imagery},
                "size": size,
                "resolution": resolution,
                "align": align,
                "min_valid": min_valid,
                "seed": seed,
            },
            stamps=files.stamps,
        )
        if failed and earlier is not None and earlier.digest != record.digest:
            overwrite = True
        if _standing(folder, earlier, record, update=update, overwrite=overwrite) is Standing.ABSENT:
            described = {"inspected": inspection.inspect(near, table.parent if table else Path())}
            _delete(folder)
        description = _describe(folder, described, record, imagery, area_cells)
        cutter = Cutter(folder, imagery, min_valid)
        if (total := sum(map(len, area_cells))) > MANY_CELLS:
            log.warning("%s cells are to be cut; a larger --size gives fewer", f"{total:,}")
        kept = interrupts.noted("the chips cut so far are kept; run the same command again to cut the others")
        with closing(Journal(folder / JOURNAL, record)) as finished, closing(cutter), kept:
            try:
                contents, cut_now = yield from _cut_all(folder, cutter, area_cells, workers, finished)
            except GeoembedError:
                documents.write(folder / chip_folder.DESCRIPTION, {**description, "failed": True})
                raise
        if not any(contents.values()):
            _delete(folder)
            raise ChipError(layout.too_little_at(size, cutter.fullest))
        return _finish(folder, description, layout, area_cells, contents, cut_now, beyond)


def _modalities(source: Sources, config: Path | None) -> tuple[Modality, ...]:
    """Return the modalities that have imagery."""
    ready = tuple(item for item in source if isinstance(item, Modality))
    if ready:
        return ready
    located = source if isinstance(source, Mapping) else list(map(str, source))
    return modalities.read(config, settings.by_modality("--source", located))


def _description(folder: Path) -> dict[str, Any]:
    """Return the chips.json of an earlier run, empty where there is none; raises ChipError where it is not one."""
    path = folder / chip_folder.DESCRIPTION
    if not path.exists():
        return {}
    try:
        described: dict[str, Any] = documents.load(path)
        readable = [Grid(**grid) for grid in described["grids"]] and Record.from_json(described["made_from"])
    except (ValueError, KeyError, TypeError):
        readable = None
    if readable is None:
        raise ChipError(f"{path}: cannot be read, or is of another version of geoembed; move the folder away")
    return described


def _has_failed(folder: Path, described: Mapping[str, Any]) -> bool:
    """Tell whether an earlier run has failed, or ended before it made anything: no reason to refuse other options."""
    if not described or (folder / chip_folder.INDEX).exists():
        return False
    return bool(described.get("failed")) or not any(cutting.finished(journal.read(folder / JOURNAL)[1]).values())


def _standing(folder: Path, earlier: Record | None, record: Record, *, update: bool, overwrite: bool) -> Standing:
    """Decide about the folder of an earlier run; raises StaleError or ChipError where it is refused."""
    finished = (folder / chip_folder.INDEX).exists()
    standing = records.settle(folder, record, earlier, finished=finished, update=update, overwrite=overwrite)
    atomic.sweep(folder, chip_folder.DESCRIPTION)
    if earlier is None and any(path.name != locks.NAME for path in folder.iterdir()):
        raise ChipError(f"{folder}: exists and was not made by geoembed chip; choose another -o")
    atomic.sweep(folder, deep=not finished)
    if standing is not Standing.KEPT:
        geopackage.require_closed(folder / chip_folder.INDEX)
    return standing


def _describe(
    folder: Path,
    described: dict[str, Any],
    record: Record,
    imagery: Sequence[Imagery],
    area_cells: Sequence[AreaCells],
) -> dict[str, Any]:
    """Write what the chips are made from before the first is cut, and again where stamps of files are new."""
    description = {
        "geoembed_version": __version__,
        "size": record.options["size"],
        "grids": [asdict(grid) for grid in dict.fromkeys(cells.grid for cells in area_cells)],
        "modalities": {each.modality.name: {"channels": [], "unit": each.modality.unit} for each in imagery},
        **{key: value for key, value in described.items() if key != "failed"},
        "made_from": record.to_json(),
    }
    if description != described:
        documents.write(folder / chip_folder.DESCRIPTION, description)
    return description


def _delete(folder: Path) -> None:
    """Delete the index, the chips that the journal names, and the description; other files stay."""
    index = folder / chip_folder.INDEX
    geopackage.remove(index)
    folders: set[Path] = set()
    _, lines = journal.read(folder / JOURNAL)
    for chip_id, contents in cutting.finished(lines).items():
        for modality in contents:
            path = chip_folder.path_of(folder, chip_id, modality)
            path.unlink(missing_ok=True)
            folders.update(path.parents[:3])
    for emptied in sorted(folders, key=lambda path: -len(path.parts)):
        if emptied.is_dir() and not any(emptied.iterdir()):
            emptied.rmdir()
    for path in (styles.beside(index), folder / JOURNAL, folder / chip_folder.DESCRIPTION):
        path.unlink(missing_ok=True)


def _cut_all(
    folder: Path, cutter: Cutter, area_cells: Sequence[AreaCells], workers: int, finished: Journal
) -> Generator[Progress, None, tuple[dict[str, Contents], int]]:
    """Cut what is missing, in a pool of threads; return what each chip holds, and how many cells were cut now."""
    contents = {
        chip_id: held
        for chip_id, held in cutting.finished(finished.lines).items()
        if all(chip_folder.path_of(folder, chip_id, modality).exists() for modality in held)
    }
    blocks = iter([block for cells in area_cells for block in cutting.blocks(cells, contents)])
    total, cut_now = sum(map(len, area_cells)), 0
    yield Progress(len(contents), total, "chips")
    waiting: deque[Future[dict[str, Contents]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            waiting.extend(pool.submit(cutter, block) for block in islice(blocks, 2 * workers))
            while waiting:
                cut = waiting.popleft().result()
                waiting.extend(pool.submit(cutter, block) for block in islice(blocks, 1))
                finished.write(cut)
                contents.update(cut)
                cut_now += len(cut)
                yield Progress(len(contents), total, "chips")
        finally:
            pool.shutdown(cancel_futures=True)
    return contents, cut_now


def _finish(
    folder: Path,
    description: dict[str, Any],
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
    seed = description["made_from"]["options"]["seed"]
    index, apart = chip_index.build(area_cells, contents, list(channels), seed)
    path = folder / chip_folder.INDEX
    if cut_now or not chip_index.is_of(path, index):
        geopackage.remove(path)
        units = {name: description["modalities"][name]["unit"] for name in channels}
        described = {name: {"channels": channels[name], "unit": units[name]} for name in channels}
        documents.write(folder / chip_folder.DESCRIPTION, {**description, "modalities": described})
        styles.write(path, styles.splits())
        chip_folder.write_index(path, index)
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
        "size": description["size"],
        "cells_cut": cut_now,
        "cells_kept": total - cut_now,
        "left_out_without_imagery": left_out,
        "left_out_beyond_utm": beyond,
        "area_with_imagery": round(share, 4),
        "neighbours_in_other_split": round(apart, 4),
    }
    counts |= {name: int(index[name].notna().sum()) for name in channels}
    report = description.get("inspected", {})
    return Result((folder,), counts, report=report, read=lambda: chip_folder.read(folder).index)
