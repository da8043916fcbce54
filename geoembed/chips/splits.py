"""Train, validation and test by place: whole parallel bands of an area, never single chips."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoembed.chips.folder import SPLITS
from geoembed.ground import crs

SHARES = (0.6, 0.2, 0.2)
MOST_BANDS, LEAST_BANDS, CELLS_ACROSS = 60, 5, 4


def assign(lonlat: NDArray[np.float64], cell: float, generator: np.random.Generator) -> NDArray[np.str_]:
    """Return the split of each chip of one area: train, validation or test.

    The area is cut into parallel bands at a random angle: 60, or fewer so that none is narrower than four cells, but
    at least five; whole bands are dealt out 60/20/20 by number of chips. Where so few bands hold chips that a split
    would stay empty, the bands are made of equal numbers of chips instead; fewer than three chips are all train.

    lonlat: (N, 2) degrees east and north; cell: metres along a chip's side.
    """
    if len(lonlat) < len(SPLITS):
        return np.full(len(lonlat), SPLITS[0], dtype="<U10")
    angle = generator.uniform(0.0, np.pi)
    x, y = _local_metres(lonlat)
    along = x * np.cos(angle) + y * np.sin(angle)
    extent = np.ptp(along) + cell
    count = int(np.clip(extent // (CELLS_ACROSS * cell), LEAST_BANDS, MOST_BANDS))
    bands = np.minimum(((along - along.min()) / extent * count).astype(int), count - 1)
    if len(np.unique(bands)) < len(SPLITS):
        order = np.lexsort((np.arange(len(along)), along))
        bands = np.empty(len(along), dtype=int)
        bands[order] = np.arange(len(along)) * min(LEAST_BANDS, len(along)) // len(along)
    return _deal(bands, generator)


def _local_metres(lonlat: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y in metres around the middle of the points (azimuthal equal-area, also over 180 degrees)."""
    lon, lat = np.radians(lonlat[:, 0]), np.radians(lonlat[:, 1])
    middle = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]).mean(axis=1)
    lon_0 = np.degrees(np.arctan2(middle[1], middle[0]))
    lat_0 = np.degrees(np.arctan2(middle[2], np.hypot(middle[0], middle[1])))
    local = f"+proj=laea +lon_0={lon_0:.6f} +lat_0={lat_0:.6f} +datum=WGS84"
    x, y = crs.transformer(crs.LONLAT, local).transform(lonlat[:, 0], lonlat[:, 1])
    return np.asarray(x), np.asarray(y)


def _deal(bands: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.str_]:
    """Deal out bands in random order, each to the split that lacks most, so that none stays empty."""
    names, counts = np.unique(bands, return_counts=True)
    lacking = np.array(SHARES) * len(bands)
    empty = set(range(len(SPLITS)))
    split_of = {}
    order = generator.permutation(len(names))
    for left, i in zip(range(len(order), 0, -1), order, strict=True):
        choices = sorted(empty) if left <= len(empty) else list(range(len(SPLITS)))
        choice = max(choices, key=lambda split: lacking[split])
        lacking[choice] -= counts[i]
        empty.discard(choice)
        split_of[names[i]] = SPLITS[choice]
    return np.array([split_of[band] for band in bands], dtype="<U10")


def neighbours_apart(cells: NDArray[np.int64], splits: NDArray[np.str_]) -> float:
    """Return the share of neighbouring chips (side by side) that fall into different splits; NaN without neighbours.

    cells: (N, 3) integers: grid, column, row.
    """
    split_of = {tuple(cell): split for cell, split in zip(cells.tolist(), splits.tolist(), strict=True)}
    pairs = apart = 0
    for (grid, column, row), split in split_of.items():
        for other in ((grid, column + 1, row), (grid, column, row + 1)):
            if other in split_of:
                pairs += 1
                apart += split != split_of[other]
    return apart / pairs if pairs else float("nan")
