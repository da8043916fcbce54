"""The step that labels chips from rasters: class shares, or means of continuous values."""

import logging
import re
from collections import Counter
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
class Rule:
    """How a label file is made.

    name: of the file.
    values: the raster values of its class; empty for a continuous raster.
    threshold: the share of a chip from which on its label is 1.
    above: the mean value of a continuous raster above which a chip's label is 1; None: chips get no label.
    """

    name: str
    values: tuple[int, ...] = ()
    threshold: float = 0.5
    above: float | None = None


def parse(text: str) -> Rule:
    """Return the rule of a class that a text means: `water=80`, `vegetation=10,20,30`, `cropland` (WorldCover) or `80`.

    Raises LabelError for other texts.
    """
    name, equals, numbers = text.partition("=")
    name = name.strip()
    if not equals and re.fullmatch(r"[\d\s,]+", name):
        name, numbers, equals = f"class_{'_'.join(re.findall(r'[0-9]+', name))}", name, "="
    if not equals:
        return Rule("_".join(name.split()), (legend.value_of(name),))
    stem = _stem(f"--class {text}", name)
    if not re.fullmatch(r"\s*-?\d+\s*(,\s*-?\d+\s*)*", numbers):
        raise LabelError(f"--class {text}: write NAME=NUMBER or NAME=NUMBER,NUMBER, as in vegetation=10,20,30")
    return Rule(stem, tuple(int(number) for number in numbers.split(",")))


def _stem(option: str, name: str) -> str:
    """Return a name as the stem of a file's name; raises LabelError where it cannot be one."""
    if not re.fullmatch(r"[\w .+-]+", name) or name.startswith("."):
        raise LabelError(f"{option}: {name!r} cannot name a file; use letters, digits, - and _")
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
    """Label chips from rasters, over valid pixels only and exact at cell borders; the result is the labels.

    With `classes` each chip gets, for each class, the `fraction` of its valid area, and the `label` 1 where that
    reaches `threshold`, else 0. Without, it gets the mean `value`, and with `above` the `label` 1 where that is higher.
    `valid` is the share of the chip with valid pixels; a chip without any gets no row. The result holds the rows of all
    label files, whose stems stand in its column `labels`.

    rasters: paths, globs, folders or other addresses; several are a mosaic in name order (see `zonal`).
    classes: texts such as `water=80`; see `parse`.
    output: a file, or a folder for several classes; None: labels/<name>.gpkg.

    Raises LabelError, ImageryError (a raster that cannot be used), ChipError and StaleError.
    """
    texts = (classes,) if isinstance(classes, str) else tuple(classes)
    opened = sources.first_bands(settings.texts(rasters), scaled=not texts)
    rules = _rules(texts, opened, name, threshold, above)
    paths = _paths(None if output is None else Path(output), rules)
    _require_meaning(opened, bool(texts))
    chipset = read_chips(Path(chips))
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(locks.hold(path, folder=False))
        return (yield from _label(rules, paths, opened, chipset, update, overwrite))


def _label(
    rules: list[Rule], paths: list[Path], rasters: Sequence[Raster], chipset: ChipSet, update: bool, overwrite: bool
) -> Steps[geopandas.GeoDataFrame]:
    """Write the label files that are not kept."""
    stamps: dict[str, str] = {}
    for existing in map(_existing, paths):
        stamps |= existing.stamps if existing else {}
    made_from = [_record(rasters, chipset, rule, stamps) for rule in rules]
    due = [i for i, path in enumerate(paths) if not _is_kept(path, made_from[i], update=update, overwrite=overwrite)]
    counts: dict[str, int | float] = {"files_kept": len(paths) - len(due), "files_written": len(due)}
    if due:
        classes = [rules[i].values for i in due] if rules[0].values else None
        total = len(chipset.cells)
        shares = yield from zonal.shares(rasters, chipset.cells, classes)
        _check_shares(rasters, shares, [rules[i] for i in due], chipset.folder)
        for k, i in enumerate(due):
            table = _table(chipset, shares, k, rules[i])
            paths[i].unlink(missing_ok=True)
            styles.write(paths[i], _style(table, rules[i].name))
            geopackage.write(paths[i], label_files.LAYER, table, made_from[i])
            log.info("%s: %s", paths[i], _summary(table, total))
        counts |= {"chips_labelled": len(table), "chips_without_valid_pixels": total - len(table)}
        if len(table) < total:
            log.warning("%s of %s chips have no valid pixel and no label", total - len(table), total)
    atomic.touch(*paths)
    return Result(tuple(paths), counts, read=partial(_read_all, paths))


def _read_all(paths: list[Path]) -> geopandas.GeoDataFrame:
    """Return the rows of label files, whose stems stand in the column `labels`."""
    tables = [pyogrio.read_dataframe(path, layer=label_files.LAYER).assign(labels=path.stem) for path in paths]
    return pd.concat(tables, ignore_index=True)


def _rules(
    classes: tuple[str, ...], rasters: Sequence[Raster], name: str | None, threshold: float, above: float | None
) -> list[Rule]:
    """Return a rule for each label file; raises LabelError for options that do not go together."""
    if not rasters:
        raise LabelError("no raster given; name one or more, as in geoembed label landcover.tif --class water=80")
    if not 0.0 < threshold <= 1.0:
        raise LabelError(f"--threshold {threshold:g}: a share of the chip, above 0 and at most 1")
    name = None if name is None else _stem(f"--name {name}", name)
    if classes and above is not None:
        raise LabelError("--above is for continuous rasters and --class for classes; drop one of them")
    if not classes:
        if threshold != 0.5:
            raise LabelError("--threshold is for --class; continuous rasters take --above")
        return [Rule(name or addresses.stem(rasters[0].address), above=above)]
    rules = [replace(parse(text), threshold=threshold) for text in classes]
    twice = next((name for name, count in Counter(rule.name for rule in rules).items() if count > 1), None)
    if twice:
        raise LabelError(f"--class {twice}: given twice; give each class another name")
    if name and len(rules) > 1:
        raise LabelError("--name is for one class; name several as in --class water=80 --class crops=40")
    return [replace(rules[0], name=name)] if name else rules


def _paths(output: Path | None, rules: list[Rule]) -> list[Path]:
    """Return the paths of the label files: `output` itself, or in the folder `output`, by default in `labels`."""
    if output is not None and output.suffix.lower() == ".gpkg":
        if len(rules) > 1:
            raise LabelError(f"{output}: several classes need a folder; give -o a name without .gpkg")
        return [output]
    if output is not None and output.suffix and not output.is_dir():
        raise LabelError(f"{output}: labels are written as GeoPackage; give -o a name that ends in .gpkg, or a folder")
    return [(output or Path("labels")) / f"{rule.name}.gpkg" for rule in rules]


def _require_meaning(rasters: Sequence[Raster], classes: bool) -> None:
    for raster in rasters:
        if not classes and is_categorical(raster):
            raise LabelError(
                f"{raster.address}: its values are classes (it has a colour table or names);"
                " say which with --class, as in --class water=80"
            )
        if raster.count > 1:
            log.warning("%s: has %d bands; the first is used", raster.address, raster.count)


def _record(rasters: Sequence[Raster], chipset: ChipSet, rule: Rule, stamps: dict[str, str]) -> Record:
    files = digests.Files(stamps)
    fingerprints = [files.fingerprint(raster.address, raster.files) for raster in rasters]
    of_class = {"threshold": rule.threshold, "values": sorted(rule.values)}
    return Record(
        "label",
        inputs={"rasters": [digest for _, digest in fingerprints], "chips": chipset.digest},
        options={"rasters": [name for name, _ in fingerprints]} | (of_class if rule.values else {"above": rule.above}),
        stamps=files.stamps,
    )


def _existing(path: Path) -> Record | None:
    """Return the record of a label file, None where there is none; raises LabelError for a file of other origin."""
    record = geopackage.record_of(path, label_files.LAYER)
    if path.exists() and (record is None or record.step != "label"):
        raise LabelError(f"{path}: exists and was not made by geoembed label; choose another -o")
    return record


def _is_kept(path: Path, record: Record, *, update: bool, overwrite: bool) -> bool:
    """Tell whether a label file of this record is there; raises StaleError where another must not be replaced."""
    existing = _existing(path)
    atomic.sweep(path.parent, path.name)
    finished = styles.beside(path).exists()
    standing = records.settle(path, record, existing, finished=finished, update=update, overwrite=overwrite)
    if standing is not Standing.KEPT:
        return False
    if existing and existing.stamps != record.stamps:
        geopackage.renew(path, label_files.LAYER, record)
    return True


def _check_shares(rasters: Sequence[Raster], shares: Shares, rules: list[Rule], chips: Path) -> None:
    """Raise LabelError where no chip has a valid pixel; warn of rasters and classes that no chip has a pixel of."""
    if not (shares.valid > 0).any():
        names = ", ".join(raster.address for raster in rasters[:3])
        raise LabelError(f"{names}: no valid pixel lies on a chip of {chips}; check the raster's place, CRS and nodata")
    idle = [raster.address for raster in rasters if raster.address not in shares.touched]
    if idle:
        log.warning("%d of %d rasters touch no chip, %s the first", len(idle), len(rasters), idle[0])
    present = sorted(value for value, pixels in shares.pixels.items() if pixels > 0)
    names = ", ".join(f"{value:g} ({name})" if (name := legend.name_of(value)) else f"{value:g}" for value in present)
    for rule in rules:
        if rule.values and not set(rule.values) & set(present):
            values = ",".join(map(str, rule.values))
            log.warning("%s: no chip has a pixel of class %s; the classes on chips are: %s", rule.name, values, names)


def _table(chipset: ChipSet, shares: Shares, k: int, rule: Rule) -> geopandas.GeoDataFrame:
    """Return the rows of a label file: the chips with valid pixels, labelled by column k of the sums."""
    rows = np.flatnonzero(shares.valid > 0)
    mean = shares.sums[rows, k] / shares.valid[rows]
    table = chipset.index[["chip_id", "geometry"]].iloc[rows].reset_index(drop=True)
    if rule.values:
        # Sums of exact shares carry rounding errors; a chip that is half water is not to miss 0.5 by 1e-16.
        fraction = np.clip(np.round(mean, 9), 0.0, 1.0)
        table.insert(1, "label", (fraction >= rule.threshold).astype(np.int32))
        table.insert(2, "fraction", fraction)
    else:
        table.insert(1, "value", mean)
        if rule.above is not None:
            table.insert(1, "label", (mean > rule.above).astype(np.int32))
    table.insert(len(table.columns) - 1, "valid", np.clip(np.round(shares.valid[rows], 9), 0.0, 1.0))
    return table


def _style(table: geopandas.GeoDataFrame, name: str) -> str:
    if "label" in table:
        return styles.classes("label", (0, 1), name)
    return styles.ramp("value", float(table["value"].min()), float(table["value"].max()))


def _summary(table: geopandas.GeoDataFrame, chips: int) -> str:
    text = f"{len(table):,} of {chips:,} chips labelled"
    if "label" in table:
        return f"{text}, {100 * table['label'].mean():.1f} % of them 1"
    return f"{text}, values {table['value'].min():.4g} to {table['value'].max():.4g}"
