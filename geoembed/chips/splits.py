"""Splits: train, validation and test chips, dealt out by bands of an area and not chip by chip."""

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

    The area is cut into parallel bands at a random angle: 60, or fewer so that none is narrower than four cells, but
    at least five. Whole bands are dealt out 60/20/20 by number of chips. Where so few bands hold chips that a split
    would stay empty, the bands are made of equal numbers of chips instead. Fewer than three chips are all train.

    lonlat: (N, 2) degrees east and north.
    cell: metres along a chip's side.
    """
    if len(lonlat) < len(SPLITS):
        return np.full(len(lonlat), SPLITS[0], dtype="<U10")
    angle = generator.uniform(0.0, np.pi)
    x, y = _local_metres(lonlat)
    distance = x * np.cos(angle) + y * np.sin(angle)  # along the direction in which bands follow each other
    extent = np.ptp(distance) + cell
    count = int(np.clip(extent // (CELLS_ACROSS * cell), LEAST_BANDS, MOST_BANDS))
    bands = np.minimum(((distance - distance.min()) / extent * count).astype(int), count - 1)
    if len(np.unique(bands)) < len(SPLITS):
        n = len(distance)
        bands[np.argsort(distance, kind="stable")] = np.arange(n) * min(LEAST_BANDS, n) // n
    return _deal(bands, generator)


def _local_metres(lonlat: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y in metres from the points' middle (azimuthal equal-area), also of points around 180 degrees."""
    lon, lat = np.radians(lonlat[:, 0]), np.radians(lonlat[:, 1])
    middle = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]).mean(axis=1)
    lon_0 = np.degrees(np.arctan2(middle[1], middle[0]))
    lat_0 = np.degrees(np.arctan2(middle[2], np.hypot(middle[0], middle[1])))
    local = f"+proj=laea +lon_0={lon_0:.6f} +lat_0={lat_0:.6f} +datum=WGS84"
    x, y = crs.transformer(crs.LONLAT, local).transform(lonlat[:, 0], lonlat[:, 1])
    return np.asarray(x), np.asarray(y)


def _deal(bands: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.str_]:
    """Deal out bands in random order, each to the split that lacks most chips; the last go to splits without any."""
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
