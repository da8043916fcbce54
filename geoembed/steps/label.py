"""The step that labels chips from rasters: class shares, or means of continuous values."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.chips.folder import read as read_chips
from geoembed.errors import LabelError
from geoembed.imagery import addresses, sources
from geoembed.imagery.rasters import identity, is_categorical
from geoembed.labels import legend, targets, zonal
from geoembed.outputs import geopackage, record, styles
from geoembed.outputs.atomic import touch
from geoembed.progress import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    import geopandas

    from geoembed.chips.folder import ChipSet
    from geoembed.imagery.rasters import Raster
    from geoembed.labels.zonal import Shares
    from geoembed.progress import Steps

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """One label file to make: its name, and the raster values of its class; no values for a continuous raster."""

    name: str
    values: tuple[int, ...]


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


def label(
    rasters: Sequence[str | Path],
    output: Path | None = None,
    *,
    chips: Path = Path("chips"),
    classes: tuple[str, ...] = (),
    threshold: float = 0.5,
    above: float | None = None,
    name: str | None = None,
    overwrite: bool = False,
) -> Steps:
    """Label chips from rasters, over valid pixels only, exact at cell borders.

    With `classes` each chip gets, per class, `fraction` of its valid area and `label` 1 where the fraction reaches
    `threshold`; else the mean `value`, and with `above` also `label` 1 where the value is higher. `valid` is the share
    of the chip with valid pixels; a chip without any gets no row. Several rasters are a mosaic (see `zonal`), the
    first in name order counting where they overlap. `output` is a file, and a folder for several classes.

    Raises LabelError, ImageryError (a raster that cannot be used), ChipError and StaleError.
    """
    headers = sources.first_bands(map(str, rasters), scaled=not classes)
    wanted = _wanted(classes, headers, name, threshold, above)
    paths = _places(output, wanted)
    _require_meaning(headers, classes)
    chip_set = read_chips(chips)
    records = [_record(headers, chip_set, one, threshold, above) for one in wanted]
    due = [i for i, path in enumerate(paths) if not _is_kept(path, records[i], overwrite=overwrite)]
    counts: dict[str, int | float] = {"files_kept": len(paths) - len(due), "files_written": len(due)}
    if due:
        asked = [wanted[i].values for i in due] if classes else None
        found = yield from zonal.shares(headers, chip_set.cells, asked)
        _require_found(headers, found, [wanted[i] for i in due], chips)
        for k, i in enumerate(due):
            table = _table(chip_set, found, k, threshold if classes else None, above)
            paths[i].unlink(missing_ok=True)
            styles.write(paths[i], _style(table, wanted[i].name))
            geopackage.write(paths[i], targets.LAYER, table, records[i])
            log.info("%s: %s", paths[i], _summary(table, len(chip_set.cells)))
        counts |= {"chips_labelled": len(table), "chips_without_valid_pixels": len(chip_set.cells) - len(table)}
        if len(table) < len(chip_set.cells):
            log.warning(
                "%s of %s chips have no valid pixel and no label", len(chip_set.cells) - len(table), len(chip_set.cells)
            )
    for path in paths:
        touch(path)
    return Outcome(tuple(paths), counts)


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
        return [Wanted(name or addresses.stem(rasters[0].address), ())]
    wanted = [parse(text) for text in classes]
    names = [one.name for one in wanted]
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice:
        raise LabelError(f"--class {twice}: given twice; give each class another name")
    if name and len(wanted) > 1:
        raise LabelError("--name is for one class; name several as in --class water=80 --class crops=40")
    return [Wanted(name, wanted[0].values)] if name else wanted


def _places(output: Path | None, wanted: list[Wanted]) -> list[Path]:
    """Return where the files go: a file for one, in a folder for several, `labels/` by default."""
    if output is not None and output.suffix.lower() == ".gpkg":
        if len(wanted) > 1:
            raise LabelError(f"{output}: several classes need a folder; give -o a name without .gpkg")
        return [output]
    if output is not None and output.suffix and not output.is_dir():
        raise LabelError(f"{output}: labels are written as GeoPackage; give -o a name that ends in .gpkg, or a folder")
    return [(output or Path("labels")) / f"{one.name}.gpkg" for one in wanted]


def _require_meaning(rasters: Sequence[Raster], classes: tuple[str, ...]) -> None:
    for raster in rasters:
        if not classes and is_categorical(raster):
            raise LabelError(
                f"{raster.address}: its values are classes (it has a colour table or names);"
                " say which with --class, as in --class water=80"
            )
        if raster.count > 1:
            log.warning("%s: has %d bands; the first is used", raster.address, raster.count)


def _record(
    rasters: Sequence[Raster], chip_set: ChipSet, wanted: Wanted, threshold: float, above: float | None
) -> dict[str, Any]:
    chosen = {"threshold": threshold, "values": sorted(wanted.values)} if wanted.values else {"above": above}
    return {
        "step": "label",
        "rasters": [identity(raster) for raster in rasters],
        "chips": chip_set.digest,
        **chosen,
    }


def _is_kept(path: Path, wanted: dict[str, Any], *, overwrite: bool) -> bool:
    """Tell whether a label file is there and holds what is wanted; raise where it must not be replaced."""
    if not path.exists():
        return False
    found = geopackage.made_from(path, targets.LAYER)
    if found is None or found.get("step") != "label":
        raise LabelError(f"{path}: exists and was not made by geoembed label; choose another -o")
    if overwrite:
        return False
    record.require_same(path, found, wanted)
    return styles.beside(path).exists()


def _require_found(rasters: Sequence[Raster], found: Shares, wanted: list[Wanted], chips: Path) -> None:
    """Raise where no chip has a valid pixel; warn of rasters and classes that gave nothing."""
    if not (found.valid > 0).any():
        told = ", ".join(raster.address for raster in rasters[:3])
        raise LabelError(f"{told}: no valid pixel lies on a chip of {chips}; check the raster's place, CRS and nodata")
    idle = [raster.address for raster in rasters if raster.address not in found.touched]
    if idle:
        log.warning("%d of %d rasters touch no chip, %s the first", len(idle), len(rasters), idle[0])
    there = sorted(value for value, pixels in found.seen.items() if pixels > 0)
    named = ", ".join(
        f"{value:g}" + (f" ({legend.name_of(value)})" if legend.name_of(value) else "") for value in there
    )
    for one in wanted:
        if one.values and not set(one.values) & set(there):
            values = ",".join(map(str, one.values))
            log.warning("%s: no chip has a pixel of class %s; those there are: %s", one.name, values, named)


def _table(
    chip_set: ChipSet, found: Shares, k: int, threshold: float | None, above: float | None
) -> geopandas.GeoDataFrame:
    """Return the rows of one label file: chips with valid pixels only."""
    rows = np.flatnonzero(found.valid > 0)
    mean = found.sums[rows, k] / found.valid[rows]
    table = chip_set.index[["chip_id", "geometry"]].iloc[rows].reset_index(drop=True)
    if threshold is not None:
        # Sums of exact shares carry rounding errors; a chip that is half water is not to miss 0.5 by 1e-16.
        fraction = np.clip(np.round(mean, 9), 0.0, 1.0)
        table.insert(1, "label", (fraction >= threshold).astype(np.int32))
        table.insert(2, "fraction", fraction)
    else:
        table.insert(1, "value", mean)
        if above is not None:
            table.insert(1, "label", (mean > above).astype(np.int32))
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
