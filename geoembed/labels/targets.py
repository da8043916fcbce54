"""Targets: label files joined to chips, by chip id or by place."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from geoembed.errors import LabelError
from geoembed.ground import crs as crs_
from geoembed.ground import grid as grids_
from geoembed.ground import outlines
from geoembed.ground.grid import Cells, Grid
from geoembed.labels.files import LabelFile

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Targets:
    """The targets of N chips.

    name: of the task.
    column: the target column of the label file.
    values: (N,) float64: the number, or the position of the class in `classes`; NaN where a chip has no label.
    classes: the classes in order, the last being the positive one of two; empty where the target is a number.
    counts: how many labels and chips were matched, and how many were dropped and why.
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


@dataclass(frozen=True)
class _Matches:
    """M matches of a label and a chip.

    chips: (M,) rows of chips.
    labels: (M,) rows of labels.
    values: (M,) what the label says of the chip: a number, or the position of a class.
    """

    chips: NDArray[np.int64]
    labels: NDArray[np.int64]
    values: NDArray[np.float64]


def join(label_file: LabelFile, chip_ids: NDArray[Any], grids: Sequence[Grid]) -> Targets:
    """Return the targets of N chips.

    A file with a column `chip_id` is joined by it. In others a point labels the chip that holds it, numbers being
    averaged, and a polygon the chip of which it covers more than half, together with the other polygons of its class.
    Labels that match no chip and chips whose labels contradict each other are dropped, counted and warned of. Raises
    LabelError where no chip gets a label.
    """
    table = label_file.table[label_file.table[label_file.column].notna()]
    classes, codes = _codes(label_file, table)
    if "chip_id" in table:
        rows = pd.Index(chip_ids).get_indexer(table["chip_id"].astype(str))
        labels = np.flatnonzero(rows >= 0)
        matches = _Matches(rows[labels], labels, codes[labels])
    else:
        matches = _by_place(label_file, table, codes, grids_.cells(grids, chip_ids))
    if not matches.chips.size:
        raise LabelError(f"{label_file.path}: {_why_nothing_matched(label_file, table, chip_ids)}")
    targets, contradicting = _reduce(matches, len(chip_ids), averaged=label_file.numeric)
    counts = {
        "labels": len(label_file.table),
        "labels_empty": len(label_file.table) - len(table),
        "labels_unmatched": len(table) - np.unique(matches.labels).size,
        "chips_labelled": int(np.isfinite(targets).sum()),
        "chips_contradicting": contradicting,
    }
    _warn_of_dropped(label_file, counts)
    if not counts["chips_labelled"]:
        raise LabelError(f"{label_file.path}: every chip's labels contradict each other; mend {label_file.column}")
    return Targets(label_file.name, label_file.column, targets, classes, counts)


def _codes(label_file: LabelFile, table: pd.DataFrame) -> tuple[tuple[Any, ...], NDArray[np.float64]]:
    """Return the classes (none for numbers), and each row's number or position in the classes."""
    values = table[label_file.column]
    if label_file.numeric:
        return (), values.to_numpy(dtype=np.float64)
    if values.dtype.kind == "f":
        values = values.astype(np.int64)
    elif values.dtype.kind not in "iub":
        values = values.astype(str)
    classes, codes = np.unique(values.to_numpy(), return_inverse=True)
    return tuple(classes.tolist()), codes.astype(np.float64)


def _by_place(label_file: LabelFile, table: Any, codes: NDArray[np.float64], cells: Cells) -> _Matches:
    """Match labels and chips by place: the points and the polygons that the labels' geometries consist of."""
    geometry = getattr(table, "geometry", None) if hasattr(table, "crs") else None
    if geometry is None:
        raise LabelError(f"{label_file.path}: has neither a column chip_id nor geometry; add one of them")
    if table.crs is None:
        raise LabelError(f"{label_file.path}: has no CRS; assign one with ogr2ogr -a_srs")
    shapes, rows = shapely.get_parts(geometry.to_numpy(), return_index=True)
    crs, dimensions = table.crs.to_wkt(), shapely.get_dimensions(shapes)
    is_point, is_polygon = dimensions == 0, dimensions == 2
    chips, points = _points_in_chips(shapely.get_coordinates(shapes[is_point]), crs, cells)
    labels = rows[is_point][points]
    covered = _polygons_over_chips(shapes[is_polygon], rows[is_polygon], codes, crs, cells, averaged=label_file.numeric)
    return _Matches(
        np.concatenate([chips, covered.chips]),
        np.concatenate([labels, covered.labels]),
        np.concatenate([codes[labels], covered.values]),
    )


def _points_in_chips(xy: NDArray[np.float64], crs: str, cells: Cells) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows of chips, and positions of the points that they hold; a cell holds its left and lower borders."""
    chips, points = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for grid, rows in cells.by_grid():
        x, y = crs_.transformer(crs, grid.crs).transform(xy[:, 0], xy[:, 1])
        finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        keys = grids_.keys(grid.column_at(x[finite]), grid.row_at(y[finite]))
        positions = pd.Index(grids_.keys(cells.columns[rows], cells.rows[rows])).get_indexer(pd.Index(keys))
        chips.append(rows[positions[positions >= 0]])
        points.append(finite[positions >= 0])
    return np.concatenate(chips), np.concatenate(points)


def _polygons_over_chips(
    polygons: NDArray[Any],
    rows: NDArray[np.int64],
    codes: NDArray[np.float64],
    crs: str,
    cells: Cells,
    *,
    averaged: bool,
) -> _Matches:
    """Match chips with the polygons of a class that together cover more than half of them.

    Where they overlap, polygons count once. Numbers are averaged by area, over all polygons on the chip.

    polygons, rows: (P,) shapely polygons in `crs`, and the rows of labels that they belong to.
    """
    if not polygons.size:
        return _Matches(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))
    polygons = np.where(shapely.is_valid(polygons), polygons, shapely.make_valid(polygons))
    chip_shapes, chip_rows = _chip_shapes(crs, cells, shapely.total_bounds(polygons))
    # From here on, arrays have one entry per pair of a polygon and a chip's outline that meet.
    polygon, outline = shapely.STRtree(chip_shapes).query(polygons, predicate="intersects")
    shapely.prepare(polygons)
    inside = shapely.covers(polygons[polygon], chip_shapes[outline])
    pieces = chip_shapes[outline]
    pieces[~inside] = shapely.intersection(polygons[polygon[~inside]], pieces[~inside])
    shares = shapely.area(pieces) / shapely.area(chip_shapes)[outline]
    real = shares > 0  # some only touch the border
    pieces, shares, outline = pieces[real], shares[real], outline[real]
    chips, labels = chip_rows[outline], rows[polygon[real]]
    # Pairs of one chip and one class are a group; of numbers, all pairs of one chip.
    classes = np.zeros(chips.size) if averaged else codes[labels]
    _, group = np.unique(np.stack([chips, classes], axis=1), axis=0, return_inverse=True)
    total, size = np.bincount(group, weights=shares), np.bincount(group)
    # Sorted by group, the pairs of group k begin at starts[k]; pieces that may overlap are merged and measured again.
    order, starts = np.argsort(group, kind="stable"), np.cumsum(size) - size
    for k in np.flatnonzero((size > 1) & (total > 0.5)):
        members = order[starts[k] : starts[k] + size[k]]
        total[k] = shapely.area(shapely.union_all(pieces[members])) / shapely.area(chip_shapes[outline[members[0]]])
    covering = total[group] > 0.5
    values = classes
    if averaged:
        values = (np.bincount(group, weights=shares * codes[labels]) / np.bincount(group, weights=shares))[group]
    return _Matches(chips[covering], labels[covering], values[covering])


def _chip_shapes(crs: str, cells: Cells, bounds: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the outlines of chips near bounds (left, bottom, right, top) in a CRS, and the rows of their chips."""
    shapes, chips = [np.empty(0, dtype=object)], [np.empty(0, dtype=np.int64)]
    for points, rows in outlines.rings(crs, cells):
        low, high = points.min(axis=1), points.max(axis=1)
        near = np.isfinite(points).all(axis=(1, 2))
        near &= (low <= bounds[2:]).all(axis=1) & (high >= bounds[:2]).all(axis=1)
        shapes.append(shapely.polygons(points[near]))
        chips.append(rows[near])
    return np.concatenate(shapes), np.concatenate(chips)


def _reduce(matches: _Matches, n: int, *, averaged: bool) -> tuple[NDArray[np.float64], int]:
    """Return the values of N chips, NaN for none, and how many chips were dropped as their classes contradict."""
    values = np.full(n, np.nan)
    count = np.bincount(matches.chips, minlength=n)
    labelled = count > 0
    if averaged:
        total = np.bincount(matches.chips, weights=matches.values, minlength=n)
        values[labelled] = total[labelled] / count[labelled]
        return values, 0
    lowest, highest = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(lowest, matches.chips, matches.values)
    np.maximum.at(highest, matches.chips, matches.values)
    agreed = labelled & (lowest == highest)
    values[agreed] = lowest[agreed]
    return values, int(np.count_nonzero(labelled & ~agreed))


def _why_nothing_matched(label_file: LabelFile, table: pd.DataFrame, chip_ids: NDArray[Any]) -> str:
    if not len(table):
        return f"column {label_file.column} is empty; fill it or name another with --target"
    if "chip_id" in table:
        return (
            f"none of its chip_id ({table['chip_id'].iloc[0]} ...) is among the chips ({chip_ids[0]} ...);"
            " make the labels from the same chips, or drop the column to join by place"
        )
    return "no label lies on a chip; check its CRS and that it covers the chips"


def _warn_of_dropped(label_file: LabelFile, counts: dict[str, int]) -> None:
    words = {
        "labels_empty": f"without a {label_file.column}",
        "labels_unmatched": "on no chip",
        "chips_contradicting": "chips with labels that contradict each other",
    }
    dropped = ", ".join(f"{counts[key]:,} {text}" for key, text in words.items() if counts[key])
    if dropped:
        log.warning("%s: left out %s; %s chips labelled", label_file.path, dropped, f"{counts['chips_labelled']:,}")
