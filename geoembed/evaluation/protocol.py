"""The sceptic's protocol: which labels are learned from and which chips are scored, question by question."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from geoembed.chips import splits
from geoembed.fits import draws, features, heldout
from geoembed.fits.curves import WHOLE
from geoembed.fits.experiments import Experiment, Tested
from geoembed.ground import grid
from geoembed.ground.aoi import ALL

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from geoembed.evaluation.options import Options
    from geoembed.fits.embeddings import Embeddings
    from geoembed.labels.targets import Targets

CURVE, SPLIT, TRANSFER = QUESTIONS = ("curve", "split", "transfer")
"""Learning curves; a random split beside the split by place; training in one area and testing in another."""

SCALED_BY = 5000
"""Most unlabelled chips that features are scaled by in a cross-validation, beside the labelled ones."""


@dataclass(frozen=True)
class FeatureSource:
    """Features of the evaluated chips out of one embeddings file.

    name: what results call it.
    file: the embeddings file.
    rows: (N,) the row of each chip in the file, -1 where it is not there.
    features: names of the features that are asked of it.
    """

    name: str
    file: Embeddings
    rows: NDArray[np.int64]
    features: tuple[str, ...]

    def read(self, name: str) -> NDArray[np.float32]:
        """Read features of the evaluated chips, (N, D) float32, NaN rows where a chip has none."""
        X = features.read(self.file, name)
        if np.array_equal(self.rows, np.arange(len(X))):
            return X
        X = X[self.rows]
        X[self.rows < 0] = np.nan
        return X

    def usable(self, name: str) -> NDArray[np.bool_]:
        """Tell which of the evaluated chips have such features, (N,)."""
        return features.usable(self.file, name)[self.rows] & (self.rows >= 0)


def feature_source(name: str, file: Embeddings, chip_ids: NDArray[np.str_], wanted: Sequence[str]) -> FeatureSource:
    """Return a file as a source of features for some chips, matched by id; of the wanted features, those it offers."""
    import pandas as pd

    rows = pd.Index(file.chip_id).get_indexer(pd.Index(chip_ids)).astype(np.int64)
    offered = set(file.names) | {name for name in wanted if set(name.split(features.JOINED)) <= set(file.modalities)}
    if len(file.modalities) > 1:
        offered.add(features.CONCAT)
    return FeatureSource(name, file, rows, tuple(feature for feature in wanted if feature in offered))


def usable(sources: Sequence[FeatureSource], name: str) -> NDArray[np.bool_]:
    """Tell which chips have such features in every source that offers them, so that all learn from the same."""
    return np.asarray(np.all([source.usable(name) for source in sources if name in source.features], axis=0))


@dataclass(frozen=True)
class Part:
    """Chips to learn from and chips to test on, which lie apart.

    learned, tested: (N,) which chips.
    first: number of the first draw of labels from it.
    """

    learned: NDArray[np.bool_]
    tested: NDArray[np.bool_]
    first: int = 0


@dataclass(frozen=True)
class Layout:
    """What is measured on.

    chip_id, aoi, split: (N,) of the chips.
    keys: (N,) what draws of labels are seeded by, from `draws.keys`.
    tasks: what is predicted.
    options: numbers of labels, draws and seed.
    folds: (P, N) in a cross-validation the fold of each labelled chip in each of P repetitions, -1 for the other chips;
        empty where the test split is held out.
    by_hand: for each task whether its labels were given by hand.
    """

    chip_id: NDArray[np.str_]
    aoi: NDArray[np.str_]
    split: NDArray[np.str_]
    keys: NDArray[np.uint64]
    tasks: tuple[Targets, ...]
    options: Options
    folds: NDArray[np.int64]
    by_hand: tuple[bool, ...]

    @property
    def areas(self) -> tuple[str, ...]:
        """Return the areas' names, in order."""
        return tuple(str(name) for name in np.unique(self.aoi))

    @property
    def everywhere(self) -> str:
        """Return what the widest place is called: all areas, or the only one."""
        return ALL if len(self.areas) > 1 else self.areas[0]

    @property
    def repeats(self) -> int:
        """Return how many draws of labels there are from one part: from a fold's part one, as there are many parts."""
        return 1 if len(self.folds) else self.options.repeats

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Return the parts that learning curves are drawn from: those of the split, or one per fold and repetition."""
        if not len(self.folds):
            return (Part(self.split == "train", self.split == "test"),)
        return tuple(self._parts(self.folds))

    @cached_property
    def main(self) -> Part:
        """Return the part that chips are tested on in other ways: the first that tells the classes of most tasks."""

        def told(part: Part) -> int:
            rows = np.flatnonzero(part.tested)
            return sum(heldout.distinct(task, rows) > 1 for task in self.tasks)

        return max(self.parts, key=told)

    @property
    def tested(self) -> NDArray[np.bool_]:
        """Tell which chips are tested anywhere, (N,)."""
        return self.folds[0] >= 0 if len(self.folds) else self.main.tested

    def experiments(
        self, usable: NDArray[np.bool_], questions: Collection[str] = QUESTIONS
    ) -> tuple[tuple[Experiment, ...], dict[str, int]]:
        """Lay out where labels are from and what is scored, for features that the `usable` chips have.

        Also returns how often a task has no fit in an experiment, by reason.
        """
        empty: Counter[str] = Counter()
        travels = TRANSFER in questions and len(self.areas) > 1
        experiments: list[Experiment] = []
        for area in dict.fromkeys((self.everywhere, *self.areas)):
            experiments += self._within(area, usable, empty, travels=travels and area != self.everywhere)
        if SPLIT in questions:
            experiments += self._random_split(usable, empty)
        if travels:
            experiments += [self._all_but(area, usable, empty) for area in self.areas]
        return tuple(experiments), dict(empty)

    def missing(self, usable: NDArray[np.bool_], tested: Sequence[Tested]) -> Experiment:
        """Lay out the draws of n labels everywhere, to be scored on test chips that lack something."""
        return self._experiment(
            self.everywhere, usable & self.main.learned, tested, (self.options.n,), Counter(), self.options.repeats
        )

    def sample(self, usable: NDArray[np.bool_], most: int) -> NDArray[np.int64]:
        """Return the rows of at most so many usable chips, drawn at random."""
        rows = np.flatnonzero(usable)
        return np.sort(np.random.default_rng([self.options.seed, 2]).permutation(rows)[:most])

    def _within(
        self, area: str, usable: NDArray[np.bool_], empty: Counter[str], *, travels: bool
    ) -> Iterator[Experiment]:
        """Lay out the learning curves of one area or of all; with `travels`, what one area learned meets the others."""
        here = usable if area == ALL else usable & (self.aoi == area)
        sizes = sorted({*self.options.sizes, self.options.n})
        beyond = self._elsewhere(area, usable) if travels else []
        for part in self.parts:
            tested = [Tested(CURVE, area, np.flatnonzero(here & part.tested))]
            tested += [] if len(self.folds) else beyond
            yield self._experiment(area, here & part.learned, tested, sizes, empty, self.repeats, part.first)
        if len(self.folds) and beyond:  # what travels is learned from all labels of the area
            learned = here & (self.main.learned | self.tested)
            yield self._experiment(area, learned, beyond, (self.options.n,), empty, self.options.repeats)

    def _elsewhere(self, area: str, usable: NDArray[np.bool_]) -> list[Tested]:
        sizes = frozenset({self.options.n, WHOLE})
        return [
            Tested(TRANSFER, name, np.flatnonzero(usable & self.tested & (self.aoi == name)), sizes=sizes)
            for name in self.areas
            if name != area
        ]

    def _random_split(self, usable: NDArray[np.bool_], empty: Counter[str]) -> Iterator[Experiment]:
        """Lay out training and testing everywhere on splits or folds that are dealt out at random, chip by chip."""
        for part in self._redealt():
            tested = [Tested(SPLIT, self.everywhere, np.flatnonzero(usable & part.tested))]
            learned = usable & part.learned
            yield self._experiment(self.everywhere, learned, tested, (self.options.n,), empty, self.repeats, part.first)

    def _all_but(self, area: str, usable: NDArray[np.bool_], empty: Counter[str]) -> Experiment:
        """Lay out training in all other areas and testing in this one."""
        inside = self.aoi == area
        learned = self.main.learned | self.tested if len(self.folds) else self.main.learned
        tested = [Tested(TRANSFER, area, np.flatnonzero(usable & inside & self.tested))]
        name = f"{features.BUT}{area}"
        return self._experiment(
            name, usable & ~inside & learned, tested, (self.options.n,), empty, self.options.repeats
        )

    def _parts(self, folds: NDArray[np.int64]) -> Iterator[Part]:
        """Yield a part per repetition and fold; besides labelled chips some others are there, to scale features by."""
        others = np.zeros(len(self.split), dtype=bool)
        others[self.sample((self.folds[0] < 0) & (self.split == "train"), SCALED_BY)] = True
        for repeat, fold_of in enumerate(folds):
            for fold in range(heldout.FOLDS):
                tested = fold_of == fold
                yield Part((fold_of >= 0) & ~tested | others, tested, repeat * heldout.FOLDS + fold)

    def _redealt(self) -> tuple[Part, ...]:
        """Return parts dealt out anew at random among the chips of each area, as many chips in each as before."""
        random, split, folds = np.random.default_rng([self.options.seed, 1]), self.split.copy(), self.folds.copy()
        for area in self.areas:
            inside = self.aoi == area
            rows = np.flatnonzero(inside)
            split[rows] = random.permutation(self.split[rows])
            for fold_of in folds:
                labelled = np.flatnonzero(inside & (fold_of >= 0))
                fold_of[labelled] = random.permutation(fold_of[labelled])
        if len(self.folds):
            return tuple(self._parts(folds))
        return (Part(split == "train", split == "test"),)

    def _experiment(
        self,
        name: str,
        learned: NDArray[np.bool_],
        tested: Sequence[Tested],
        sizes: Sequence[int],
        empty: Counter[str],
        repeats: int,
        first: int = 0,
    ) -> Experiment:
        drawn, train = [], np.flatnonzero(learned)
        seed = self.options.seed + (first // heldout.FOLDS if len(self.folds) else first)
        for number, task in enumerate(self.tasks):
            of_task = draws.of_task(
                number, task, train, self.keys, sizes, full=self.options.full, repeats=repeats, seed=seed
            )
            needed = tested if tested[0].question == TRANSFER else tested[:1]
            if of_task is None:
                empty["cells_with_one_class_to_learn_from"] += 1
            elif not any(heldout.distinct(task, chips.rows) > 1 for chips in needed):
                empty["cells_with_one_class_to_test_on"] += 1
            else:
                drawn.append(of_task)
        return Experiment(name, train, tuple(drawn), tuple(tested), first)


def layout(
    chips: Embeddings, tasks: Sequence[Targets], options: Options, by_hand: Sequence[bool] | None = None
) -> Layout:
    """Lay out what is measured on the chips of an embeddings file.

    Where labels of any task are few or were given by hand, all are cross-validated (see `fits.heldout`), unless the
    options say that the test split is held out.
    """
    tasks, hands = tuple(tasks), tuple(by_hand or (False,) * len(tasks))
    everywhere = np.ones(len(chips), dtype=bool)
    folds = np.empty((0, len(chips)), dtype=np.int64)
    if not options.hold_out and any(
        heldout.by_folds(task, everywhere, chips.split, by_hand=hand) for task, hand in zip(tasks, hands, strict=True)
    ):
        labelled = np.flatnonzero(np.any([task.known for task in tasks], axis=0))
        repeats = options.repeats if len(labelled) < heldout.FEW else max(1, options.repeats // heldout.FOLDS)
        folds = np.full((repeats, len(chips)), -1)
        for fold_of, dealt in zip(folds, heldout.partitions(chips, labelled, repeats, options.seed), strict=True):
            fold_of[labelled] = dealt
        options = replace(options, n=_held_by_all(tasks, folds, options))
    return Layout(chips.chip_id, chips.aoi, chips.split, draws.keys(chips.chip_id), tasks, options, folds, hands)


def _held_by_all(tasks: Sequence[Targets], folds: NDArray[np.int64], options: Options) -> int:
    """Return n, or the largest smaller number that can be drawn for every task whatever fold is tested."""
    least = min(
        int(np.count_nonzero(task.known & (fold_of != fold)))
        for task in tasks
        for fold_of in folds
        for fold in range(heldout.FOLDS)
    )
    return min(options.n, max(least - 1, 2))


def parted(chip_ids: NDArray[np.str_], split: NDArray[np.str_]) -> float:
    """Return the share of neighbouring chips that fall into different splits; NaN without neighbours."""
    names, columns, rows = grid.parse(chip_ids)
    _, number = np.unique(names, return_inverse=True)
    return splits.neighbours_apart(np.column_stack([number, columns, rows]), split)
