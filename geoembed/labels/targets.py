"""Targets: label files joined to chips, by chip id or by place; what several labels say of one chip."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from geoembed.errors import LabelError
from geoembed.ground import crs as crs_
from geoembed.ground import grid as grids_
from geoembed.ground import vectors
from geoembed.ground.grid import Cells, Grid
from geoembed.labels import misses, places
from geoembed.labels.files import LabelFile
from geoembed.labels.places import Matches, Pieces
from geoembed.labels.tables import CHIP_ID

log = logging.getLogger(__name__)

MANY_CLASSES = 20
"""Classes above which a column with fewer than two rows per class may be an identifier."""


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


def join(label_file: LabelFile, chip_ids: NDArray[Any], grids: Sequence[Grid]) -> Targets:
    """Return the targets of N chips.

    A file with a column `chip_id` is joined by it. In others a point labels the chip that holds it, and polygons the
    chips of which they cover enough, together with the other polygons of their class (see `places.Pieces.matches`).
    Where labels of one chip differ, numbers are averaged, and the class with most votes counts, none of a tie. A label
    has one vote, or its weight; a polygon that times the share of the chip that it covers. What is left out is counted
    and warned of. Raises LabelError where no chip gets a label.
    """
    table = label_file.table[label_file.table[label_file.column].notna()]
    empty = len(label_file.table) - len(table)
    if label_file.weight:
        table = table[table[label_file.weight].fillna(0) > 0]
    if not len(table):
        raise LabelError(
            f"{label_file.path}: column {label_file.column} is empty; fill it or name another with --target"
        )
    classes, codes = _codes(label_file, table)
    weights = table[label_file.weight].to_numpy(dtype=np.float64) if label_file.weight else np.ones(len(table))
    pieces = None
    if CHIP_ID in table:
        rows = pd.Index(chip_ids).get_indexer(table[CHIP_ID].map(vectors.text))
        labels = np.flatnonzero(rows >= 0)
        matches = Matches(rows[labels], labels, weights[labels])
        if not labels.size:
            raise LabelError(f"{label_file.path}: {misses.of_ids(table[CHIP_ID], chip_ids)}")
    else:
        cells = grids_.cells(grids, chip_ids)
        matches, pieces = _by_place(label_file, table, codes, weights, cells)
        if not matches.chips.size:
            raise LabelError(f"{label_file.path}: {misses.of_places(table, pieces, label_file.overlap, cells)}")
    decide = _means if label_file.numeric else _majorities
    targets, differing = decide(matches, codes, len(chip_ids))
    labelled, per_chip = np.isfinite(targets), np.bincount(matches.chips, minlength=len(chip_ids))
    counts = {
        "labels": len(label_file.table),
        "labels_empty": empty,
        "labels_without_weight": len(label_file.table) - empty - len(table),
        "labels_unmatched": len(table) - np.unique(matches.labels).size,
        "chips_labelled": int(labelled.sum()),
        "chips_of_several_labels": int((per_chip > 1).sum()),
        "chips_disagreeing": int(differing.sum()),
        "chips_tied": int((differing & ~labelled).sum()),
    }
    misses.warn(label_file, counts, pieces)
    return Targets(label_file.name, label_file.column, targets, classes, counts)


def _codes(label_file: LabelFile, table: pd.DataFrame) -> tuple[tuple[Any, ...], NDArray[np.float64]]:
    """Return the classes (none for numbers), and each row's number or position in the classes."""
    values = table[label_file.column].infer_objects()
    if label_file.numeric:
        return (), values.to_numpy(dtype=np.float64)
    if values.dtype.kind in "fu" and (values.abs() < 2.0**63).all():
        values = values.astype(np.int64)
    elif values.dtype.kind not in "ib":  # also whole numbers of more than 63 bits, which no column of integers holds
        values = values.astype(str)
    classes, codes = np.unique(values.to_numpy(), return_inverse=True)
    _warn_of_classes(label_file, classes.tolist(), len(values))
    return tuple(classes.tolist()), codes.astype(np.float64)


def _warn_of_classes(label_file: LabelFile, classes: list[Any], rows: int) -> None:
    """Warn of classes that differ in case only, and of as many classes as an identifier would give."""
    spelled: dict[str, list[str]] = {}
    for name in map(str, classes):
        spelled.setdefault(name.casefold(), []).append(name)
    for names in spelled.values():
        if len(names) > 1:
            log.warning("%s: %s are different classes; rename them if they are one", label_file.path, ", ".join(names))
    if len(classes) > MANY_CLASSES and rows < 2 * len(classes):
        message = "%s: column %s holds %d classes in %d rows; name another with --target if it tells rows apart"
        log.warning(message, label_file.path, label_file.column, len(classes), rows)


def _by_place(
    label_file: LabelFile, table: pd.DataFrame, codes: NDArray[np.float64], weights: NDArray[np.float64], cells: Cells
) -> tuple[Matches, Pieces | None]:
    """Match labels and chips by the points and the polygons that the labels' geometries consist of."""
    if not isinstance(table, geopandas.GeoDataFrame):
        raise LabelError(
            f"{label_file.path}: has neither a column chip_id nor geometry nor coordinates; add one of them,"
            f" such as columns lon and lat (it has {', '.join(map(str, table.columns))})"
        )
    shapes, rows = vectors.parts(table.geometry.to_numpy())
    finite = np.isfinite(shapely.bounds(shapes)).all(axis=1)
    shapes, rows, dimensions = shapes[finite], rows[finite], shapely.get_dimensions(shapes[finite])
    if not np.isin(dimensions, (0, 2)).any():
        raise LabelError(f"{label_file.path}: has no points or polygons; labels are such, or have a column chip_id")
    vectors.require_place(label_file.path, table.crs, shapes, LabelError, "name it with --crs")
    crs = crs_.horizontal(table.crs.to_wkt())
    points = shapely.get_coordinates(shapes[dimensions == 0])
    chips, held = places.points_in_chips(points, crs, cells)
    labels = rows[dimensions == 0][held]
    of_points = Matches(chips, labels, weights[labels])
    if not (dimensions == 2).any():
        return of_points, None
    polygons, owners = shapes[dimensions == 2], rows[dimensions == 2]
    classes = np.zeros(len(codes)) if label_file.numeric else codes
    pieces = places.pieces_on_chips(polygons, owners, classes, weights, crs, cells)
    of_polygons = pieces.matches(label_file.overlap)
    pairs = zip(vars(of_points).values(), vars(of_polygons).values(), strict=True)
    return Matches(*(np.concatenate(pair) for pair in pairs)), pieces


def _means(matches: Matches, codes: NDArray[np.float64], n: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the means of N chips, NaN for none, and which chips had several numbers that differ: none is told."""
    votes = np.bincount(matches.chips, weights=matches.votes, minlength=n)
    total = np.bincount(matches.chips, weights=matches.votes * codes[matches.labels], minlength=n)
    return np.divide(total, votes, out=np.full(n, np.nan), where=votes > 0), np.zeros(n, dtype=bool)


def _majorities(matches: Matches, codes: NDArray[np.float64], n: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the classes with most votes on N chips, NaN for none or a tie, and which chips had several classes."""
    pairs = np.stack([matches.chips, codes[matches.labels]], axis=1)
    groups, group = np.unique(pairs, axis=0, return_inverse=True)
    chips, classes = groups[:, 0].astype(np.int64), groups[:, 1]
    votes = np.bincount(group, weights=matches.votes).round(9)  # sums of shares carry rounding errors
    most = np.zeros(n)
    np.maximum.at(most, chips, votes)
    is_most = votes == most[chips]
    values = np.full(n, np.nan)
    values[chips[is_most]] = classes[is_most]
    values[np.bincount(chips[is_most], minlength=n) > 1] = np.nan
    return values, np.bincount(chips, minlength=n) > 1
