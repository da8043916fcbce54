"""Parcels: blocks of land with their own directions, cut into fields, town blocks and lots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from geoembed.earth.noise import Field, Ids, mixed, uniform

PIXEL = 10.0


@dataclass(frozen=True)
class Cells:
    """An area cut into parcels."""

    ids: Ids  # of the parcel that each pixel lies in
    edge: Field  # metres to the nearest edge of that parcel


def districts(
    rng: np.random.Generator, n: int, count: int, bend: tuple[Field, Field], reach: float
) -> NDArray[np.int64]:
    """Return each pixel's nearest of `count` random seeds, by number; borders are bent by some `reach` pixels."""
    seeds = np.ones((n, n), bool)
    at = rng.integers(0, n, (count, 2))
    seeds[at[:, 0], at[:, 1]] = False
    number = np.zeros((n, n), np.int64)
    number[at[:, 0], at[:, 1]] = np.arange(count)
    near = scipy.ndimage.distance_transform_edt(seeds, return_distances=False, return_indices=True)
    rows, columns = np.indices((n, n), dtype=np.float32, sparse=True)
    r = np.clip(rows + reach * bend[0], 0, n - 1).astype(np.int32)
    c = np.clip(columns + reach * bend[1], 0, n - 1).astype(np.int32)
    return np.asarray(number[near[0], near[1]][r, c])


def turned(n: int, angle: Field | float, bend: tuple[Field, Field], reach: float) -> tuple[Field, Field]:
    """Return metres along and across a direction `angle` radians north of east, bent by some `reach` pixels."""
    rows, columns = np.indices((n, n), dtype=np.float32, sparse=True)
    east = (columns + reach * bend[1]) * PIXEL
    north = -(rows + reach * bend[0]) * PIXEL
    cos, sin = np.cos(angle, dtype=np.float32), np.sin(angle, dtype=np.float32)
    along, across = east * cos + north * sin, north * cos - east * sin
    return np.asarray(along, np.float32), np.asarray(across, np.float32)


def bricks(group: NDArray[np.int64], along: Field, across: Field, width: Field, length: Field) -> Cells:
    """Cut each group into columns of about `width` and these into rows of about `length` (metres), all of uneven size.

    Some cells are cut once more, along or across, as fields are inherited and sold.
    """
    # The sines make neighbours uneven; as their slopes stay above -1, the cuts stay in order.
    u = along / width
    u = u + 0.42 * np.sin(u * 1.7 + 6.28 * uniform(mixed(group), 1))
    column = np.floor(u)
    strip = mixed(group, column.astype(np.int64))
    v = across / (length * (0.55 + 1.1 * uniform(strip, 2))) + 7 * uniform(strip, 3)
    v = v + 0.3 * np.sin(v * 2.1 + 6.28 * uniform(strip, 4))
    row = np.floor(v)
    cell = mixed(group, column.astype(np.int64), row.astype(np.int64))
    fu, fv = (u - column).astype(np.float32), (v - row).astype(np.float32)
    cut, where = uniform(cell, 5), 0.35 + 0.3 * uniform(cell, 6)
    lengthways, crossways = cut < 0.28, (cut >= 0.28) & (cut < 0.45)
    half = np.where(lengthways, fu > where, np.where(crossways, fv > where, False))
    side_u = np.where(lengthways, np.where(half, np.minimum(fu - where, 1 - fu), np.minimum(fu, where - fu)),
                      np.minimum(fu, 1 - fu))  # fmt: skip
    side_v = np.where(crossways, np.where(half, np.minimum(fv - where, 1 - fv), np.minimum(fv, where - fv)),
                      np.minimum(fv, 1 - fv))  # fmt: skip
    edge = np.minimum(side_u * width, side_v * length)
    return Cells(mixed(cell.view(np.int64), half.astype(np.int64)), edge.astype(np.float32))


def numbered(ids: Ids) -> tuple[NDArray[np.int64], Ids]:
    """Return numbers from 0 in place of ids, and the id of each number."""
    names, number = np.unique(ids.ravel(), return_inverse=True)
    return number.reshape(ids.shape).astype(np.int64), names


def mean_of(values: NDArray[np.floating], number: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean of the values in each numbered cell."""
    flat = number.ravel()
    return np.bincount(flat, values.ravel()) / np.maximum(np.bincount(flat), 1)
