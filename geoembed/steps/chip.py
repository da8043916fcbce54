"""The step that cuts aligned chips from the imagery of every modality, over areas of interest."""

import logging
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import geopandas
import numpy as np

from geoembed import interrupts, settings
from geoembed.archives.fetching import Fetcher
from geoembed.archives.origin import Origin
from geoembed.chips import adoption, cutting, survey
from geoembed.chips import folder as chip_folder
from geoembed.chips import index as chip_index
from geoembed.chips.adoption import Found
from geoembed.chips.cells import AreaCells
from geoembed.chips.cutting import Contents, Cut, Cutter, Imagery, Synced
from geoembed.chips.folder import Contained, Description
from geoembed.chips.survey import Survey
from geoembed.errors import ChipError, ConfigError, FetchError, GeoembedError, StaleError
from geoembed.ground import aoi as areas_of_interest
from geoembed.imagery import inspection
from geoembed.imagery import modalities as modality_tables
from geoembed.imagery.modalities import Modality
from geoembed.imagery.rasters import Raster
from geoembed.inventory import prospects
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

MOST_REASONS = 5
"""Reasons why files that others made cannot be used that are told, each once."""

TOGETHER = 64
"""Tiles that are read between two lines of the journal."""

Sources: TypeAlias = Mapping[str, Paths] | Sequence[str | Modality]


@verb
def chip(
    aoi: Paths = (),
    *,
    adopt: Paths = (),
    split: str | None = None,
    layer: str | None = None,
    source: Sources = (),
    output: PathLike = "chips",
    size: int | None = None,
    resolution: float | None = None,
    align: str | None = None,
    min_valid: float = 0.5,
    cells: int | None = None,
    seed: int = 0,
    modalities: str | Sequence[str] | None = None,
    year: int | None = None,
    seasons: str | Sequence[str] | None = None,
    cache: PathLike | None = None,
    offline: bool = False,
    dry_run: bool = False,
    workers: int = 2,
    update: bool = False,
    overwrite: bool = False,
    config: PathLike | None = None,
    progress: bool = False,
) -> Steps[geopandas.GeoDataFrame]:
    """Cut the chips of areas into a folder; the result is its index. Chips of the same inputs and options are kept.

    aoi: vector files of polygons.
    adopt: folders that geetiles made, whose chips stay where they lie, in place of `aoi`. `source` names the data set
        of a modality then, and only `modalities`, `size`, `min_valid`, `seed` and what says how to run go with it.
    split: the adopted tiles' column of splits; None: `split`, or the only one. Without any, splits are dealt out.
    layer: the layer of each that has the areas; None: the only one with polygons.
    source: where imagery lies, by modality or as `s2=PATH`, in place of what `config` says; or modalities.
    config: the settings file whose [modalities] tables say what imagery there is; None: geoembed.toml if it exists.
    size: pixels along a chip's side; None: that of chips that are there, else chosen by the area, 448 or less.
    resolution: metres per pixel; None: 10, or that of `align`.
    align: the modality whose pixel lattice the grid lies on; None: the fixed UTM grid.
    min_valid: the share of valid pixels below which a modality is absent from a chip.
    cells: a number of cells that is meant though it is above ten million.
    modalities: only these; built-in ones of which nothing else is said are fetched.
    year, seasons: of what is fetched; the seasonal Sentinel-1 data set is of 2020 alone.
    cache: the folder of what is fetched; None: that of `config`, else `cache`.
    offline: ask no other machine; what is needed is in the cache.
    dry_run: only tell what there is and what it would cost to fetch.
    update: search catalogues again, and make again what was made from older versions of the same inputs.

    Raises AoiError, ImageryError, ConfigError, ChipError (there is nothing to cut), StaleError, and FetchError where
    something could not be fetched: the other chips are cut then, and the next run fetches what is missing.
    """
    folder = Path(output)
    survey.require_options(size, resolution)
    if settings.paths(adopt):
        _require_unset(
            "--adopt",
            aoi=aoi, layer=layer, resolution=resolution, align=align, cells=cells, year=year, seasons=seasons,
            cache=cache, offline=offline, dry_run=dry_run,
        )  # fmt: skip
        located = {} if source == () else settings.by_modality("--source", _texts(source))
        found = adoption.find(settings.paths(adopt), located, settings.words(modalities), split, size)
        return (yield from _adopt(found, folder, split=split, min_valid=min_valid, seed=seed, workers=workers,
                                  update=update, overwrite=overwrite))  # fmt: skip
    if split is not None:
        raise ConfigError(f"--split {split}: tells the splits of what --adopt names; leave it out")
    areas, aoi_files = areas_of_interest.read(settings.paths(aoi), layer)
    table = settings.file(config)
    tables = _modalities(source, table, settings.words(modalities), year, settings.words(seasons))
    names = ", ".join(map(str, settings.paths(aoi)))
    fetching = modality_tables.fetching(table, None if cache is None else str(cache))
    with ExitStack() as stack:
        fetcher = stack.enter_context(closing(Fetcher(tables, fetching, offline=offline)))
        if not dry_run:
            stack.enter_context(locks.hold(folder, folder=True))
        described = _described(folder)
        earlier = described.made_from if described else journal.read(folder / JOURNAL)[0]
        failed = _has_failed(folder, described)
        if size is None:
            before = earlier.options.get("size") if earlier and not (overwrite or failed) else None
            size = before if isinstance(before, int) else None
        surveyed = survey.found(
            names, areas, tables, fetcher,
            size=size, resolution=resolution, align=align, min_valid=min_valid, cells=cells, anew=update,
            recorded=described.grids if described and not failed else (),
        )  # fmt: skip
        if dry_run:
            cost = prospects.total(surveyed, fetcher)
            counts = {"cells": sum(map(len, surveyed.cells)), **prospects.counts(cost, fetching.connections)}
            log.info("%s", prospects.told(cost, fetching.connections))
            return Result((), counts, tables=(prospects.table(surveyed, fetcher),))
        imagery, area_cells, size = surveyed.imagery, surveyed.cells, surveyed.size
        near = surveyed.near()
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
            own = [(modality, [raster for raster in rasters if not raster.recipe]) for modality, rasters in near]
            inspected = inspection.inspect(own, table.parent if table else Path())
        else:
            inspected = described.inspected
        if is_new:
            described = None
            _delete(folder)
        description = _describe(folder, described, record, imagery, area_cells, inspected)
        cutter = Cutter(folder, imagery, min_valid, fetcher.provide)
        if (total := sum(map(len, area_cells))) > MANY_CELLS:
            log.warning("%s cells are to be cut; a larger --size gives fewer", f"{total:,}")
        kept = interrupts.noted("the chips cut so far are kept; run the same command again to cut the others")
        with closing(Journal(folder / JOURNAL, record)) as finished, closing(cutter), kept:
            try:
                contents, cut_now = yield from _cut_all(folder, cutter, surveyed, workers, finished, fetcher)
            except GeoembedError:
                chip_folder.write_description(folder, replace(description, failed=True))
                raise
        if not any(contents.values()):
            _delete(folder)
            raise ChipError(surveyed.layout.too_little_at(size, cutter.fullest))
        return _finish(folder, description, surveyed, contents, cut_now, fetcher)


def _require_unset(option: str, **others: Any) -> None:
    """Raise ConfigError where an option is given together with others that mean nothing beside it."""
    for name, value in others.items():
        if value not in (None, False, (), [], ""):
            raise ConfigError(f"--{name.replace('_', '-')}: does not go with {option}; leave it out")


def _texts(source: Sources) -> Mapping[str, Paths] | Sequence[str]:
    """Return where imagery lies; raises ConfigError for modalities that are made already, which no folder can be."""
    if isinstance(source, Mapping):
        return source
    if not all(isinstance(item, str) for item in source):
        raise ConfigError("source: name the data sets that are adopted, such as s2=s2rgbm-2020")
    return [str(item) for item in source]


def _adopt(
    found: Found,
    folder: Path,
    *,
    split: str | None,
    min_valid: float,
    seed: int,
    workers: int,
    update: bool,
    overwrite: bool,
) -> Steps[geopandas.GeoDataFrame]:
    """Write the index of chips that others made; see `chip`."""
    found.require_apart(folder)
    with locks.hold(folder, folder=True):
        described = _described(folder)
        earlier = described.made_from if described else journal.read(folder / JOURNAL)[0]
        options = {
            "adopt": [path.name for path in found.folders.values()],
            "split": split,
            "modalities": {name: asdict(reading) for name, reading in found.readings.items()},
            "size": found.size,
            "min_valid": min_valid,
            "seed": seed,
        }
        record = Record("chip", found.inputs(), options)
        if _has_failed(folder, described) and earlier is not None and earlier.digest != record.digest:
            overwrite = True
        if _standing(folder, earlier, record, update=update, overwrite=overwrite) is Standing.ABSENT:
            _delete(folder)
            described = None
        cells = found.cells
        modalities = {name: Contained((), unit) for name, unit in found.units.items()}
        description = described or Description(__version__, found.size, cells.grids, modalities, record)
        description = replace(description, failed=False, adopted=found.adopted(folder))
        if description != described:
            chip_folder.write_description(folder, description)
        kept = interrupts.noted("what was read so far is noted; run the same command again to go on")
        with closing(Journal(folder / JOURNAL, record)) as finished, kept:
            contents, read_now, faults = yield from _read_all(folder, found, description, min_valid, finished, workers,
                                                              update=update)  # fmt: skip
        for line in faults:
            log.warning("%s", line)
        if not any(contents.values()):
            _delete(folder)
            place = next(iter(found.folders.values()))
            raise ChipError(f"{place}: no tile has a file that can be used; check --adopt, --size and --min-valid")
        channels = {
            name: chip_index.channels(name, reading.channels, contents) for name, reading in found.readings.items()
        }
        contained = {name: Contained(tuple(one), found.units[name]) for name, one in channels.items() if one}
        index, _ = chip_index.build([cells], contents, list(contained), seed, found.splits())
        changed = read_now > 0 or contained != description.modalities
        changed = changed or not chip_index.is_of(folder / chip_folder.INDEX, index, record)
        _write(folder, replace(description, modalities=contained), index, changed=changed)
        left_out = len(cells) - len(index)
        log.info("%d chips: %d tiles read, %d kept", len(index), read_now, len(cells) - read_now)
        if left_out:
            log.info("%d tiles left out: no file of theirs can be used", left_out)
        counts: dict[str, int | float] = {
            "chips": len(index), "size": found.size, "tiles_read": read_now, "tiles_kept": len(cells) - read_now,
            "left_out_without_imagery": left_out,
        }  # fmt: skip
        for name in found.readings:
            held, missing = sum(name in one for one in contents.values()), found.missing(name)
            counts |= {name: held, f"{name}_missing": missing, f"{name}_unusable": len(cells) - held - missing}
            if held < len(cells):
                log.warning("%s: %s of %s tiles lack it: %s have no file, and of %s it cannot be used", name,
                            f"{len(cells) - held:,}", f"{len(cells):,}", f"{missing:,}",
                            f"{len(cells) - held - missing:,}")  # fmt: skip
        return Result((folder,), counts, read=lambda: chip_folder.read(folder).index)


def _read_all(
    folder: Path,
    found: Found,
    description: Description,
    min_valid: float,
    finished: Journal,
    workers: int,
    *,
    update: bool,
) -> Generator[Progress, None, tuple[Cut, int, list[str]]]:
    """Read the tiles that no earlier run has read; return what each holds, how many were read, and what is wrong.

    Raises ChipError where a file is not any more as it was read, unless with `update`, which reads it again.
    """
    adopter, adopted = adoption.Adopter(found, min_valid), description.adopted
    assert adopted is not None
    tile_of = dict(zip(found.cells.chip_ids, found.tiles, strict=True))
    contents = cutting.finished(finished.lines)
    files = [
        (adopted.path_of(folder, tile_of[chip_id].area, chip_id, name), one.digest)
        for chip_id, held in contents.items()
        for name, one in held.items()
    ]
    broken = chip_folder.broken(files)
    if broken and not update:
        more = f" ({len(broken):,} files in all)" if len(broken) > 1 else ""
        fault = f"was changed or damaged since it was read{more}"
        raise ChipError(f"{broken[0]}: {fault}; restore it, or pass --update to take it as it is")
    changed = {path.stem for path in broken}
    contents = {chip_id: held for chip_id, held in contents.items() if tile_of[chip_id].identifier not in changed}
    due = [chip_id for chip_id in tile_of if chip_id not in contents]
    unusable: dict[tuple[str, str], list[Path]] = {}
    yield Progress(len(contents), len(tile_of), "chips")
    with ThreadPoolExecutor(workers) as pool:
        try:
            for start in range(0, len(due), TOGETHER):
                chip_ids = due[start : start + TOGETHER]
                cut: Cut = {}
                results = pool.map(adopter, [tile_of[chip_id] for chip_id in chip_ids])
                for chip_id, (held, faults) in zip(chip_ids, results, strict=True):
                    cut[chip_id] = held
                    for name, why, path in faults:
                        unusable.setdefault((name, why), []).append(path)
                finished.write({**cut})
                contents.update(cut)
                yield Progress(len(contents), len(tile_of), "chips")
        finally:
            pool.shutdown(cancel_futures=True)
    often = sorted(unusable.items(), key=lambda item: -len(item[1]))
    lines = [
        f"{paths[0]}: {why}; left out, as are {len(paths) - 1:,} more files of {name}"
        for (name, why), paths in often[:MOST_REASONS]
    ]
    if others := sum(len(paths) for _, paths in often[MOST_REASONS:]):
        lines.append(f"{others:,} files more cannot be used, for {len(often) - MOST_REASONS:,} other reasons")
    return contents, len(due), lines


def _write(folder: Path, description: Description, index: geopandas.GeoDataFrame, *, changed: bool) -> None:
    """Write the index last, or renew its time stamp where nothing changed."""
    path = folder / chip_folder.INDEX
    if changed:
        geopackage.remove(path)
        chip_folder.write_description(folder, description)
        styles.write(path, styles.splits())
        chip_folder.write_index(folder, index, description.made_from)
    elif not styles.is_settled(path):
        styles.write(path, styles.splits())
    atomic.touch(path)


def _record(
    areas: list[str],
    near: Sequence[tuple[Modality, Sequence[Raster]]],
    options: dict[str, Any],
    stamps: Mapping[str, str],
) -> Record:
    """Return the record of chips, from digests of area files and the rasters near cells; `stamps` are known ones."""
    files = digests.Files(stamps)
    sources = {
        modality.name: [
            ["", raster.recipe] if raster.recipe else files.fingerprint(raster.address, raster.files)
            for raster in rasters
        ]
        for modality, rasters in near
    }
    return Record("chip", {"areas": areas, "sources": sources}, options, files.stamps)


def _modalities(
    source: Sources,
    config: Path | None,
    wanted: tuple[str, ...] | None,
    year: int | None,
    seasons: tuple[str, ...] | None,
) -> tuple[Modality, ...]:
    """Return the modalities that have imagery."""
    ready = tuple(item for item in source if isinstance(item, Modality))
    if ready:
        return ready
    located = source if isinstance(source, Mapping) else list(map(str, source))
    return modality_tables.read(config, settings.by_modality("--source", located), wanted, year, seasons)


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
    folder: Path,
    cutter: Cutter,
    surveyed: Survey,
    workers: int,
    finished: Journal,
    fetcher: Fetcher,
) -> Generator[Progress, None, tuple[Cut, int]]:
    """Cut what is missing or damaged, in a pool of threads; return what each chip holds, and how many were cut now.

    Raises FetchError in the end where something could not be fetched that cells need.
    """
    contents = _intact(folder, cutting.finished(finished.lines))
    all_blocks = [block for cells in surveyed.cells for block in cutting.blocks(cells, contents)]
    for block in () if fetcher.keeps else all_blocks:
        fetcher.expect(cutter.near(block))
    if all_blocks and fetcher.holdings:
        for line in fetcher.terms:
            log.info("%s", line)
        log.info("%s", prospects.told(prospects.total(surveyed, fetcher), fetcher.client.connections))
    blocks = iter(all_blocks)
    total, cut_now = sum(map(len, surveyed.cells)), 0
    yield Progress(len(contents), total, "chips")
    waiting: deque[tuple[AreaCells, Future[Cut]]] = deque()
    with ThreadPoolExecutor(workers) as pool, closing(Synced(folder, finished)) as synced:
        try:
            waiting.extend((block, pool.submit(cutter, block)) for block in islice(blocks, 2 * workers))
            while waiting:
                block, cutting_it = waiting.popleft()
                waiting.extend((other, pool.submit(cutter, other)) for other in islice(blocks, 1))
                try:
                    cut = cutting_it.result()
                except FetchError:  # the run goes on with what is there
                    continue
                finally:
                    if not fetcher.keeps:
                        fetcher.release(cutter.near(block))
                synced.add(cut)
                contents.update(cut)
                cut_now += len(cut)
                yield Progress(len(contents), total, "chips", fetcher.note)
        except BaseException:  # an interrupt too: requests that other threads wait for would hold it up
            fetcher.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
    fetcher.require_all(
        f"{total - len(contents):,} of {total:,} cells wait for them; run again, which fetches these alone"
    )
    return contents, cut_now


def _origins(surveyed: Survey, fetcher: Fetcher) -> dict[str, Origin]:
    """Return where each modality was fetched from, for chips.json, and tell of seasons without a clear pixel."""
    found: dict[str, Origin] = {}
    for each in surveyed.imagery:
        if each.modality.name in fetcher.holdings:
            near: dict[str, list[Raster]] = {}
            for cells in surveyed.cells:
                for number in np.unique(cells.area_of).tolist():
                    rasters = each.near([cells[cells.area_of == number]])
                    near.setdefault(cells.areas[number].name, []).extend(rasters)
            found[each.modality.name] = fetcher.origin(each.modality.name, near)
    for name, origin in found.items():
        for area, seasons in origin.areas.items():
            for season in [season for season, used in seasons.items() if not used.clear]:
                text = "%s: no pixel of %s is clear in %s %d; its channels are missing there"
                log.warning(text, name, area, season, origin.year)
    return found


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
    surveyed: Survey,
    contents: Mapping[str, Contents],
    cut_now: int,
    fetcher: Fetcher,
) -> Result[geopandas.GeoDataFrame]:
    """Write the index last, or renew its time stamp where nothing changed, and count."""
    area_cells, layout = surveyed.cells, surveyed.layout
    total = sum(map(len, area_cells))
    left_out = total - sum(bool(contents[chip_id]) for cells in area_cells for chip_id in cells.chip_ids)
    channels = {
        each.modality.name: chip_index.channels(each.modality.name, each.channels, contents)
        for each in surveyed.imagery
    }
    for name in [name for name, present in channels.items() if not present]:
        log.warning("%s: no chip has enough valid pixels of this modality; it is left out", name)
        del channels[name]
    seed = description.made_from.options["seed"]
    index, apart = chip_index.build(area_cells, contents, list(channels), seed)
    path = folder / chip_folder.INDEX
    contained = {
        name: Contained(tuple(present), description.modalities[name].unit) for name, present in channels.items()
    }
    changed = bool(cut_now) or contained != description.modalities
    changed = changed or not chip_index.is_of(path, index, description.made_from)
    if changed:
        description = replace(description, modalities=contained, fetched=_origins(surveyed, fetcher))
    _write(folder, description, index, changed=changed)
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
        "left_out_beyond_utm": surveyed.beyond,
        "area_with_imagery": round(share, 4),
        "neighbours_in_other_split": round(apart, 4),
    }
    counts |= {name: int(index[name].notna().sum()) for name in channels}
    report = description.inspected
    return Result((folder,), counts, report=report, read=lambda: chip_folder.read(folder).index)
