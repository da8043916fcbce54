"""Fits over sizes, draws, tasks and places: learn from draws of labels, score on one or several sets of test chips.

Two shapes of work share what fits have in common. Up to SMALL labels, all draws of all tasks of a place are fitted in
one batch. Above, one draw is followed through its growing sizes: tasks that drew the same chips (draws are nested, and
differ only by the classes that they must hold) share one decomposition, and the penalty of more than `linear.FEW`
labels is chosen on the first draw and used for the others.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.fits import classifiers, draws, features, linear, metrics
from geoembed.fits.curves import WHOLE, Fit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from geoembed.fits.classifiers import Fitted
    from geoembed.labels.targets import Targets

SMALL = 100
"""Most labels of draws that are fitted in one batch."""

BATCH = 2**22
"""Numbers (labels times features) of the draws that are fitted together; some 150 MB at work."""

HELD, FREELY = 1.0, 2**28
"""Copies of all chips' features, scaled for different places, that are held at a time, or bytes where that is more."""

SLOW = ("forest", "knn")
"""Classifiers of which every fit stands alone."""


@dataclass(frozen=True)
class Tested:
    """Chips to score on.

    rows: (m,) rows of the chips, whose labels are the truth. vectors: (m, D) their features, where they are not those
    of the table. sizes: the numbers of labels at which they are asked, WHOLE for all labels; None for every size.
    draw: the one draw of labels for which they are asked; None for every draw.
    """

    question: str
    name: str
    rows: NDArray[np.int64]
    vectors: NDArray[np.float32] | None = None
    sizes: frozenset[int] | None = None
    draw: int | None = None


@dataclass(frozen=True)
class Cell:
    """One task of a place: its labels in the order of each draw, as positions in the place's `train`.

    sizes: the numbers of labels to draw, all of them (`full`, 0 where not asked) not among them.
    orders: (repeats, number of labels).
    """

    task: int
    sizes: tuple[int, ...]
    full: int
    orders: NDArray[np.int64]


@dataclass(frozen=True)
class Place:
    """Where labels are from, by which features are scaled: an area, all of them, or all but one; and what to score on.

    train: (m,) rows of the chips of the train split. tested: the first is asked at every size.
    """

    name: str
    train: NDArray[np.int64]
    cells: tuple[Cell, ...]
    tested: tuple[Tested, ...]


@dataclass(frozen=True)
class Work:
    """What is done at once: a batch of small draws, or one draw through its larger sizes.

    kinds: classifiers. small: the number of labels of the batch, 0 for a draw that is followed.
    draw: number of that draw. start, stop: of the batch's (cell, draw) pairs.
    """

    place: int
    kinds: tuple[str, ...]
    small: int = 0
    draw: int = 0
    start: int = 0
    stop: int = 0

    @property
    def key(self) -> str:
        """Return a name that is the same in every run."""
        return f"{self.place}/{'+'.join(self.kinds)}/{self.small}/{self.draw}/{self.start}"


@dataclass
class Done:
    """What a piece of work gave: fits, how many models were fitted, and the first draw's penalties by task and size."""

    key: str
    fits: list[Fit] = field(default_factory=list)
    models: int = 0
    penalties: dict[str, float] = field(default_factory=dict)


def cell(
    number: int,
    task: Targets,
    train: NDArray[np.int64],
    keys: NDArray[np.uint64],
    sizes: Sequence[int],
    *,
    full: bool,
    repeats: int,
    seed: int,
) -> Cell | None:
    """Lay out one task's labels among the train chips `train` (rows); None where they are of one class alone.

    `keys` (N,) are all chips'. Sizes below two labels per class, and from all labels on, are left out.
    """
    pool = np.flatnonzero(task.known[train])
    values = task.values[train[pool]]
    if len(np.unique(values)) < 2:
        return None
    least = draws.smallest(values, numeric=task.numeric)
    drawn = tuple(n for n in sizes if least <= n < len(pool))
    of_pool = keys[train[pool]]
    orders = [pool[draws.order(of_pool, values, numeric=task.numeric, seed=seed + k)] for k in range(repeats)]
    return Cell(number, drawn, len(pool) if full else 0, np.stack(orders))


def fits(places: Sequence[Place], kinds: Sequence[str]) -> int:
    """Return how many models the places ask for."""
    each = [len(one.sizes) * len(one.orders) + (one.full > 0) for place in places for one in place.cells]
    return sum(each) * len(kinds)


class Sweep:
    """All fits on the features X (N, D) that are called `name`, of one source."""

    def __init__(
        self,
        X: NDArray[np.float32],
        source: str,
        name: str,
        places: Sequence[Place],
        tasks: Sequence[Targets],
        kinds: Sequence[str],
        *,
        seed: int,
    ) -> None:
        self.X, self.source, self.name, self.places, self.tasks = X, source, name, places, tasks
        self.kinds, self.seed = kinds, seed

    def run(self, done: Mapping[str, Any]) -> Iterator[Done]:
        """Yield what each piece of work gives that is not among those done before, by key (to its penalties).

        Pieces run side by side, each on one core: the small matrices of few labels gain nothing from a threaded BLAS,
        which besides crawls where the cores are shared. First draws come first, as the others take their penalties.
        """
        from threadpoolctl import threadpool_limits

        classifiers.load_libraries(self.kinds, [len(task.classes) for task in self.tasks])
        with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
            for some in self._held_together():
                penalties: dict[int, dict[str, float]] = {i: {} for i in some}
                first: list[Work] = []
                rest: list[Work] = []
                for work in self.work(some):
                    if work.key in done:
                        penalties[work.place] |= done[work.key]
                    else:
                        (first if work.draw == 0 and not work.small else rest).append(work)
                ready = {i: pool.submit(_Ready, self.X, self.places[i]) for i in {one.place for one in first + rest}}
                do = partial(self._do, ready=ready, penalties=penalties)
                for works in (first, rest):
                    yield from pool.map(do, works)
                del ready, do  # before the next places' features are made

    def probabilities(self, kind: str, n: int) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.float64]]]:
        """Yield task, truth (m,) and probabilities (m, K) of the first place's test chips, for every draw of n labels.

        Tasks that have not as many as n labels, or cannot hold two of each class in n, are left out.
        """
        at = _Ready(self.X, self.places[0])
        rows = at.place.tested[0].rows
        for one in at.place.cells:
            task = self.tasks[one.task]
            known = task.known[rows]
            first: Fitted | None = None
            for order in one.orders if n in one.sizes and not task.numeric else ():
                drawn = order[:n]
                values, classes = self._values(one, at, drawn), len(task.classes)
                if kind in SLOW:
                    model = classifiers.fit(kind, at.Z[drawn], values, classes, self.seed)
                else:
                    given = None if first is None or n <= linear.FEW else np.array([classifiers.penalty_of(first)])
                    model = classifiers.fit_linear(kind, linear.design(at.Z[drawn]), values[None], classes, given)[0]
                first = first or model
                yield one.task, task.values[rows[known]], classifiers.predict(model, at.tested[0])[known]

    def _held_together(self) -> Iterator[list[int]]:
        """Yield places in groups whose features take no more memory than a few times all chips'."""
        group: list[int] = []
        held, most = 0, max(HELD * len(self.X), FREELY / (4 * self.X.shape[1]))
        for i, place in enumerate(self.places):
            size = len(place.train) + sum(len(one.rows) for one in place.tested)
            if group and held + size > most:
                yield group
                group, held = [], 0
            group.append(i)
            held += size
        if group:
            yield group

    def work(self, places: Iterable[int]) -> Iterator[Work]:
        """Yield the pieces of work of some places, in an order in which the share done tells the time left."""
        pieces = []
        linear_kinds = tuple(kind for kind in self.kinds if kind not in SLOW)
        for i in places:
            place = self.places[i]
            for n in sorted({n for one in place.cells for n in _small(one)}):
                pairs = sum(len(one.orders) for one in place.cells if n in _small(one))
                size = max(1, BATCH // (n * self.X.shape[1]))
                pieces += [
                    Work(i, linear_kinds, n, start=at, stop=min(at + size, pairs))
                    for at in range(0, pairs if linear_kinds else 0, size)
                ]
            for k in range(max((len(one.orders) for one in place.cells), default=0)):
                pieces += [Work(i, (kind,), draw=k) for kind in self.kinds if kind in SLOW]
                if linear_kinds:
                    pieces.append(Work(i, linear_kinds, draw=k))
        order = np.random.default_rng(0).permutation(len(pieces))
        return (pieces[i] for i in order)

    def _do(self, work: Work, ready: Mapping[int, Any], penalties: Mapping[int, dict[str, float]]) -> Done:
        at = ready[work.place].result()
        if work.small:
            return self._batch(work, at)
        found = self._follow(work, at, penalties[work.place])
        penalties[work.place].update(found.penalties)
        return found

    def _batch(self, work: Work, at: _Ready) -> Done:
        """Fit small draws, each on a design of its own, all at once where they have as many classes."""
        found = Done(work.key)
        cells = [one for one in self.places[work.place].cells if work.small in _small(one)]
        pairs = [(one, k) for one in cells for k in range(len(one.orders))][work.start : work.stop]
        by_classes: dict[int, list[tuple[Cell, int]]] = {}
        for pair in pairs:
            by_classes.setdefault(len(self.tasks[pair[0].task].classes), []).append(pair)
        for classes, some in by_classes.items():
            start = time.perf_counter()
            rows = np.stack([one.orders[k, : work.small] for one, k in some])
            values = np.stack([self._values(one, at, row) for (one, _), row in zip(some, rows, strict=True)])
            design = linear.Few(at.Z[rows])
            shared = (time.perf_counter() - start) / len(some) / len(work.kinds)
            for kind in work.kinds:
                start = time.perf_counter()
                models = classifiers.fit_linear(kind, design, values, classes)
                seconds = shared + (time.perf_counter() - start) / len(some)
                for (one, k), model in zip(some, models, strict=True):
                    self._score(found, at, one, kind, work.small, k, model, seconds)
        return found

    def _follow(self, work: Work, at: _Ready, penalties: Mapping[str, float]) -> Done:
        """Fit one draw of every task at its sizes, the small ones only where each fit stands alone anyway."""
        found = Done(work.key)
        cells = self.places[work.place].cells
        before: dict[int, Fitted] = {}
        for n in sorted({n for one in cells for n in self._followed(one, work)}):
            there = [one for one in cells if n in self._followed(one, work)]
            if work.kinds[0] in SLOW:
                for one in there:
                    self._alone(found, at, one, work, n)
                continue
            for same in _same_chips(there, work.draw, n):
                start = time.perf_counter()
                rows = np.sort(same[0].orders[work.draw, :n])
                design = linear.design(at.Z[rows])
                shared = (time.perf_counter() - start) / len(same) / len(work.kinds)
                for kind in work.kinds:
                    self._together(found, at, same, kind, work.draw, rows, design, penalties, before, shared)
        return found

    def _together(
        self,
        found: Done,
        at: _Ready,
        same: Sequence[Cell],
        kind: str,
        draw: int,
        rows: NDArray[np.int64],
        design: Any,
        penalties: Mapping[str, float],
        before: dict[int, Fitted],
        shared: float,
    ) -> None:
        """Fit one draw of tasks that share a design."""
        n = len(rows)
        for classes in {len(self.tasks[one.task].classes) for one in same}:
            some = [one for one in same if len(self.tasks[one.task].classes) == classes]
            start = time.perf_counter()
            keys = [f"{one.task}/{n}" for one in some]
            given = found.penalties if draw == 0 else penalties
            known = np.array([given[key] for key in keys]) if n > linear.FEW and all(k in given for k in keys) else None
            warm = (
                [before[one.task] for one in some]
                if kind == "logistic" and all(o.task in before for o in some)
                else None
            )
            values = np.stack([self._values(one, at, rows) for one in some])
            models = classifiers.fit_linear(kind, design, values, classes, known, warm)
            seconds = shared + (time.perf_counter() - start) / len(some)
            for one, key, model in zip(some, keys, models, strict=True):
                if kind == "logistic":
                    before[one.task] = model
                if draw == 0 and n > linear.FEW:
                    found.penalties[key] = classifiers.penalty_of(model)
                self._score(found, at, one, kind, n, draw, model, seconds)

    def _alone(self, found: Done, at: _Ready, one: Cell, work: Work, n: int) -> None:
        start = time.perf_counter()
        rows, kind = one.orders[work.draw, :n], work.kinds[0]
        model = classifiers.fit(
            kind, at.Z[rows], self._values(one, at, rows), len(self.tasks[one.task].classes), self.seed
        )
        self._score(found, at, one, kind, n, work.draw, model, time.perf_counter() - start)

    def _followed(self, one: Cell, work: Work) -> tuple[int, ...]:
        """Return the sizes at which a draw of a cell is followed."""
        sizes = one.sizes if work.kinds[0] in SLOW else tuple(n for n in one.sizes if n > SMALL)
        if work.draw >= len(one.orders):
            return ()
        return (*sizes, one.full) if one.full and work.draw == 0 else sizes

    def _values(self, one: Cell, at: _Ready, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.tasks[one.task].values[at.place.train[rows]]

    def _score(
        self, found: Done, at: _Ready, one: Cell, kind: str, n: int, draw: int, model: Fitted, seconds: float
    ) -> None:
        task, place = self.tasks[one.task], at.place
        found.models += 1
        for tested, Z in zip(place.tested, at.tested, strict=True):
            size = WHOLE if n == one.full else n
            if (tested.sizes is not None and size not in tested.sizes) or tested.draw not in (None, draw):
                continue
            known = task.known[tested.rows]
            truth = task.values[tested.rows[known]]
            predicted = classifiers.predict(model, Z)[known]
            decided = classifiers.decide(model, predicted) if model.classes else np.empty(0, dtype=np.int64)
            scores = metrics.score(truth, predicted, decided, model.classes)
            found.fits.append(
                Fit(
                    tested.question, self.source, task.name, place.name, tested.name, self.name, kind, n,
                    self.seed + draw, n == one.full, scores, seconds,
                )
            )  # fmt: skip


class _Ready:
    """A place's features, scaled by its train chips: of the train chips, and of each set of test chips."""

    def __init__(self, X: NDArray[np.float32], place: Place) -> None:
        by = features.scaling(X, place.train)
        self.place = place
        self.Z = features.scaled(X, by, place.train)
        self.tested = [
            features.scaled(X, by, one.rows) if one.vectors is None else features.scaled(one.vectors, by)
            for one in place.tested
        ]


def _small(one: Cell) -> tuple[int, ...]:
    return tuple(n for n in one.sizes if n <= SMALL)


def _same_chips(cells: Sequence[Cell], draw: int, n: int) -> list[list[Cell]]:
    """Group cells by which chips their first n labels lie on."""
    groups: dict[bytes, list[Cell]] = {}
    for one in cells:
        groups.setdefault(np.sort(one.orders[draw, :n]).tobytes(), []).append(one)
    return list(groups.values())
