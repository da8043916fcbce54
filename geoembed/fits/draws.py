"""Which labels are drawn: seeded, nested (a draw of 20 holds the draw of 10), the same whatever the order of chips."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoembed.labels.targets import Targets

PER_CLASS = 2
"""Labels of each class that every draw holds, where there are that many."""

BINS = 10
"""Equally filled ranges of a number that a stratified draw keeps in proportion."""


@dataclass(frozen=True)
class TaskDraws:
    """The draws of one task's labels among some train chips.

    task: number of the task.
    sizes: the numbers of labels to draw, without that of all.
    full: how many labels there are; 0 where all together are not asked for.
    orders: (repeats, number of labels) positions among the train chips: the first n of a row are a draw of n.
    """

    task: int
    sizes: tuple[int, ...]
    full: int
    orders: NDArray[np.int64]


def of_task(
    number: int,
    task: Targets,
    train: NDArray[np.int64],
    keys: NDArray[np.uint64],
    sizes: Sequence[int],
    *,
    full: bool,
    repeats: int,
    seed: int,
) -> TaskDraws | None:
    """Draw a task's labels among the train chips `train` (rows); None where they are of one class alone.

    `keys` (N,) are all chips'. Sizes below two labels per class, and from all labels on, are left out.
    """
    pool = np.flatnonzero(task.known[train])
    values = task.values[train[pool]]
    if len(np.unique(values)) < 2:
        return None
    least = smallest(values, numeric=task.numeric)
    drawn = tuple(n for n in sizes if least <= n < len(pool))
    of_pool = keys[train[pool]]
    orders = [pool[order(of_pool, values, numeric=task.numeric, seed=seed + k)] for k in range(repeats)]
    return TaskDraws(number, drawn, len(pool) if full else 0, np.stack(orders))


def keys(chip_ids: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a number per chip that depends on its id alone, so that draws do not depend on which others there are."""
    digests = b"".join(hashlib.blake2b(str(chip_id).encode(), digest_size=8).digest() for chip_id in chip_ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def order(
    keys: NDArray[np.uint64], values: NDArray[np.float64], *, numeric: bool, seed: int, stratified: bool = False
) -> NDArray[np.int64]:
    """Return labelled rows in the order in which they are drawn: the first n are the draw of n.

    At random, with the first two of each class in front; `stratified` keeps the classes' proportions, or those of
    ten ranges of a number, at every n. `values` are classes' positions, or numbers.
    """
    shuffled = np.argsort(_mixed(keys, seed), kind="stable")
    if numeric and not stratified:
        return shuffled
    groups = _ranges(values) if numeric else values.astype(np.int64)
    groups = groups[shuffled]
    rank, size = _ranks(groups)
    place = (rank + 0.5) / size if stratified else np.arange(len(groups))
    late = np.zeros(len(groups), dtype=bool) if numeric else rank >= PER_CLASS
    return shuffled[np.lexsort([place, late])]


def smallest(values: NDArray[np.float64], *, numeric: bool) -> int:
    """Return the least n that can be drawn: two of each class that has two; two numbers."""
    if numeric:
        return PER_CLASS
    return int(np.minimum(np.unique(values, return_counts=True)[1], PER_CLASS).sum())


def _mixed(keys: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Mix keys with a seed: the finaliser of SplitMix64 (Steele, Lea and Flood 2014), twice."""
    mixed = keys
    for salt in (seed & (2**64 - 1), 0x9E3779B97F4A7C15):
        mixed = mixed ^ np.uint64(salt)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return mixed


def _ranges(values: NDArray[np.float64]) -> NDArray[np.int64]:
    edges = np.quantile(values, np.linspace(0.0, 1.0, BINS + 1)[1:-1])
    return np.searchsorted(edges, values, side="right")


def _ranks(groups: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each row's rank within its group, in order of appearance, and its group's size."""
    by_group = np.argsort(groups, kind="stable")
    _, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    rank = np.empty(len(groups), dtype=np.int64)
    rank[by_group] = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank, sizes[inverse]
