"""Splits and folds of chips, dealt out by bands of an area and not chip by chip."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geoembed.chips.folder import SPLITS
from geoembed.ground import crs

SHARES = (0.6, 0.2, 0.2)
"""Share of the chips of each split."""
MOST_BANDS, LEAST_BANDS, CELLS_ACROSS = 60, 5, 4
"""Most and fewest bands of an area, and the least width of a band in cells."""


def assign(lonlat: NDArray[np.float64], cell: float, generator: np.random.Generator) -> NDArray[np.str_]:
    """Return the split of each chip of an area, (N,): train, validation or test.

    The area is cut into bands (see `_bands`), which are dealt out 60/20/20 by number of chips. Fewer than three chips
    are all train.

    lonlat: (N, 2) degrees east and north.
    cell: metres along a chip's side.
    """
    if len(lonlat) < len(SPLITS):
        return np.full(len(lonlat), SPLITS[0], dtype="<U10")
    bands = _bands(lonlat, cell, len(SPLITS), generator)
    return np.array(SPLITS)[_deal(bands, SHARES, generator)]


def folds(
    lonlat: NDArray[np.float64], aoi: NDArray[np.str_], cell: float, count: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Return for each chip which of `count` folds it is in, (N,): whole bands of an area are dealt out, evenly.

    For cross-validation in blocks (Roberts et al. 2017, doi:10.1111/ecog.02881): chips near each other are mostly
    tested together. Every area is dealt out by itself, its largest parts to the folds with fewest chips so far; so no
    fold holds all chips, if there are two or more.

    lonlat: (N, 2) degrees east and north.
    aoi: (N,) areas.
    cell: metres along a chip's side.
    """
    fold_of, chips = np.empty(len(lonlat), dtype=np.int64), np.zeros(count)
    for area in np.unique(aoi):
        rows = np.flatnonzero(aoi == area)
        dealt = _deal(_bands(lonlat[rows], cell, count, generator), (1 / count,) * count, generator)
        sizes = np.bincount(dealt, minlength=count)
        turn = generator.permutation(count)  # which of equal folds comes first
        fold_for = np.empty(count, dtype=np.int64)
        fold_for[np.argsort(-sizes, kind="stable")] = turn[np.argsort(chips[turn], kind="stable")]
        fold_of[rows] = fold_for[dealt]
        chips[fold_for] += sizes
    return fold_of


def _bands(lonlat: NDArray[np.float64], cell: float, parts: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Cut chips into parallel bands at a random angle; return the number of each chip's band, (N,).

    60 bands, or fewer so that none is narrower than four cells, but at least five. Where so few bands hold chips that
    one of `parts` would stay empty, the bands are made of equal numbers of chips instead.
    """
    angle = generator.uniform(0.0, np.pi)
    x, y = _local_metres(lonlat)
    distance = x * np.cos(angle) + y * np.sin(angle)  # along the direction in which bands follow each other
    extent = np.ptp(distance) + cell
    count = int(np.clip(extent // (CELLS_ACROSS * cell), LEAST_BANDS, MOST_BANDS))
    bands = np.minimum(((distance - distance.min()) / extent * count).astype(int), count - 1)
    if len(np.unique(bands)) < parts:
        n, least = len(distance), max(LEAST_BANDS, parts)
        bands[np.argsort(distance, kind="stable")] = np.arange(n) * min(least, n) // n
    return np.asarray(bands, dtype=np.int64)


def _local_metres(lonlat: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y in metres from the points' middle (azimuthal equal-area), also of points around 180 degrees."""
    lon, lat = np.radians(lonlat[:, 0]), np.radians(lonlat[:, 1])
    middle = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]).mean(axis=1)
    lon_0 = np.degrees(np.arctan2(middle[1], middle[0]))
    lat_0 = np.degrees(np.arctan2(middle[2], np.hypot(middle[0], middle[1])))
    local = f"+proj=laea +lon_0={lon_0:.6f} +lat_0={lat_0:.6f} +datum=WGS84"
    x, y = crs.transformer(crs.LONLAT, local).transform(lonlat[:, 0], lonlat[:, 1])
    return np.asarray(x), np.asarray(y)


def _deal(bands: NDArray[np.int64], shares: Sequence[float], generator: np.random.Generator) -> NDArray[np.int64]:
    """Deal out bands in random order, each to the part that lacks most chips; the last go to parts without any."""
    names, counts = np.unique(bands, return_counts=True)
    lacking = np.array(shares) * len(bands)
    empty = set(range(len(shares)))
    part_of = {}
    order = generator.permutation(len(names))
    for left, i in zip(range(len(order), 0, -1), order, strict=True):
        choices = sorted(empty) if left <= len(empty) else list(range(len(shares)))
        choice = max(choices, key=lambda part: lacking[part])
        lacking[choice] -= counts[i]
        empty.discard(choice)
        part_of[names[i]] = choice
    return np.array([part_of[band] for band in bands], dtype=np.int64)


def neighbours_apart(cells: NDArray[np.int64], splits: NDArray[np.str_]) -> float:
    """Return the share of neighbouring chips that fall into different splits; NaN where no chips are neighbours.

    cells: (N, 3) grid, column and row; neighbours have a side in common.
    """
    split_of = {tuple(cell): split for cell, split in zip(cells.tolist(), splits.tolist(), strict=True)}
    pairs = apart = 0
    for (grid, column, row), split in split_of.items():
        for neighbour in ((grid, column + 1, row), (grid, column, row + 1)):
            if neighbour in split_of:
                pairs += 1
                apart += split != split_of[neighbour]
    return apart / pairs if pairs else float("nan")
