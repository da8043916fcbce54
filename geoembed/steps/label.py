"""The step that labels chips from rasters: class shares, or means of continuous values."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pyogrio

from geoembed import settings
from geoembed.chips.folder import ChipSet
from geoembed.chips.folder import read as read_chips
from geoembed.errors import LabelError
from geoembed.imagery import addresses, sources
from geoembed.imagery.rasters import Raster, is_categorical
from geoembed.labels import files as label_files
from geoembed.labels import legend, zonal
from geoembed.labels.zonal import Shares
from geoembed.outputs import atomic, digests, geopackage, locks, records, styles
from geoembed.outputs.records import Record, Standing
from geoembed.progress import Result, Steps, verb
from geoembed.settings import PathLike, Paths

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """One label file to make.

    name: of the file.
    values: the raster values of its class; none for a continuous raster.
    threshold: the share of a chip from which its label is 1.
    above: the mean value of a continuous raster above which a chip's label is 1; None for no label.
    """

    name: str
    values: tuple[int, ...] = ()
    threshold: float = 0.5
    above: float | None = None


def parse(text: str) -> Wanted:
    """Read a class as typed: `water=80`, `vegetation=10,20,30`, `cropland` (WorldCover) or `80`.

    Raises LabelError with the remedy.
    """
    name, equals, numbers = text.partition("=")
    name = name.strip()
    if not equals and re.fullmatch(r"[\d\s,]+", name):
        name, numbers, equals = f"class_{'_'.join(re.findall(r'[0-9]+', name))}", name, "="
    if not equals:
        return Wanted("_".join(name.split()), (legend.value_of(name),))
    stem = _stem(f"--class {text}", name)
    if not re.fullmatch(r"\s*-?\d+\s*(,\s*-?\d+\s*)*", numbers):
        raise LabelError(f"--class {text}: write NAME=NUMBER or NAME=NUMBER,NUMBER, as in vegetation=10,20,30")
    return Wanted(stem, tuple(int(number) for number in numbers.split(",")))


def _stem(told: str, name: str) -> str:
    """Return a name as a file's stem; raises LabelError for one that would lead elsewhere."""
    if not re.fullmatch(r"[\w .+-]+", name) or name.startswith("."):
        raise LabelError(f"{told}: {name!r} cannot name a file; use letters, digits, - and _")
    return "_".join(name.split())


@verb
def label(
    rasters: Paths,
    *,
    chips: PathLike = "chips",
    classes: str | Sequence[str] = (),
    threshold: float = 0.5,
    above: float | None = None,
    name: str | None = None,
    output: PathLike | None = None,
    update: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Steps[geopandas.GeoDataFrame]:
    """Label chips from rasters, over valid pixels only, exact at cell borders; return the labels.

    With `classes` each chip gets, per class, `fraction` of its valid area and `label` 1 where the fraction reaches
    `threshold`; else the mean `value`, and with `above` also `label` 1 where the value is higher. `valid` is the share
    of the chip with valid pixels; a chip without any gets no row. Several rasters are a mosaic (see `zonal`), the
    first in name order counting where they overlap. `output` is a file, and a folder for several classes. The result's
    rows are those of all label files, whose names stand in the column `labels`.

    Raises LabelError, ImageryError (a raster that cannot be used), ChipError and StaleError.
    """
    asked = (classes,) if isinstance(classes, str) else tuple(classes)
    given = settings.texts(rasters)
    headers = sources.first_bands(given, scaled=not asked)
    wanted = _wanted(asked, headers, name, threshold, above)
    paths = _places(None if output is None else Path(output), wanted)
    _require_meaning(headers, bool(asked))
    chip_set = read_chips(Path(chips))
    with ExitStack() as held:
        for path in paths:
            held.enter_context(locks.hold(path, folder=False))
        return (yield from _label(wanted, paths, headers, chip_set, update, overwrite))


def _label(
    wanted: list[Wanted],
    paths: list[Path],
    headers: Sequence[Raster],
    chip_set: ChipSet,
    update: bool,
    overwrite: bool,
) -> Steps[geopandas.GeoDataFrame]:
    """Write the label files that are not kept."""
    known: dict[str, str] = {}
    for path in paths:
        known |= found.stamps if (found := _found(path)) else {}
    made_from = [_record(headers, chip_set, target, known) for target in wanted]
    due = [i for i, path in enumerate(paths) if not _is_kept(path, made_from[i], update=update, overwrite=overwrite)]
    counts: dict[str, int | float] = {"files_kept": len(paths) - len(due), "files_written": len(due)}
    if due:
        asked = [wanted[i].values for i in due] if wanted[0].values else None
        total = len(chip_set.cells)
        shares = yield from zonal.shares(headers, chip_set.cells, asked)
        _require_found(headers, shares, [wanted[i] for i in due], chip_set.folder)
        for k, i in enumerate(due):
            table = _table(chip_set, shares, k, wanted[i])
            paths[i].unlink(missing_ok=True)
            styles.write(paths[i], _style(table, wanted[i].name))
            geopackage.write(paths[i], label_files.LAYER, table, made_from[i])
            log.info("%s: %s", paths[i], _summary(table, total))
        counts |= {"chips_labelled": len(table), "chips_without_valid_pixels": total - len(table)}
        if len(table) < total:
            log.warning("%s of %s chips have no valid pixel and no label", total - len(table), total)
    atomic.touch(*paths)
    return Result(tuple(paths), counts, read=partial(_read_all, paths))


def _read_all(paths: list[Path]) -> geopandas.GeoDataFrame:
    """Return the rows of some label files, whose stems stand in the column `labels`."""
    tables = [pyogrio.read_dataframe(path, layer=label_files.LAYER).assign(labels=path.stem) for path in paths]
    return pd.concat(tables, ignore_index=True)


def _wanted(
    classes: tuple[str, ...], rasters: Sequence[Raster], name: str | None, threshold: float, above: float | None
) -> list[Wanted]:
    """Return the label files to make, and refuse options that do not go together."""
    if not rasters:
        raise LabelError("no raster given; name one or more, as in geoembed label landcover.tif --class water=80")
    if not 0.0 < threshold <= 1.0:
        raise LabelError(f"--threshold {threshold:g}: a share of the chip, above 0 and at most 1")
    name = None if name is None else _stem(f"--name {name}", name)
    if classes and above is not None:
        raise LabelError("--above is for continuous rasters and --class for classes; drop one of them")
    if not classes:
        return [Wanted(name or addresses.stem(rasters[0].address), above=above)]
    wanted = [replace(parse(text), threshold=threshold) for text in classes]
    names = [target.name for target in wanted]
    twice = next((given for given in names if names.count(given) > 1), None)
    if twice:
        raise LabelError(f"--class {twice}: given twice; give each class another name")
    if name and len(wanted) > 1:
        raise LabelError("--name is for one class; name several as in --class water=80 --class crops=40")
    return [replace(wanted[0], name=name)] if name else wanted


def _places(output: Path | None, wanted: list[Wanted]) -> list[Path]:
    """Return where the files go: a file for one, in a folder for several, `labels/` by default."""
    if output is not None and output.suffix.lower() == ".gpkg":
        if len(wanted) > 1:
            raise LabelError(f"{output}: several classes need a folder; give -o a name without .gpkg")
        return [output]
    if output is not None and output.suffix and not output.is_dir():
        raise LabelError(f"{output}: labels are written as GeoPackage; give -o a name that ends in .gpkg, or a folder")
    return [(output or Path("labels")) / f"{one.name}.gpkg" for one in wanted]


def _require_meaning(rasters: Sequence[Raster], classes: bool) -> None:
    for raster in rasters:
        if not classes and is_categorical(raster):
            raise LabelError(
                f"{raster.address}: its values are classes (it has a colour table or names);"
                " say which with --class, as in --class water=80"
            )
        if raster.count > 1:
            log.warning("%s: has %d bands; the first is used", raster.address, raster.count)


def _record(rasters: Sequence[Raster], chip_set: ChipSet, wanted: Wanted, known: dict[str, str]) -> Record:
    files = digests.Files(known)
    named = [files.fingerprint(raster.address, raster.files) for raster in rasters]
    of_class = {"threshold": wanted.threshold, "values": sorted(wanted.values)}
    chosen = of_class if wanted.values else {"above": wanted.above}
    return Record(
        "label",
        inputs={"rasters": [digest for _, digest in named], "chips": chip_set.digest},
        options={"rasters": [name for name, _ in named], **chosen},
        stamps=files.stamps,
    )


def _found(path: Path) -> Record | None:
    """Return the record of a label file; raises LabelError where the file was not made by geoembed label."""
    found = geopackage.record_of(path, label_files.LAYER)
    if path.exists() and (found is None or found.step != "label"):
        raise LabelError(f"{path}: exists and was not made by geoembed label; choose another -o")
    return found


def _is_kept(path: Path, record: Record, *, update: bool, overwrite: bool) -> bool:
    """Tell whether a label file is there and holds what is wanted; raise where it must not be replaced."""
    found = _found(path)
    atomic.sweep(path.parent, path.name)
    finished = styles.beside(path).exists()
    standing = records.settle(path, record, found, finished=finished, update=update, overwrite=overwrite)
    if standing is not Standing.KEPT:
        return False
    if found and found.stamps != record.stamps:
        geopackage.renew(path, label_files.LAYER, record)
    return True


def _require_found(rasters: Sequence[Raster], found: Shares, wanted: list[Wanted], chips: Path) -> None:
    """Raise where no chip has a valid pixel; warn of rasters and classes that gave nothing."""
    if not (found.valid > 0).any():
        told = ", ".join(raster.address for raster in rasters[:3])
        raise LabelError(f"{told}: no valid pixel lies on a chip of {chips}; check the raster's place, CRS and nodata")
    idle = [raster.address for raster in rasters if raster.address not in found.touched]
    if idle:
        log.warning("%d of %d rasters touch no chip, %s the first", len(idle), len(rasters), idle[0])
    there = sorted(value for value, pixels in found.pixels.items() if pixels > 0)
    named = ", ".join(
        f"{value:g}" + (f" ({legend.name_of(value)})" if legend.name_of(value) else "") for value in there
    )
    for one in wanted:
        if one.values and not set(one.values) & set(there):
            values = ",".join(map(str, one.values))
            log.warning("%s: no chip has a pixel of class %s; those there are: %s", one.name, values, named)


def _table(chip_set: ChipSet, found: Shares, k: int, wanted: Wanted) -> geopandas.GeoDataFrame:
    """Return the rows of label file k: chips with valid pixels only."""
    rows = np.flatnonzero(found.valid > 0)
    mean = found.sums[rows, k] / found.valid[rows]
    table = chip_set.index[["chip_id", "geometry"]].iloc[rows].reset_index(drop=True)
    if wanted.values:
        # Sums of exact shares carry rounding errors; a chip that is half water is not to miss 0.5 by 1e-16.
        fraction = np.clip(np.round(mean, 9), 0.0, 1.0)
        table.insert(1, "label", (fraction >= wanted.threshold).astype(np.int32))
        table.insert(2, "fraction", fraction)
    else:
        table.insert(1, "value", mean)
        if wanted.above is not None:
            table.insert(1, "label", (mean > wanted.above).astype(np.int32))
    table.insert(len(table.columns) - 1, "valid", np.clip(np.round(found.valid[rows], 9), 0.0, 1.0))
    return table


def _style(table: geopandas.GeoDataFrame, name: str) -> str:
    if "label" in table:
        return styles.two_classes("label", name)
    return styles.graduated("value", float(table["value"].min()), float(table["value"].max()))


def _summary(table: geopandas.GeoDataFrame, chips: int) -> str:
    told = f"{len(table):,} of {chips:,} chips labelled"
    if "label" in table:
        return f"{told}, {100 * table['label'].mean():.1f} % of them 1"
    return f"{told}, values {table['value'].min():.4g} to {table['value'].max():.4g}"
