"""Fits over sizes, draws, tasks and experiments: learn from draws of labels, score on sets of test chips.

Two shapes of job share what fits have in common. Up to jobs.SMALL labels, all draws of all tasks of an experiment are
fitted in one batch. Above, one draw is followed through its growing sizes: tasks that drew the same chips (draws are
nested, and differ only by the classes that they must hold) share one decomposition, and the penalty of more than
`linear.FEW` labels is chosen on the first draw and used for the others. A classifier that fits no batches follows every
draw, and fits each size alone.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.fits import classifiers, jobs, linear, metrics
from geoembed.fits.classifiers.protocol import Batched
from geoembed.fits.curves import WHOLE, Fit
from geoembed.fits.experiments import ScaledFeatures
from geoembed.fits.jobs import JobResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from geoembed.fits.classifiers.protocol import Classifier, Fitted
    from geoembed.fits.draws import TaskDraws
    from geoembed.fits.experiments import Experiment
    from geoembed.fits.jobs import Job
    from geoembed.labels.targets import Targets


def fits(experiments: Sequence[Experiment], kinds: Sequence[str]) -> int:
    """Return how many models the experiments ask for."""
    draws = [task_draws for experiment in experiments for task_draws in experiment.draws]
    return len(kinds) * sum(len(one.sizes) * len(one.orders) + (one.full > 0) for one in draws)


class Sweep:
    """All fits on the features X (N, D) that are called `name`, of one source.

    `kinds` are names of classifiers. Raises ProbeError for one that there is not, or that cannot learn a task.
    """

    def __init__(
        self,
        X: NDArray[np.float32],
        source: str,
        name: str,
        experiments: Sequence[Experiment],
        tasks: Sequence[Targets],
        kinds: Sequence[str],
        *,
        seed: int,
    ) -> None:
        self.X, self.source, self.name, self.experiments, self.tasks = X, source, name, experiments, tasks
        self.kinds, self.seed = classifiers.require(kinds), seed
        self.numbers = sorted({len(task.classes) for task in tasks})
        self.batched = tuple(
            kind for kind in self.kinds if all(isinstance(classifiers.named(kind, n), Batched) for n in self.numbers)
        )

    def classifier(self, kind: str, task: int) -> Classifier:
        """Return what learns a task."""
        return classifiers.named(kind, len(self.tasks[task].classes))

    def jobs(self, numbers: Sequence[int]) -> list[Job]:
        """Return the jobs of some experiments, given by number."""
        alone = [kind for kind in self.kinds if kind not in self.batched]
        return jobs.lay_out(self.experiments, numbers, self.batched, alone, self.X.shape[1])

    def run(self, done: Mapping[str, Any]) -> Iterator[JobResult]:
        """Yield what each job gives that is not among those done before, by key (to its penalties).

        Jobs run side by side, each on one core: the small matrices of few labels gain nothing from a threaded BLAS,
        which besides crawls where the cores are shared. First draws come first, as the others take their penalties.
        """
        from threadpoolctl import threadpool_limits

        classifiers.load_libraries(self.kinds, self.numbers)
        # A BLAS is limited everywhere at once, OpenMP only in the thread that asks for it.
        with (
            threadpool_limits(1),
            ThreadPoolExecutor(os.cpu_count(), initializer=threadpool_limits, initargs=(1, "openmp")) as pool,
        ):
            for group in jobs.held_together(self.experiments, *self.X.shape):
                penalties: dict[int, dict[str, float]] = {number: {} for number in group}
                first: list[Job] = []
                rest: list[Job] = []
                for job in self.jobs(group):
                    if job.key in done:
                        penalties[job.experiment] |= done[job.key]
                    else:
                        (first if job.draw == 0 and not job.small else rest).append(job)
                asked = {job.experiment for job in first + rest}
                scaled = {n: pool.submit(ScaledFeatures, self.X, self.experiments[n]) for n in asked}
                do = partial(self._do, scaled=scaled, penalties=penalties)
                for wave in (first, rest):
                    yield from pool.map(do, wave)
                del scaled, do  # before the next experiments' features are made

    def _do(self, job: Job, scaled: Mapping[int, Any], penalties: Mapping[int, dict[str, float]]) -> JobResult:
        known = penalties[job.experiment]
        result = _JobRun(self, job, scaled[job.experiment].result(), known).run()
        known.update(result.penalties)
        return result

    def probabilities(self, kind: str, n: int) -> Iterator[tuple[int, int, NDArray[np.float64], NDArray[np.float64]]]:
        """Yield task, draw, truth (m,) and probabilities (m, K) of test chips for every draw of n; of one question.

        Tasks that have not as many as n labels, or cannot hold two of each class in n, are left out.
        """
        first = self.experiments[0]
        for experiment in self.experiments:
            if (experiment.name, experiment.tested[0].question) == (first.name, first.tested[0].question):
                yield from self._probabilities(experiment, kind, n)

    def _probabilities(
        self, experiment: Experiment, kind: str, n: int
    ) -> Iterator[tuple[int, int, NDArray[np.float64], NDArray[np.float64]]]:
        scaled = ScaledFeatures(self.X, experiment)
        rows = experiment.tested[0].rows
        for draws in experiment.draws:
            task = self.tasks[draws.task]
            if task.numeric or n not in draws.sizes:
                continue
            known, classes = task.known[rows], len(task.classes)
            classifier, penalties = self.classifier(kind, draws.task), None
            for number, order in enumerate(draws.orders, experiment.first):
                X, values = scaled.train[order[:n]], task.values[experiment.train[order[:n]]]
                if isinstance(classifier, Batched):
                    model = classifier.fit_together(linear.design(X), values[None], classes, penalties)[0]
                    if penalties is None and n > linear.FEW:  # as in the sweep, the first draw chooses for the others
                        penalties = np.array([classifier.ridge_penalty(model)])
                else:
                    model = classifier.fit(X, values, classes, self.seed)
                yield draws.task, number, task.values[rows[known]], model.predict(scaled.tested[0])[known]


class _JobRun:
    """A job being done, on the scaled features of its experiment and with the penalties that first draws chose."""

    def __init__(self, sweep: Sweep, job: Job, scaled: ScaledFeatures, penalties: Mapping[str, float]) -> None:
        self.sweep, self.job, self.scaled, self.penalties = sweep, job, scaled, penalties
        self.result = JobResult(job.key)
        self.fewer: dict[tuple[str, int], Fitted] = {}  # by kind and task, the model of the size before

    def run(self) -> JobResult:
        """Do the job."""
        if self.job.small:
            self._fit_batch()
        else:
            self._follow()
        return self.result

    def _fit_batch(self) -> None:
        """Fit small draws, each on a design of its own, all at once where they have as many classes."""
        job = self.job
        draws = [one for one in self.scaled.experiment.draws if job.small in jobs.small_sizes(one)]
        pairs = [(one, draw) for one in draws for draw in range(len(one.orders))][job.start : job.stop]
        by_classes: dict[int, list[tuple[TaskDraws, int]]] = {}
        for pair in pairs:
            by_classes.setdefault(self._classes(pair[0]), []).append(pair)
        for classes, batch in by_classes.items():
            start = time.perf_counter()
            rows = np.stack([task_draws.orders[draw, : job.small] for task_draws, draw in batch])
            values = np.stack([self._values(one, of_draw) for (one, _), of_draw in zip(batch, rows, strict=True)])
            design = linear.Few(self.scaled.train[rows])
            shared = (time.perf_counter() - start) / len(batch) / len(job.kinds)
            for kind in job.kinds:
                start = time.perf_counter()
                models = self._batched(kind, batch[0][0]).fit_together(design, values, classes)
                seconds = shared + (time.perf_counter() - start) / len(batch)
                for (task_draws, draw), model in zip(batch, models, strict=True):
                    self._score(task_draws, kind, job.small, draw, model, seconds)

    def _follow(self) -> None:
        """Fit one draw of every task at its sizes, from few labels to many."""
        job, draws = self.job, self.scaled.experiment.draws
        batched = job.kinds[0] in self.sweep.batched
        sizes = [(one, jobs.sizes_followed(one, job.draw, batched=batched)) for one in draws]
        for n in sorted({n for _, followed in sizes for n in followed}):
            there = [task_draws for task_draws, followed in sizes if n in followed]
            if batched:
                for group in jobs.same_chips(there, job.draw, n):
                    self._fit_on_one_design(group, n)
            else:
                for task_draws in there:
                    self._fit_alone(task_draws, n)

    def _fit_on_one_design(self, group: Sequence[TaskDraws], n: int) -> None:
        """Fit one draw of tasks that drew the same chips, which differ in order alone."""
        start = time.perf_counter()
        rows = np.sort(group[0].orders[self.job.draw, :n])
        design = linear.design(self.scaled.train[rows])
        shared = (time.perf_counter() - start) / len(group) / len(self.job.kinds)
        for kind in self.job.kinds:
            for classes in {self._classes(task_draws) for task_draws in group}:
                alike = [task_draws for task_draws in group if self._classes(task_draws) == classes]
                self._fit_together(alike, kind, rows, design, shared)

    def _fit_together(
        self, alike: Sequence[TaskDraws], kind: str, rows: NDArray[np.int64], design: linear.Design, shared: float
    ) -> None:
        """Fit tasks of as many classes; of many labels with the first draw's penalties, if this is not that draw."""
        start, n, draw = time.perf_counter(), len(rows), self.job.draw
        classifier, classes = self._batched(kind, alike[0]), self._classes(alike[0])
        keys = [f"{task_draws.task}/{n}" for task_draws in alike]
        chosen = self.result.penalties if draw == 0 else self.penalties
        many = n > linear.FEW
        known = np.array([chosen[key] for key in keys]) if many and all(key in chosen for key in keys) else None
        before = [self.fewer[kind, one.task] for one in alike if (kind, one.task) in self.fewer]
        values = np.stack([self._values(task_draws, rows) for task_draws in alike])
        warm = before if len(before) == len(alike) else None
        models = classifier.fit_together(design, values, classes, known, warm)
        seconds = shared + (time.perf_counter() - start) / len(alike)
        for task_draws, key, model in zip(alike, keys, models, strict=True):
            self.fewer[kind, task_draws.task] = model
            if draw == 0 and many:
                self.result.penalties[key] = classifier.ridge_penalty(model)
            self._score(task_draws, kind, n, draw, model, seconds)

    def _fit_alone(self, task_draws: TaskDraws, n: int) -> None:
        start, kind = time.perf_counter(), self.job.kinds[0]
        rows, classifier = task_draws.orders[self.job.draw, :n], self.sweep.classifier(kind, task_draws.task)
        values, classes = self._values(task_draws, rows), self._classes(task_draws)
        model = classifier.fit(self.scaled.train[rows], values, classes, self.sweep.seed)
        self._score(task_draws, kind, n, self.job.draw, model, time.perf_counter() - start)

    def _batched(self, kind: str, task_draws: TaskDraws) -> Batched:
        classifier = self.sweep.classifier(kind, task_draws.task)
        assert isinstance(classifier, Batched)
        return classifier

    def _classes(self, task_draws: TaskDraws) -> int:
        return len(self.sweep.tasks[task_draws.task].classes)

    def _values(self, task_draws: TaskDraws, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.sweep.tasks[task_draws.task].values[self.scaled.experiment.train[positions]]

    def _score(self, task_draws: TaskDraws, kind: str, n: int, draw: int, model: Fitted, seconds: float) -> None:
        """Score a model on each set of test chips that is asked for this draw and number of labels."""
        sweep, experiment = self.sweep, self.scaled.experiment
        task, whole = sweep.tasks[task_draws.task], n == task_draws.full
        self.result.models += 1
        for tested, Z in zip(experiment.tested, self.scaled.tested, strict=True):
            size = WHOLE if whole else n
            if (tested.sizes is not None and size not in tested.sizes) or tested.draw not in (None, draw):
                continue
            known = task.known[tested.rows]
            truth = task.values[tested.rows[known]]
            predicted = model.predict(Z)[known]
            decided = model.decide(predicted) if model.classes else np.empty(0, dtype=np.int64)
            scores = metrics.score(truth, predicted, decided, model.classes)
            self.result.fits.append(
                Fit(
                    tested.question, sweep.source, task.name, experiment.name, tested.name, sweep.name, kind, n,
                    sweep.seed + experiment.first + draw, whole, scores, seconds,
                )
            )  # fmt: skip
