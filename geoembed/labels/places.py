"""Places of labels: which chips hold their points, and how much of which chips their polygons cover."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from geoembed.errors import LabelError
from geoembed.ground import crs as crs_
from geoembed.ground import grid as grids_
from geoembed.ground import outlines
from geoembed.ground.grid import Cells

_SHARES = {"any": 0.0, "half": 0.5}
"""Shares of a chip that have a name."""


@dataclass(frozen=True)
class Overlap:
    """How much of a chip the polygons of a class must cover to label it.

    share: they must cover more than this share of the chip.
    small: whether polygons smaller than half a chip label the chip that holds their middle all the same, as points do.
    """

    share: float = 0.5
    small: bool = True

    @classmethod
    def parsed(cls, text: float | str | None) -> Self:
        """Return what `any`, `half` or a share means, None being the default; raises LabelError for other texts."""
        if text is None:
            return cls()
        try:
            share = _SHARES[text] if isinstance(text, str) and text in _SHARES else float(text)
        except ValueError:
            share = np.nan
        if not 0.0 <= share < 1.0:
            raise LabelError(f"--overlap {text}: write any, half, or a share of a chip such as 0.3")
        return cls(share, small=False)


@dataclass(frozen=True)
class Matches:
    """M matches of a label and a chip.

    chips: (M,) rows of chips.
    labels: (M,) rows of labels.
    votes: (M,) how much the label counts on the chip: its weight, times the share of the chip if it is a polygon.
    """

    chips: NDArray[np.int64]
    labels: NDArray[np.int64]
    votes: NDArray[np.float64]


@dataclass(frozen=True)
class Pieces:
    """K pieces of polygons, each on one chip. The pieces of a class on a chip are a group.

    chips, labels: (K,) rows of chips and of labels.
    group: (K,) number of the group.
    total: (K,) share of the chip that the group covers; where its pieces overlap, they count once.
    votes: (K,) weight of the label, times the piece's part of `total`.
    size: (K,) area of the whole polygon, in chips.
    at_home: (K,) whether the polygon is smaller than half a chip and has its middle in the chip.
    """

    chips: NDArray[np.int64]
    labels: NDArray[np.int64]
    group: NDArray[np.int64]
    total: NDArray[np.float64]
    votes: NDArray[np.float64]
    size: NDArray[np.float64]
    at_home: NDArray[np.bool_]

    def matches(self, overlap: Overlap) -> Matches:
        """Return the pieces of the groups that label their chip.

        They cover enough of it. On a chip where none does, they are those of small polygons at home, if no other group
        covers more than they do.
        """
        taken = self.total > overlap.share
        if overlap.small and self.chips.size:
            n = int(self.chips.max()) + 1
            is_covered, of_others = np.zeros(n, dtype=bool), np.zeros(n)
            is_covered[self.chips[taken]] = True
            at_home = np.isin(self.group, self.group[self.at_home])
            np.maximum.at(of_others, self.chips[~at_home], self.total[~at_home])
            taken |= at_home & ~is_covered[self.chips] & (self.total >= of_others[self.chips])
        return Matches(self.chips[taken], self.labels[taken], self.votes[taken])

    def chips_labelled(self, share: float) -> int:
        """Return how many chips have a group that covers more than a share."""
        return int(np.unique(self.chips[self.total > share]).size)


def points_in_chips(xy: NDArray[np.float64], crs: str, cells: Cells) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows of chips, and positions of the points that they hold; a cell holds its left and lower borders."""
    chips, points = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    places = {target: crs_.transformer(crs, target).transform(*xy.T) for target in {grid.crs for grid in cells.grids}}
    for grid, rows in cells.by_grid():
        x, y = places[grid.crs]
        finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        keys = grids_.keys(grid.column_at(x[finite]), grid.row_at(y[finite]))
        positions = pd.Index(grids_.keys(cells.columns[rows], cells.rows[rows])).get_indexer(pd.Index(keys))
        chips.append(rows[positions[positions >= 0]])
        points.append(finite[positions >= 0])
    return np.concatenate(chips), np.concatenate(points)


def pieces_on_chips(
    polygons: NDArray[Any],
    labels: NDArray[np.int64],
    classes: NDArray[np.float64],
    weights: NDArray[np.float64],
    crs: str,
    cells: Cells,
) -> Pieces:
    """Return the pieces of P polygons on chips.

    polygons, labels: (P,) shapely polygons in `crs`, and the rows of labels that they belong to.
    classes, weights: of the labels.
    """
    polygons = np.where(shapely.is_valid(polygons), polygons, shapely.make_valid(polygons))
    chip_shapes, chip_rows = _chip_shapes(crs, cells, polygons)
    # From here on, arrays have one entry per pair of a polygon and a chip's outline that meet.
    polygon, outline = shapely.STRtree(chip_shapes).query(polygons, predicate="intersects")
    shapely.prepare(polygons)
    inside = shapely.covers(polygons[polygon], chip_shapes[outline])
    shapes = chip_shapes[outline]
    shapes[~inside] = shapely.intersection(polygons[polygon[~inside]], shapes[~inside])
    areas = shapely.area(chip_shapes)
    shares = shapely.area(shapes) / areas[outline]
    real = shares > 0  # some only touch the border
    shapes, shares, polygon, outline = shapes[real], shares[real], polygon[real], outline[real]
    chips, rows = chip_rows[outline], labels[polygon]
    _, group = np.unique(np.stack([chips, classes[rows]], axis=1), axis=0, return_inverse=True)
    together = np.asarray(np.bincount(group, weights=shares), dtype=np.float64)
    total = _merged(shapes, areas[outline], group, together)
    size = shapely.area(polygons)[polygon] / areas[outline]
    return Pieces(
        chips=chips,
        labels=rows,
        group=group,
        total=total[group],
        votes=weights[rows] * shares * (total / together)[group],
        size=size,
        at_home=_at_home(polygons, polygon, chips, size < 0.5, crs, cells),
    )


def _merged(
    shapes: NDArray[Any], areas: NDArray[np.float64], group: NDArray[np.int64], together: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what each group covers of its chip, where pieces overlap once.

    shapes, areas, group: of pieces, with the areas of their chips.
    together: of groups, the sum of what their pieces cover.
    """
    total, size = together.copy(), np.bincount(group)
    # Sorted by group, the pieces of group k begin at starts[k].
    order, starts = np.argsort(group, kind="stable"), np.cumsum(size) - size
    for k in np.flatnonzero(size > 1):
        members = order[starts[k] : starts[k] + size[k]]
        total[k] = shapely.area(shapely.union_all(shapes[members])) / areas[members[0]]
    return total


def _at_home(
    polygons: NDArray[Any],
    polygon: NDArray[np.int64],
    chips: NDArray[np.int64],
    is_small: NDArray[np.bool_],
    crs: str,
    cells: Cells,
) -> NDArray[np.bool_]:
    """Return which pairs of a polygon and a chip are of small polygons with their middle in the chip."""
    chosen = np.unique(polygon[is_small])
    middles = shapely.get_coordinates(shapely.point_on_surface(polygons[chosen]))
    holding, held = points_in_chips(middles, crs, cells)
    homes = chosen[held] * len(cells) + holding
    return is_small & np.isin(polygon * len(cells) + chips, homes)


def _chip_shapes(crs: str, cells: Cells, polygons: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the outlines of chips near polygons in a CRS, and the rows of their chips.

    In a geographic CRS a chip has an outline at each end of a map of the world.
    """
    bounds = shapely.total_bounds(polygons)  # left, bottom, right, top
    shapes, chips = [np.empty(0, dtype=object)], [np.empty(0, dtype=np.int64)]
    for points, rows in outlines.rings(crs, cells):
        low, high = points.min(axis=1), points.max(axis=1)
        near = np.isfinite(points).all(axis=(1, 2))
        near &= (low <= bounds[2:]).all(axis=1) & (high >= bounds[:2]).all(axis=1)
        shapes.append(shapely.polygons(points[near]))
        chips.append(rows[near])
    return np.concatenate(shapes), np.concatenate(chips)
