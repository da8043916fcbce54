"""Cut aligned chips out of the imagery of every modality, over areas of interest."""

from __future__ import annotations

import json
import logging
import zlib
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd

from geoembed import __version__, settings
from geoembed.chips import cells, cutting, splits
from geoembed.chips import folder as chip_folder
from geoembed.chips.cells import Taken
from geoembed.chips.cutting import Found, Layer
from geoembed.errors import ChipError, ConfigError
from geoembed.ground import aoi as areas_of_interest
from geoembed.ground.grid import Grid
from geoembed.imagery import modalities
from geoembed.imagery.modalities import Modality
from geoembed.outputs import atomic, digests, journal, locks, records, styles
from geoembed.outputs.journal import Journal
from geoembed.outputs.records import Record
from geoembed.progress import Progress, Result, Steps, verb
from geoembed.settings import PathLike, Paths

log = logging.getLogger(__name__)

JOURNAL = ".journal.jsonl"


@verb
def chip(
    aoi: Paths,
    *,
    source: Mapping[str, Paths] | Sequence[str | Modality] = (),
    output: PathLike = "chips",
    size: int = 448,
    resolution: float | None = None,
    align: str | None = None,
    min_valid: float = 0.5,
    seed: int = 0,
    workers: int = 2,
    update: bool = False,
    overwrite: bool = False,
    config: PathLike | None = None,
    progress: bool = False,
) -> Steps[geopandas.GeoDataFrame]:
    """Cut the chips of some areas into a folder, and return its index; finished ones that match are kept.

    aoi: vector files of polygons.
    source: where imagery lies, by modality (or such as `s2=PATH`), in place of what `config` says; or modalities.
    config: the settings file whose [modalities] tables say what imagery there is; geoembed.toml where it exists.
    size: pixels along a chip's side.
    resolution: metres per pixel; 10 where neither it nor `align` is given.
    align: the modality whose pixel lattice the grid is anchored on, in place of the fixed UTM grid.
    min_valid: the share of valid pixels below which a modality is absent from a chip.

    Raises AoiError, ImageryError, ConfigError, ChipError (nothing to cut) and StaleError.
    """
    folder = Path(output)
    if size < 1 or (resolution is not None and not 0.0 < resolution < float("inf")):
        raise ConfigError(f"--size {size} --resolution {resolution}: both must be above 0")
    areas, areas_digests = areas_of_interest.read(settings.paths(aoi))
    layers = tuple(cutting.layer(modality) for modality in _modalities(source, settings.file(config)))
    with locks.hold(folder, folder=True):
        found = _description(folder)
        taken, beyond = _cells(areas, layers, found, size, resolution, align)
        if beyond:
            log.warning("%d cells beyond 80 degrees south or 84 north are left out: UTM ends there", beyond)
        if not taken:
            names = ", ".join(map(str, settings.paths(aoi)))
            raise ChipError(f"{names}: holds the centre of no cell with imagery; use a smaller --size or a larger area")
        files = digests.Files(found["made_from"].stamps if found else {})
        record = Record(
            "chip",
            inputs={
                "areas": [digest for _, digest in areas_digests],
                "sources": {layer.modality.name: _sources(layer, taken, files) for layer in layers},
            },
            options={
                "aoi": [name for name, _ in areas_digests],
                "modalities": {layer.modality.name: layer.settings() for layer in layers},
                "size": size,
                "resolution": resolution,
                "align": align,
                "min_valid": min_valid,
                "seed": seed,
            },
            stamps=files.stamps,
        )
        _make_room(folder, found, record, update=update, overwrite=overwrite)
        description = _describe(folder, record, layers, taken)
        with closing(Journal(folder / JOURNAL, record)) as done:
            has, cut_now = yield from _cut_all(folder, layers, taken, min_valid, workers, done)
        return _finish(folder, description, layers, taken, has, cut_now, beyond)


def _modalities(source: Mapping[str, Paths] | Sequence[str | Modality], config: Path | None) -> tuple[Modality, ...]:
    """Return the modalities that have imagery."""
    ready = tuple(item for item in source if isinstance(item, Modality))
    if ready:
        return ready
    located = source if isinstance(source, Mapping) else list(map(str, source))
    return modalities.read(config, settings.by_modality("--source", located))


def _cells(
    areas: Sequence[areas_of_interest.Area],
    layers: Sequence[Layer],
    found: Mapping[str, Any] | None,
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
    return cells.aligned(areas, rasters[align], size, found["grids"] if found else []), 0


def _sources(layer: Layer, taken: Sequence[Taken], files: digests.Files) -> list[list[str]]:
    """Return names and digests of a modality's rasters that lie near the cells, in order of precedence."""
    used = {raster for part in taken for raster in layer.catalogue.near(part.outlines)}
    return [files.fingerprint(raster.address, raster.files) for raster in layer.catalogue.rasters if raster in used]


def _description(folder: Path) -> dict[str, Any] | None:
    """Return the chips.json of an earlier run, with its record and grids; None where there is none."""
    path = folder / chip_folder.DESCRIPTION
    if not path.exists():
        return None
    try:
        description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        description["grids"] = [Grid(**value) for value in description["grids"]]
        description["made_from"] = Record.from_json(description["made_from"])
    except (ValueError, KeyError, TypeError):
        description = {"made_from": None}
    if description["made_from"] is None:
        raise ChipError(f"{path}: cannot be read, or is of another version of geoembed; move the folder away")
    return description


def _make_room(folder: Path, found: Mapping[str, Any] | None, record: Record, *, update: bool, overwrite: bool) -> None:
    """Leave a folder that is new, or holds chips of the same record; delete what geoembed made there where it may."""
    records.settle(
        folder,
        record,
        found["made_from"] if found else None,
        finished=(folder / chip_folder.INDEX).exists(),
        remove=partial(_delete, folder),
        update=update,
        overwrite=overwrite,
    )
    atomic.sweep(folder, chip_folder.DESCRIPTION)
    if found is None and any(path.name != locks.NAME for path in folder.iterdir()):
        raise ChipError(f"{folder}: exists and was not made by geoembed chip; choose another -o")
    atomic.sweep(folder, deep=not (folder / chip_folder.INDEX).exists())


def _describe(folder: Path, record: Record, layers: Sequence[Layer], taken: Sequence[Taken]) -> dict[str, Any]:
    """Write what the chips are made from before the first is cut, or new stamps of the same files."""
    path = folder / chip_folder.DESCRIPTION
    described: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    description = {
        "geoembed_version": __version__,
        "size": record.options["size"],
        "grids": [lattice.to_json() for lattice in dict.fromkeys(one.grid for one in taken)],
        "modalities": {layer.modality.name: {"channels": [], "unit": layer.modality.unit} for layer in layers},
        **described,
        "made_from": record.to_json(),
    }
    if description != described:
        atomic.write_json(path, description)
    return description


def _delete(folder: Path) -> None:
    """Delete the index, the chips that the journal names, and the description; other files stay."""
    index = folder / chip_folder.INDEX
    index.unlink(missing_ok=True)
    folders: set[Path] = set()
    for chip_id, found in cutting.finished(journal.lines_of(folder / JOURNAL)).items():
        for modality in found:
            path = chip_folder.path_of(folder, chip_id, modality)
            path.unlink(missing_ok=True)
            folders.update(path.parents[:3])
    for emptied in sorted(folders, key=lambda path: -len(path.parts)):
        if emptied.is_dir() and not any(emptied.iterdir()):
            emptied.rmdir()
    for path in (styles.beside(index), folder / JOURNAL, folder / chip_folder.DESCRIPTION):
        path.unlink(missing_ok=True)


def _cut_all(
    folder: Path, layers: Sequence[Layer], taken: Sequence[Taken], min_valid: float, workers: int, done: Journal
) -> Generator[Progress, None, tuple[dict[str, Found], int]]:
    """Cut what is not there yet, in a pool of threads; return what each cell has, and how many cells were cut now."""
    kept = {
        chip_id: found
        for chip_id, found in cutting.finished(done.lines).items()
        if all(chip_folder.path_of(folder, chip_id, modality).exists() for modality in found)
    }
    blocks = iter([block for one in taken for block in cutting.blocks(one, kept)])
    total, cut_now = sum(len(one.rows) for one in taken), 0
    yield Progress(len(kept), total, "chips")
    cutter = cutting.Cutter(folder, layers, min_valid)
    waiting: deque[Future[dict[str, Found]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            waiting.extend(pool.submit(cutter, block) for block in islice(blocks, 2 * workers))
            while waiting:
                found = waiting.popleft().result()
                waiting.extend(pool.submit(cutter, block) for block in islice(blocks, 1))
                done.write(found)
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
) -> Result[geopandas.GeoDataFrame]:
    """Write the index last, or renew its time stamp where nothing changed, and count."""
    total = sum(len(one.rows) for one in taken)
    left_out = total - sum(bool(found[chip_id]) for one in taken for chip_id in one.chip_ids)
    if left_out == total:
        raise ChipError(f"{output}: no cell has enough valid imagery; check the AOI, the sources and --min-valid")
    channels = {layer.modality.name: _channels(layer, found) for layer in layers}
    for name in [name for name, has in channels.items() if not has]:
        log.warning("%s: no chip has enough valid pixels of this modality; it is left out", name)
        del channels[name]
    index, apart = _index(taken, found, list(channels), description["made_from"]["options"]["seed"])
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
    counts |= {name: int(index[name].notna().sum()) for name in channels}
    return Result((output,), counts, read=lambda: chip_folder.read(output).index)


def _channels(layer: Layer, found: Mapping[str, Found]) -> list[str]:
    """Return the channels that at least one chip has, in order."""
    seen = {has[layer.modality.name][1] for has in found.values() if layer.modality.name in has}
    return [name for name in layer.channels if any(name in channels for channels in seen)]


def _index(taken: Sequence[Taken], found: Mapping[str, Found], modalities: list[str], seed: int) -> tuple[Any, float]:
    """Return the index of the chips that have any modality, and the share of neighbours in different splits."""
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
