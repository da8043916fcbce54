"""Fits over sizes, draws, tasks and areas: learn from draws of the train split, score on the test split."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoembed import classifiers, draws, features, metrics
from geoembed.aoi import ALL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from geoembed.embeddings import Embeddings
    from geoembed.labels import Targets


@dataclass(frozen=True)
class Fit:
    """One fit: what was fitted on how many labels of which draw, its scores, and the seconds it took."""

    task: str
    aoi: str
    features: str
    classifier: str
    n: int
    seed: int
    scores: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Cell:
    """One task in one area: the chips to learn from in the order of each draw, and the chips to test on.

    sizes: the numbers of labels to draw, all of them (`full`) not among them.
    orders: (repeats, full) rows of chips.
    """

    task: int
    aoi: str
    sizes: tuple[int, ...]
    full: int
    orders: NDArray[np.int64]
    test: NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """What to fit for one feature: cells by area, which chips can be used, and why cells are empty (by reason)."""

    features: str
    usable: NDArray[np.bool_]
    cells: dict[str, tuple[Cell, ...]]
    empty: dict[str, int]

    def fits(self, repeats: int) -> int:
        """Return the number of fits."""
        return sum(len(cell.sizes) * repeats + (cell.full > 0) for cells in self.cells.values() for cell in cells)


def plan(
    embeddings: Embeddings,
    name: str,
    usable: NDArray[np.bool_],
    tasks: Sequence[Targets],
    sizes: Sequence[int],
    *,
    full: bool,
    repeats: int,
    seed: int,
) -> Plan:
    """Lay out the cells of one feature, every AOI alone and, where there are several, all together."""
    aois = [str(aoi) for aoi in np.unique(embeddings.aoi)]
    places = aois if len(aois) == 1 else [ALL, *aois]
    keys = draws.keys(embeddings.chip_id)
    empty: dict[str, int] = {}
    cells: dict[str, tuple[Cell, ...]] = {}
    for place in places:
        here = usable if place == ALL else usable & (embeddings.aoi == place)
        laid = []
        for number, task in enumerate(tasks):
            pool = np.flatnonzero(here & task.known & (embeddings.split == "train"))
            test = np.flatnonzero(here & task.known & (embeddings.split == "test"))
            reason = _unfit(task, pool, test)
            if reason:
                empty[reason] = empty.get(reason, 0) + 1
                continue
            values = task.values[pool]
            least = draws.smallest(values, numeric=task.numeric)
            drawn = tuple(n for n in sizes if least <= n < len(pool))
            orders = [
                pool[draws.order(keys[pool], values, numeric=task.numeric, seed=seed + k)] for k in range(repeats)
            ]
            laid.append(Cell(number, place, drawn, len(pool) if full else 0, np.stack(orders), test))
        cells[place] = tuple(laid)
    return Plan(name, usable, cells, empty)


def _unfit(task: Targets, pool: NDArray[np.int64], test: NDArray[np.int64]) -> str:
    """Return why a cell stays empty, or nothing."""
    if len(np.unique(task.values[pool])) < 2:
        return "cells_with_one_class_to_learn_from"
    there = np.unique(task.values[test])
    if len(there) < max(len(task.classes), 2):
        return "cells_lacking_a_class_in_test"
    return ""


def run(
    X: NDArray[np.float32],
    laid: Plan,
    tasks: Sequence[Targets],
    train: NDArray[np.bool_],
    aoi: NDArray[np.str_],
    kinds: Sequence[str],
    *,
    repeats: int,
    seed: int,
) -> Iterator[list[Fit]]:
    """Fit and score a plan on features X (N, D), a batch of draws at a time.

    Features are scaled by the area's train split. Batches run side by side, each on one core: the small matrices of
    few labels gain nothing from a threaded BLAS, which besides crawls where the cores are shared.
    """
    from threadpoolctl import threadpool_limits

    classifiers.load_libraries(kinds, [len(task.classes) for task in tasks])
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        for place, cells in laid.cells.items():
            if not cells:
                continue
            here = np.flatnonzero(laid.usable if place == ALL else laid.usable & (aoi == place))
            Z = features.scaled(X, features.scaling(X, here[train[here]]), here)
            jobs = list(_jobs(cells, tasks, kinds, repeats, Z.shape[1]))
            # Large and small mixed, so that the share done tells the time left.
            mixed = [jobs[i] for i in np.random.default_rng(0).permutation(len(jobs))]
            yield from pool.map(lambda job, Z=Z, here=here: _batch(Z, here, job, laid.features, tasks, seed), mixed)


@dataclass(frozen=True)
class _Job:
    """Draws of one size that are fitted together: (cell, repeat) each."""

    kind: str
    n: int
    classes: int
    draws: tuple[tuple[Cell, int], ...]


def _jobs(
    cells: Sequence[Cell], tasks: Sequence[Targets], kinds: Sequence[str], repeats: int, columns: int
) -> Iterator[_Job]:
    by_size: dict[tuple[int, int], list[tuple[Cell, int]]] = {}
    for cell in cells:
        classes = len(tasks[cell.task].classes)
        for n in cell.sizes:
            by_size.setdefault((n, classes), []).extend((cell, k) for k in range(repeats))
        if cell.full:
            by_size.setdefault((cell.full, classes), []).append((cell, 0))
    for kind in kinds:
        for (n, classes), together in by_size.items():
            size = max(1, min(classifiers.BATCH // (n * columns), -(-len(together) // 2)))
            for start in range(0, len(together), size):
                yield _Job(kind, n, classes, tuple(together[start : start + size]))


def _batch(
    Z: NDArray[np.float32], here: NDArray[np.int64], job: _Job, name: str, tasks: Sequence[Targets], seed: int
) -> list[Fit]:
    """Fit and score one job; `here` are the chips that the rows of Z are of."""
    start = time.perf_counter()
    chips = np.stack([cell.orders[k, : job.n] for cell, k in job.draws])
    values = np.stack([tasks[cell.task].values[row] for (cell, _), row in zip(job.draws, chips, strict=True)])
    fitted = classifiers.fit_draws(job.kind, Z, np.searchsorted(here, chips), values, job.classes, seed)
    scores = []
    for (cell, _), model in zip(job.draws, fitted, strict=True):
        predicted = classifiers.predict(model, Z[np.searchsorted(here, cell.test)])
        decided = classifiers.decide(model, predicted) if job.classes else np.empty(0, dtype=np.int64)
        scores.append(metrics.score(tasks[cell.task].values[cell.test], predicted, decided, job.classes))
    seconds = (time.perf_counter() - start) / len(job.draws)
    return [
        Fit(tasks[cell.task].name, cell.aoi, name, job.kind, job.n, seed + k, one, seconds)
        for (cell, k), one in zip(job.draws, scores, strict=True)
    ]
