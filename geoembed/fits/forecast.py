"""About how long fits take on this machine, told from a few on made-up numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from geoembed.fits import classifiers, draws, jobs, linear
from geoembed.fits.experiments import Experiment, Tested
from geoembed.fits.sweep import Sweep
from geoembed.labels.targets import Targets

CHIPS = 3000
TIMED = (20, jobs.SMALL, 500, linear.FEW, 2000)
"""Numbers of labels that are timed; others lie between, and more than the last cost in proportion."""


def seconds(experiments: Sequence[Experiment], columns: int, kinds: Sequence[str]) -> float:
    """Return about how long the fits of some experiments take, on features of so many columns.

    Raises ProbeError for a classifier that there is not.
    """
    tested = max((len(experiment.tested[0].rows) for experiment in experiments), default=0)
    each = _cost(columns, min(tested, CHIPS), classifiers.require(kinds))
    total = 0.0
    for task_draws in (task_draws for experiment in experiments for task_draws in experiment.draws):
        total += sum(each(n) for n in task_draws.sizes) * len(task_draws.orders)
        total += each(task_draws.full) if task_draws.full else 0.0
    grown = max(1.0, tested / CHIPS) ** 0.5  # scoring grows with test chips, fitting does not
    return float(total * len(kinds) * grown)


@cache
def _cost(columns: int, tested: int, kinds: tuple[str, ...]) -> Callable[[int], float]:
    """Return how long one fit takes, by its number of labels, when all cores fit side by side."""
    random = np.random.default_rng(0)
    X = random.normal(size=(CHIPS, columns)).astype(np.float32)
    rows = np.arange(CHIPS)
    values = (X[:, :1] + random.normal(size=(CHIPS, 2)) > 1).astype(np.float64)
    tasks = tuple(Targets(str(t), "", values[:, t], (0, 1)) for t in range(2))
    keys = rows.astype(np.uint64)
    of_tasks = [
        draws.of_task(t, task, rows, keys, TIMED, full=False, repeats=2, seed=0) for t, task in enumerate(tasks)
    ]
    drawn = tuple(task_draws for task_draws in of_tasks if task_draws)
    experiment = Experiment("", rows, drawn, (Tested("", "", rows[: max(tested, 100)]),))
    began = time.perf_counter()
    fits = [fit for result in Sweep(X, "", "", [experiment], tasks, kinds, seed=0).run({}) for fit in result.fits]
    wall = time.perf_counter() - began
    # What is not fitting (drawing, scoring, waiting for the interpreter) is shared evenly.
    beside = max(0.0, wall - sum(fit.seconds for fit in fits)) / len(fits)
    cores = max(1.0, sum(fit.seconds for fit in fits) / wall)
    timed = [np.mean([fit.seconds for fit in fits if fit.n == n]) / cores + beside for n in TIMED]

    def each(n: int) -> float:
        between = float(np.exp(np.interp(np.log(n), np.log(TIMED), np.log(timed))))
        return between * max(1.0, n / TIMED[-1])

    return each
