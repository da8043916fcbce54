"""Cut aligned chips out of the imagery of every modality, over areas of interest."""

from __future__ import annotations

import json
import logging
import zlib
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from geoembed import __version__
from geoembed.chips import cells, cutting, splits
from geoembed.chips import folder as chip_folder
from geoembed.chips.cells import Taken
from geoembed.chips.cutting import Found, Layer
from geoembed.errors import ChipError, ConfigError
from geoembed.ground import aoi
from geoembed.ground.grid import Grid
from geoembed.imagery.modalities import Modality
from geoembed.imagery.rasters import identity
from geoembed.outputs import atomic, record, styles
from geoembed.progress import Outcome, Progress, Steps

log = logging.getLogger(__name__)


def cut(
    areas: tuple[Path, ...],
    modalities: tuple[Modality, ...],
    output: Path,
    *,
    size: int = 448,
    resolution: float | None = None,
    align: str | None = None,
    min_valid: float = 0.5,
    seed: int = 0,
    workers: int = 2,
    overwrite: bool = False,
) -> Steps:
    """Cut the chips of some areas into a folder; finished ones that match are kept.

    size: pixels along a chip's side. resolution: metres per pixel (10 where neither it nor `align` is given).
    align: the modality whose pixel lattice the grid is anchored on, in place of the fixed UTM grid.
    min_valid: the share of valid pixels below which a modality is absent from a chip.

    Raises AoiError, ImageryError, ConfigError, ChipError (nothing to cut) and StaleError.
    """
    if size < 1 or (resolution is not None and not 0.0 < resolution < float("inf")):
        raise ConfigError(f"--size {size} --resolution {resolution}: both must be above 0")
    found_areas, areas_record = aoi.read(areas)
    layers = tuple(cutting.layer(modality) for modality in modalities)
    taken, beyond = _cells(found_areas, layers, output, size, resolution, align)
    if beyond:
        log.warning("%d cells beyond 80 degrees south or 84 north are left out: UTM ends there", beyond)
    if not taken:
        names = ", ".join(map(str, areas))
        raise ChipError(f"{names}: holds the centre of no cell with imagery; use a smaller --size or a larger area")
    made_from = {
        "areas": areas_record,
        "sources": {layer.modality.name: _sources(layer, taken) for layer in layers},
        "modalities": {layer.modality.name: layer.settings() for layer in layers},
        "size": size,
        "resolution": resolution,
        "align": align,
        "min_valid": min_valid,
        "seed": seed,
    }
    grids = [one.to_json() for one in dict.fromkeys(one.grid for one in taken)]
    description = {
        "geoembed_version": __version__,
        "size": size,
        "grids": grids,
        "modalities": {layer.modality.name: {"channels": [], "unit": layer.modality.unit} for layer in layers},
        "made_from": made_from,
    }
    _prepare(output, description, overwrite)
    found, cut_now = yield from _cut_all(output, layers, taken, min_valid, workers)
    return _finish(output, description, layers, taken, found, cut_now, beyond)


def _cells(
    areas: Sequence[aoi.Area],
    layers: Sequence[Layer],
    output: Path,
    size: int,
    resolution: float | None,
    align: str | None,
) -> tuple[list[Taken], int]:
    if align is None:
        return cells.fixed(areas, size, 10.0 if resolution is None else resolution)
    if resolution is not None:
        raise ConfigError("--resolution: an aligned grid has the imagery's own pixels; leave it out with --align")
    rasters = {layer.modality.name: layer.catalogue.rasters for layer in layers}
    if align not in rasters:
        raise ConfigError(f"--align {align}: has no imagery here; choose one of {', '.join(rasters)}")
    # The grids of an earlier run stay, so that chip ids do when imagery is added.
    path = output / chip_folder.DESCRIPTION
    recorded = [Grid(**value) for value in _description(path)["grids"]] if path.exists() else []
    return cells.aligned(areas, rasters[align], size, recorded), 0


def _sources(layer: Layer, taken: Sequence[Taken]) -> list[dict[str, Any]]:
    """Return the records of a modality's files that lie near the cells, in order of precedence."""
    used = {raster for one in taken for raster in layer.catalogue.near(one.outlines)}
    return [identity(raster) for raster in layer.catalogue.rasters if raster in used]


def _description(path: Path) -> dict[str, Any]:
    try:
        description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        description["grids"], description["made_from"]
    except (ValueError, KeyError):
        raise ChipError(f"{path}: cannot be read; delete it to begin anew") from None
    return description


def _prepare(output: Path, description: dict[str, Any], overwrite: bool) -> None:
    """Make the folder ready: new, or of the same inputs; otherwise raise, or delete what geoembed made there."""
    path = output / chip_folder.DESCRIPTION
    if path.exists() and overwrite:
        _delete(output)
    elif path.exists():
        record.require_same(output, _description(path)["made_from"], description["made_from"])
    elif output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ChipError(f"{output}: exists and was not made by geoembed chip; choose another -o")
    output.mkdir(parents=True, exist_ok=True)
    atomic.sweep(output, deep=not (output / chip_folder.INDEX).exists())
    if not path.exists():
        atomic.write_json(path, description)


def _delete(output: Path) -> None:
    """Delete the index, the chips that the journal names, and the description; other files stay."""
    (output / chip_folder.INDEX).unlink(missing_ok=True)
    folders: set[Path] = set()
    for chip_id, found in cutting.read_journal(output).items():
        for modality in found:
            path = chip_folder.path_of(output, chip_id, modality)
            path.unlink(missing_ok=True)
            folders.update(path.parents[:3])
    for folder in sorted(folders, key=lambda one: -len(one.parts)):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    index = output / chip_folder.INDEX
    for path in (index, styles.beside(index), output / cutting.JOURNAL, output / chip_folder.DESCRIPTION):
        path.unlink(missing_ok=True)


def _cut_all(
    output: Path, layers: Sequence[Layer], taken: Sequence[Taken], min_valid: float, workers: int
) -> Generator[Progress, None, tuple[dict[str, Found], int]]:
    """Cut what is not there yet, in a pool of threads; return what each cell has, and how many cells were cut now."""
    done = cutting.read_journal(output)
    kept = {
        chip_id: found
        for chip_id, found in done.items()
        if all(chip_folder.path_of(output, chip_id, modality).exists() for modality in found)
    }
    blocks = iter([block for one in taken for block in cutting.blocks(one, kept)])
    total, cut_now = sum(len(one.rows) for one in taken), 0
    yield Progress(len(kept), total, "chips")
    cutter = cutting.Cutter(output, layers, min_valid)
    waiting: deque[Future[dict[str, Found]]] = deque()
    with (output / cutting.JOURNAL).open("a", encoding="utf-8") as journal, ThreadPoolExecutor(workers) as pool:
        journal.write("\n" if done else "")  # ends a line that a killed run left half written
        try:
            waiting.extend(pool.submit(cutter, block) for block in islice(blocks, 2 * workers))
            while waiting:
                found = waiting.popleft().result()
                waiting.extend(pool.submit(cutter, block) for block in islice(blocks, 1))
                journal.write(cutting.journal_line(found))
                journal.flush()
                kept.update(found)
                cut_now += len(found)
                yield Progress(len(kept), total, "chips")
        finally:
            pool.shutdown(cancel_futures=True)
            cutter.close()
    return kept, cut_now


def _finish(
    output: Path,
    description: dict[str, Any],
    layers: Sequence[Layer],
    taken: Sequence[Taken],
    found: Mapping[str, Found],
    cut_now: int,
    beyond: int,
) -> Outcome:
    """Write the index last, or renew its time stamp where nothing changed, and count."""
    total = sum(len(one.rows) for one in taken)
    left_out = total - sum(bool(found[chip_id]) for one in taken for chip_id in one.chip_ids)
    if left_out == total:
        raise ChipError(f"{output}: no cell has enough valid imagery; check the AOI, the sources and --min-valid")
    channels = {layer.modality.name: _channels(layer, found) for layer in layers}
    for name in [name for name, has in channels.items() if not has]:
        log.warning("%s: no chip has enough valid pixels of this modality; it is left out", name)
        del channels[name]
    index, apart = _index(taken, found, list(channels), description["made_from"]["seed"])
    path = output / chip_folder.INDEX
    if cut_now or not path.exists():
        path.unlink(missing_ok=True)
        units = {name: description["modalities"][name]["unit"] for name in channels}
        described = {name: {"channels": channels[name], "unit": units[name]} for name in channels}
        atomic.write_json(output / chip_folder.DESCRIPTION, {**description, "modalities": described})
        styles.write(path, styles.splits())
        chip_folder.write_index(path, index)
    atomic.touch(path)
    log.info("%d chips: %d cells cut, %d kept", len(index), cut_now, total - cut_now)
    if left_out:
        log.info("%d cells left out: too few valid pixels in every modality", left_out)
    if not np.isnan(apart):
        log.info("%.1f %% of neighbouring chips fall into different splits", 100.0 * apart)
    counts: dict[str, int | float] = {
        "chips": len(index),
        "cells_cut": cut_now,
        "cells_kept": total - cut_now,
        "left_out_without_imagery": left_out,
        "left_out_beyond_utm": beyond,
        "neighbours_in_other_split": round(apart, 4),
    }
    return Outcome((output,), counts | {name: int(index[name].notna().sum()) for name in channels})


def _channels(layer: Layer, found: Mapping[str, Found]) -> list[str]:
    """Return the channels that at least one chip has, in order."""
    seen = {has[layer.modality.name][1] for has in found.values() if layer.modality.name in has}
    return [name for name in layer.channels if any(name in channels for channels in seen)]


def _index(taken: Sequence[Taken], found: Mapping[str, Found], modalities: list[str], seed: int) -> tuple[Any, float]:
    """Return the index of the chips that have any modality, and the share of neighbours in different splits."""
    import geopandas
    import pandas as pd

    chips = [cells[[i for i, chip_id in enumerate(cells.chip_ids) if found[chip_id]]] for cells in taken]
    chip_ids = [chip_id for cells in chips for chip_id in cells.chip_ids]
    aois = [cells.area.name for cells in chips for _ in cells.chip_ids]
    fractions = {name: [found[chip_id].get(name, (np.nan, ()))[0] for chip_id in chip_ids] for name in modalities}
    table = pd.DataFrame({"chip_id": chip_ids, "aoi": aois, "split": "", **fractions})
    lonlat = np.concatenate([cells.lonlat() for cells in chips])
    for name, members in table.groupby("aoi", sort=False).indices.items():
        generator = np.random.default_rng([seed, zlib.crc32(str(name).encode())])
        side = max(cells.grid.side_metres for cells in taken if cells.area.name == name)
        table.loc[members, "split"] = splits.assign(lonlat[members], side, generator)
    number = {grid: i for i, grid in enumerate(dict.fromkeys(cells.grid for cells in taken))}
    places = [np.stack([np.full(len(cells), number[cells.grid]), cells.columns, cells.rows], 1) for cells in chips]
    apart = splits.neighbours_apart(np.concatenate(places), table["split"].to_numpy())
    outlines = np.concatenate([cells.outlines for cells in chips])
    return geopandas.GeoDataFrame(table, geometry=outlines, crs="EPSG:4326"), apart
