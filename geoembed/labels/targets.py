"""Label files: vector layers with one target column, joined to chips by id or by place."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray

from geoembed.errors import LabelError
from geoembed.ground import crs as crs_
from geoembed.ground import grid, outlines
from geoembed.ground.grid import Cells, Grid
from geoembed.outputs import digests

log = logging.getLogger(__name__)

LAYER = "labels"
CLASS_COLUMN, NUMBER_COLUMN = "label", "value"


@dataclass(frozen=True)
class Labels:
    """A label file that was read: its rows, and which column is the target.

    name: what the task is called: the file's stem, with the column where it is not the usual one.
    numeric: the target is a number to be predicted, else a class.
    """

    path: Path
    name: str
    column: str
    numeric: bool
    table: Any


@dataclass(frozen=True)
class Targets:
    """The targets of N chips.

    values: (N,) float64: the number, or the position of the class in `classes`; NaN where a chip has no label.
    classes: the classes in order, the last being the positive one of two; empty where the target is a number.
    counts: what was matched, and what was dropped and why.
    """

    name: str
    column: str
    values: NDArray[np.float64]
    classes: tuple[str | int | bool, ...]
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def numeric(self) -> bool:
        """Tell whether the target is a number to be predicted."""
        return not self.classes

    @property
    def known(self) -> NDArray[np.bool_]:
        """Return which chips have a label, (N,)."""
        return ~np.isnan(self.values)


def read(path: Path, target: str | None = None) -> Labels:
    """Read a label file that GDAL opens; `target` is the column, by default `label`, else `value`.

    `label` and columns named by `target` that hold integers, text or true and false are classes; `value` and other
    columns of fractions are numbers. Raises LabelError when the file or its column cannot be used.
    """
    if not path.exists():
        raise LabelError(f"{path}: no such label file; make one with geoembed label")
    # CSV has no types of its own; without this option every column is text.
    options = {"AUTODETECT_TYPE": "YES"} if path.suffix.lower() == ".csv" else {}
    try:
        layers = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
        found = {name: _fields(path, name, options) for name in layers}
        layer, column = _choose(path, found, target)
        table = pyogrio.read_dataframe(path, layer=layer, **options)
    except pyogrio.errors.DataSourceError as error:
        raise LabelError(f"{path}: not a vector file that GDAL reads ({_first_line(error)}); give another") from None
    numeric = _is_numeric(path, column, found[layer][column], table[column], target)
    usual = column in (CLASS_COLUMN, NUMBER_COLUMN) and target is None
    return Labels(path, path.stem if usual else f"{path.stem}:{column}", column, numeric, table)


def _fields(path: Path, layer: str, options: dict[str, str]) -> dict[str, str]:
    """Return the columns of a layer and their types as the file has them (NULLs turn integers to floats later)."""
    info = pyogrio.read_info(path, layer=layer, **options)
    return dict(zip(map(str, info["fields"]), map(str, info["dtypes"]), strict=True))


def _choose(path: Path, found: dict[str, dict[str, str]], target: str | None) -> tuple[str, str]:
    """Return the layer and the target column."""
    wanted = (target,) if target else (CLASS_COLUMN, NUMBER_COLUMN)
    for column in wanted:
        for layer, fields in found.items():
            if column in fields:
                return layer, column
    columns = sorted({name for fields in found.values() for name in fields} - {"chip_id"})
    there = f"it has {', '.join(columns)}" if columns else "it has no columns"
    remedy = "name another with --target" if columns else "add one"
    raise LabelError(f"{path}: has no column {' or '.join(wanted)}; {there}; {remedy}")


def _is_numeric(path: Path, column: str, dtype: str, values: Any, target: str | None) -> bool:
    if column == NUMBER_COLUMN:
        if not dtype.startswith(("int", "uint", "float")):
            raise LabelError(f"{path}: column {column} holds {dtype}, not numbers; name another with --target")
        return True
    if not dtype.startswith("float") or bool((values.dropna() % 1 == 0).all()):
        return False
    if target is None:
        raise LabelError(f"{path}: column {column} holds fractions, not classes; pass --target {column} to fit numbers")
    return True


def digest(labels: Labels) -> str:
    """Return the SHA-256, in hexadecimal, of a label file's rows, geometries, CRS and target."""
    return digests.of_value([labels.column, digests.of_table(labels.table)])


def join(labels: Labels, chip_ids: NDArray[Any], grids: Sequence[Grid]) -> Targets:
    """Give each of N chips its target.

    A table with `chip_id` is joined by it. Else points label the chip that holds them, numbers being averaged, and
    polygons the chip of which they cover more than half, summed per class. What matches no chip and what contradicts
    itself is dropped, counted and warned of. Raises LabelError where nothing matched.
    """
    table = labels.table[labels.table[labels.column].notna()]
    counts = {"labels": len(labels.table), "labels_empty": len(labels.table) - len(table)}
    classes, codes = _codes(labels, table)
    if "chip_id" in table:
        import pandas as pd

        rows = pd.Index(chip_ids).get_indexer(table["chip_id"].astype(str))
        label = np.flatnonzero(rows >= 0)
        chip, values = rows[label], codes[label]
    else:
        chip, label, values = _by_place(labels, table, codes, grid.cells(grids, chip_ids))
    if not chip.size:
        raise LabelError(_nothing_matched(labels, table, chip_ids))
    counts["labels_unmatched"] = len(table) - np.unique(label).size
    targets, contradicting = _reduce(chip, values, len(chip_ids), averaged=labels.numeric)
    counts |= {"chips_labelled": int(np.isfinite(targets).sum()), "chips_contradicting": contradicting}
    _tell(labels, counts)
    if not counts["chips_labelled"]:
        raise LabelError(f"{labels.path}: every chip's labels contradict each other; mend column {labels.column}")
    return Targets(labels.name, labels.column, targets, classes, counts)


def _codes(labels: Labels, table: Any) -> tuple[tuple[Any, ...], NDArray[np.float64]]:
    """Return the classes (none for numbers) and the rows' numbers or positions in the classes."""
    values = table[labels.column]
    if labels.numeric:
        return (), values.to_numpy(dtype=np.float64)
    if values.dtype.kind == "f":
        values = values.astype(np.int64)
    elif values.dtype.kind not in "iub":
        values = values.astype(str)
    classes, codes = np.unique(values.to_numpy(), return_inverse=True)
    return tuple(classes.tolist()), codes.astype(np.float64)


def _by_place(
    labels: Labels, table: Any, codes: NDArray[np.float64], cells: Cells
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return matches as rows of chips, rows of labels and the labels' values."""
    geometry = getattr(table, "geometry", None) if hasattr(table, "crs") else None
    if geometry is None:
        raise LabelError(f"{labels.path}: has neither a column chip_id nor geometry; add one of them")
    if table.crs is None:
        raise LabelError(f"{labels.path}: has no CRS; assign one with ogr2ogr -a_srs")
    shapes, row = shapely.get_parts(geometry.to_numpy(), return_index=True)
    crs, kind = table.crs.to_wkt(), shapely.get_dimensions(shapes)
    points, areas = kind == 0, kind == 2
    chip, point = _points_in_chips(shapely.get_coordinates(shapes[points]), crs, cells)
    covered, area, value = _areas_over_chips(shapes[areas], row[areas], codes, crs, cells, averaged=labels.numeric)
    of_point = row[points][point]
    return (
        np.concatenate([chip, covered]),
        np.concatenate([of_point, area]),
        np.concatenate([codes[of_point], value]),
    )


def _points_in_chips(xy: NDArray[np.float64], crs: str, cells: Cells) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows of chips and of the points that they hold; lower left borders belong to a cell."""
    chips, points = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for one, rows in cells.by_grid():
        x, y = crs_.transformer(crs, one.crs).transform(xy[:, 0], xy[:, 1])
        inside = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        keys = grid.keys(one.column_at(x[inside]), one.row_at(y[inside]))
        known = grid.keys(cells.columns[rows], cells.rows[rows])
        order = np.argsort(known)
        at = np.searchsorted(known, keys, sorter=order)
        hit = np.flatnonzero(at < known.size)
        hit = hit[known[order[at[hit]]] == keys[hit]]
        chips.append(rows[order[at[hit]]])
        points.append(inside[hit])
    return np.concatenate(chips), np.concatenate(points)


def _areas_over_chips(
    shapes: NDArray[Any],
    row: NDArray[np.int64],
    codes: NDArray[np.float64],
    crs: str,
    chips: Cells,
    *,
    averaged: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return chips, rows of labels and values where polygons of one class, or of any number, cover more than half.

    Pieces that overlap count once. Numbers are averaged by area.
    """
    none = np.empty(0, dtype=np.int64)
    if not shapes.size:
        return none, none, np.empty(0)
    shapes = np.where(shapely.is_valid(shapes), shapes, shapely.make_valid(shapes))
    cells, owner = _cells(crs, chips, shapely.total_bounds(shapes))
    tree = shapely.STRtree(cells)
    shape, cell = tree.query(shapes, predicate="intersects")
    pieces, inside = cells[cell], _listed(tree.query(shapes, predicate="covers"), shape, cell, len(cells))
    pieces[~inside] = shapely.intersection(shapes[shape[~inside]], pieces[~inside])
    share = shapely.area(pieces) / shapely.area(cells)[cell]
    real = share > 0  # a neighbour's border touches, too
    shape, cell, pieces, share = shape[real], cell[real], pieces[real], share[real]
    group = np.zeros(shape.size) if averaged else codes[row[shape]]
    _, at = np.unique(np.stack([owner[cell], group], axis=1), axis=0, return_inverse=True)
    total, size = np.bincount(at, weights=share), np.bincount(at)
    order, starts = np.argsort(at, kind="stable"), np.cumsum(size) - size
    for k in np.flatnonzero((size > 1) & (total > 0.5)):
        members = order[starts[k] : starts[k] + size[k]]
        total[k] = shapely.area(shapely.union_all(pieces[members])) / shapely.area(cells[cell[members[0]]])
    values = np.bincount(at, weights=share * codes[row[shape]]) / np.bincount(at, weights=share) if averaged else None
    kept = total[at] > 0.5
    return owner[cell[kept]], row[shape[kept]], group[kept] if values is None else values[at[kept]]


def _cells(crs: str, chips: Cells, bounds: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return chips' outlines near bounds (left, bottom, right, top) in a CRS, and the rows of their chips."""
    cells, owners = [np.empty(0, dtype=object)], [np.empty(0, dtype=np.int64)]
    for points, rows in outlines.rings(crs, chips):
        for turn in outlines.turns(crs):
            moved = points + np.array([turn, 0.0])
            low, high = moved.min(axis=1), moved.max(axis=1)
            near = np.isfinite(moved).all(axis=(1, 2))
            near &= (low <= bounds[2:]).all(axis=1) & (high >= bounds[:2]).all(axis=1)
            cells.append(shapely.polygons(moved[near]))
            owners.append(rows[near])
    return np.concatenate(cells), np.concatenate(owners)


def _listed(pairs: NDArray[np.int64], one: NDArray[np.int64], two: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    """Tell which of the pairs (one, two) are among `pairs`; the second numbers are below n."""
    return np.isin(one * n + two, pairs[0] * n + pairs[1])


def _reduce(
    chip: NDArray[np.int64], values: NDArray[np.float64], n: int, *, averaged: bool
) -> tuple[NDArray[np.float64], int]:
    """Return one value per chip, NaN for none, and how many chips were dropped as their classes contradict."""
    targets = np.full(n, np.nan)
    count = np.bincount(chip, minlength=n)
    some = count > 0
    if averaged:
        targets[some] = np.bincount(chip, weights=values, minlength=n)[some] / count[some]
        return targets, 0
    lowest, highest = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(lowest, chip, values)
    np.maximum.at(highest, chip, values)
    agreed = some & (lowest == highest)
    targets[agreed] = lowest[agreed]
    return targets, int(np.count_nonzero(some & ~agreed))


def _nothing_matched(labels: Labels, table: Any, chip_ids: NDArray[Any]) -> str:
    if not len(table):
        return f"{labels.path}: column {labels.column} is empty; fill it or name another with --target"
    if "chip_id" in table:
        return (
            f"{labels.path}: none of its chip_id ({table['chip_id'].iloc[0]} ...) is among the chips"
            f" ({chip_ids[0]} ...); make the labels from the same chips, or drop the column to join by place"
        )
    return f"{labels.path}: no label lies on a chip; check its CRS and that it covers the chips"


def _tell(labels: Labels, counts: dict[str, int]) -> None:
    told = {
        "labels_empty": f"without a {labels.column}",
        "labels_unmatched": "on no chip",
        "chips_contradicting": "chips with labels that contradict each other",
    }
    parts = [f"{counts[key]:,} {text}" for key, text in told.items() if counts[key]]
    if parts:
        log.warning(
            "%s: left out %s; %s chips labelled", labels.path, ", ".join(parts), f"{counts['chips_labelled']:,}"
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
