"""The sceptic's protocol: which labels are learned from and which chips are scored, question by question."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoembed.chips import splits
from geoembed.fits import draws, features
from geoembed.fits.curves import WHOLE
from geoembed.fits.experiments import Experiment, Tested
from geoembed.ground import grid
from geoembed.ground.aoi import ALL

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from geoembed.evaluation.options import Options
    from geoembed.fits.embeddings import Embeddings
    from geoembed.labels.targets import Targets

CURVE, SPLIT, TRANSFER = QUESTIONS = ("curve", "split", "transfer")
"""Learning curves; a random split beside the split by place; training in one area and testing in another."""


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
class Layout:
    """What is measured on.

    chip_id, aoi, split: (N,) of the chips.
    keys: (N,) what draws of labels are seeded by, from `draws.keys`.
    tasks: what is predicted.
    options: numbers of labels, draws and seed.
    """

    chip_id: NDArray[np.str_]
    aoi: NDArray[np.str_]
    split: NDArray[np.str_]
    keys: NDArray[np.uint64]
    tasks: tuple[Targets, ...]
    options: Options

    @property
    def areas(self) -> tuple[str, ...]:
        """Return the areas' names, in order."""
        return tuple(str(name) for name in np.unique(self.aoi))

    @property
    def everywhere(self) -> str:
        """Return what the widest place is called: all areas, or the only one."""
        return ALL if len(self.areas) > 1 else self.areas[0]

    def experiments(
        self, usable: NDArray[np.bool_], questions: Collection[str] = QUESTIONS
    ) -> tuple[tuple[Experiment, ...], dict[str, int]]:
        """Lay out where labels are from and what is scored, for features that the `usable` chips have.

        Also returns how often a task has no fit in an experiment, by reason.
        """
        empty: Counter[str] = Counter()
        areas = dict.fromkeys((self.everywhere, *self.areas))
        experiments = [self._within(area, usable, TRANSFER in questions, empty) for area in areas]
        if SPLIT in questions:
            experiments.append(self._random_split(usable, empty))
        if TRANSFER in questions and len(self.areas) > 1:
            experiments += [self._all_but(area, usable, empty) for area in self.areas]
        return tuple(experiments), dict(empty)

    def missing(self, usable: NDArray[np.bool_], tested: Sequence[Tested]) -> Experiment:
        """Lay out the draws of n labels everywhere, to be scored on test chips that lack something."""
        return self._experiment(self.everywhere, self._rows(usable, "train"), tested, (self.options.n,), Counter())

    def sample(self, usable: NDArray[np.bool_], most: int, split: str | None = None) -> NDArray[np.int64]:
        """Return the rows of at most so many usable chips, of one split or of all, drawn at random."""
        rows = np.flatnonzero(usable if split is None else usable & (self.split == split))
        return np.sort(np.random.default_rng([self.options.seed, 2]).permutation(rows)[:most])

    def _within(self, area: str, usable: NDArray[np.bool_], travels: bool, empty: Counter[str]) -> Experiment:
        """Lay out the learning curves of one area or of all; with `travels`, what one area learned meets the others."""
        here = usable if area == ALL else usable & (self.aoi == area)
        tested = [Tested(CURVE, area, self._rows(here, "test"))]
        if travels and area != self.everywhere:
            there = {name: self._rows(usable & (self.aoi == name), "test") for name in self.areas if name != area}
            sizes = frozenset({self.options.n, WHOLE})
            tested += [Tested(TRANSFER, name, rows, sizes=sizes) for name, rows in there.items()]
        return self._experiment(
            area, self._rows(here, "train"), tested, sorted({*self.options.sizes, self.options.n}), empty
        )

    def _random_split(self, usable: NDArray[np.bool_], empty: Counter[str]) -> Experiment:
        """Lay out training and testing everywhere on splits that are dealt out at random, chip by chip."""
        dealt = self._redealt()
        tested = [Tested(SPLIT, self.everywhere, np.flatnonzero(usable & (dealt == "test")))]
        train = np.flatnonzero(usable & (dealt == "train"))
        return self._experiment(self.everywhere, train, tested, (self.options.n,), empty)

    def _all_but(self, area: str, usable: NDArray[np.bool_], empty: Counter[str]) -> Experiment:
        """Lay out training in all other areas and testing in this one."""
        inside = self.aoi == area
        tested = [Tested(TRANSFER, area, self._rows(usable & inside, "test"))]
        train = self._rows(usable & ~inside, "train")
        return self._experiment(f"{features.BUT}{area}", train, tested, (self.options.n,), empty)

    def _rows(self, chips: NDArray[np.bool_], split: str) -> NDArray[np.int64]:
        return np.flatnonzero(chips & (self.split == split))

    def _redealt(self) -> NDArray[np.str_]:
        """Return splits dealt out anew at random among the chips of each area, as many of each as before."""
        random, dealt = np.random.default_rng([self.options.seed, 1]), self.split.copy()
        for area in self.areas:
            rows = np.flatnonzero(self.aoi == area)
            dealt[rows] = random.permutation(self.split[rows])
        return dealt

    def _experiment(
        self,
        name: str,
        train: NDArray[np.int64],
        tested: Sequence[Tested],
        sizes: Sequence[int],
        empty: Counter[str],
    ) -> Experiment:
        drawn = []
        for number, task in enumerate(self.tasks):
            of_task = draws.of_task(
                number, task, train, self.keys, sizes,
                full=self.options.full, repeats=self.options.repeats, seed=self.options.seed,
            )  # fmt: skip
            truth = task.values[tested[0].rows]
            if of_task is None:
                empty["cells_with_one_class_to_learn_from"] += 1
            elif len(np.unique(truth[~np.isnan(truth)])) < max(len(task.classes), 2):
                empty["cells_lacking_a_class_in_test"] += 1
            else:
                drawn.append(of_task)
        return Experiment(name, train, tuple(drawn), tuple(tested))


def layout(chips: Embeddings, tasks: Sequence[Targets], options: Options) -> Layout:
    """Lay out what is measured on the chips of an embeddings file."""
    return Layout(chips.chip_id, chips.aoi, chips.split, draws.keys(chips.chip_id), tuple(tasks), options)


def parted(chip_ids: NDArray[np.str_], split: NDArray[np.str_]) -> float:
    """Return the share of neighbouring chips that fall into different splits; NaN without neighbours."""
    names, columns, rows = grid.parse(chip_ids)
    _, number = np.unique(names, return_inverse=True)
    return splits.neighbours_apart(np.column_stack([number, columns, rows]), split)
