"""The jobs that a sweep is cut into, in which the fits share what they have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from geoembed.fits.curves import Fit
    from geoembed.fits.draws import TaskDraws
    from geoembed.fits.experiments import Experiment

SMALL = 100
"""Most labels of draws that are fitted in one batch. Larger matrices keep a core busy alone, and draws of more labels
more often lie on the same chips for several tasks, which then share a decomposition."""

BATCH = 2**22
"""Numbers (labels times features) of the draws that are fitted together; some 150 MB at work."""

HELD, FREELY = 1.0, 2**28
"""Copies of all chips' features, scaled for different experiments, that are held at a time, or bytes where that is
more."""


@dataclass(frozen=True)
class Job:
    """What is done at once: a batch of small draws, or one draw that is followed through its larger sizes.

    experiment: its number.
    kinds: names of the classifiers: all those that fit in batches, or one that does not.
    small: the number of labels of the batch; 0 for a draw that is followed.
    draw: number of the draw that is followed.
    start, stop: which of the (task, draw) pairs of that many labels the batch holds.
    """

    experiment: int
    kinds: tuple[str, ...]
    small: int = 0
    draw: int = 0
    start: int = 0
    stop: int = 0

    @property
    def key(self) -> str:
        """Return a name that is the same in every run."""
        return f"{self.experiment}/{'+'.join(self.kinds)}/{self.small}/{self.draw}/{self.start}"


@dataclass
class JobResult:
    """What a job gave.

    key: the job's.
    fits: one per model and set of test chips.
    models: how many models were fitted.
    penalties: those that the first draw chose, by task and number of labels.
    """

    key: str
    fits: list[Fit] = field(default_factory=list)
    models: int = 0
    penalties: dict[str, float] = field(default_factory=dict)


def lay_out(
    experiments: Sequence[Experiment],
    numbers: Iterable[int],
    batched: tuple[str, ...],
    alone: Sequence[str],
    columns: int,
) -> list[Job]:
    """Cut the experiments of some numbers into jobs, in an order in which the share done tells the time left.

    `batched` are the names of the classifiers that fit in batches, `alone` of the others; features have `columns`.
    """
    jobs = []
    for number in numbers:
        draws = experiments[number].draws
        for n in sorted({n for task_draws in draws for n in small_sizes(task_draws)}) if batched else ():
            pairs = sum(len(task_draws.orders) for task_draws in draws if n in small_sizes(task_draws))
            size = max(1, BATCH // (n * columns))
            jobs += [
                Job(number, batched, n, start=start, stop=min(start + size, pairs)) for start in range(0, pairs, size)
            ]
        for draw in range(max((len(task_draws.orders) for task_draws in draws), default=0)):
            jobs += [Job(number, (kind,), draw=draw) for kind in alone]
            if batched:
                jobs.append(Job(number, batched, draw=draw))
    return [jobs[i] for i in np.random.default_rng(0).permutation(len(jobs))]


def small_sizes(draws: TaskDraws) -> tuple[int, ...]:
    """Return the numbers of labels whose draws are fitted in batches."""
    return tuple(n for n in draws.sizes if n <= SMALL)


def sizes_followed(draws: TaskDraws, draw: int, *, batched: bool) -> tuple[int, ...]:
    """Return the numbers of labels at which a draw is followed: the larger ones, or all where nothing is `batched`.

    All labels together are one draw, the first.
    """
    if draw >= len(draws.orders):
        return ()
    sizes = tuple(n for n in draws.sizes if n > SMALL) if batched else draws.sizes
    return (*sizes, draws.full) if draws.full and draw == 0 else sizes


def held_together(experiments: Sequence[Experiment], chips: int, columns: int) -> Iterator[list[int]]:
    """Yield numbers of experiments in groups whose scaled features take little more memory than those of all chips."""
    group: list[int] = []
    held, most = 0, max(HELD * chips, FREELY / (4 * columns))
    for number, experiment in enumerate(experiments):
        size = len(experiment.train) + sum(len(tested.rows) for tested in experiment.tested)
        if group and held + size > most:
            yield group
            group, held = [], 0
        group.append(number)
        held += size
    if group:
        yield group


def same_chips(draws: Iterable[TaskDraws], draw: int, n: int) -> list[list[TaskDraws]]:
    """Group the draws of tasks by which chips the first n labels of one draw lie on."""
    groups: dict[bytes, list[TaskDraws]] = {}
    for task_draws in draws:
        groups.setdefault(np.sort(task_draws.orders[draw, :n]).tobytes(), []).append(task_draws)
    return list(groups.values())
