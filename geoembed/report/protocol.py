"""The sceptic's protocol: which labels are learned from and which chips are scored, question by question."""

from __future__ import annotations

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
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoembed.fits.embeddings import Embeddings
    from geoembed.labels.targets import Targets


@dataclass(frozen=True)
class Source:
    """Features of the evaluated chips out of one embeddings file.

    rows: (N,) the row of each chip in the file, -1 where it is not there. names: the features that are asked of it.
    """

    name: str
    file: Embeddings
    rows: NDArray[np.int64]
    names: tuple[str, ...]

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


def source(name: str, file: Embeddings, chip_ids: NDArray[np.str_], names: Sequence[str]) -> Source:
    """Return a file as a source of features for some chips, matched by id; of the features, those that it offers."""
    import pandas as pd

    rows = pd.Index(file.chip_id).get_indexer(pd.Index(chip_ids)).astype(np.int64)
    offered = set(file.names) | {one for one in names if set(one.split(features.JOINED)) <= set(file.modalities)}
    if len(file.modalities) > 1:
        offered.add(features.CONCAT)
    return Source(name, file, rows, tuple(one for one in names if one in offered))


def usable(sources: Sequence[Source], name: str) -> NDArray[np.bool_]:
    """Tell which chips have such features in every source that offers them, so that all learn from the same."""
    return np.asarray(np.all([one.usable(name) for one in sources if name in one.names], axis=0))


@dataclass(frozen=True)
class Layout:
    """What is measured on: the chips' areas and splits, tasks, numbers of labels, and seeded draws.

    n: the number of labels of all questions but the learning curves. keys: (N,) of `draws.keys`.
    """

    chip_id: NDArray[np.str_]
    aoi: NDArray[np.str_]
    split: NDArray[np.str_]
    tasks: tuple[Targets, ...]
    sizes: tuple[int, ...]
    full: bool
    n: int
    repeats: int
    seed: int
    keys: NDArray[np.uint64]

    @property
    def areas(self) -> tuple[str, ...]:
        """Return the areas' names, in order."""
        return tuple(str(name) for name in np.unique(self.aoi))

    @property
    def everywhere(self) -> str:
        """Return what the widest place is called: all areas, or the only one."""
        return ALL if len(self.areas) > 1 else self.areas[0]

    def places(self, usable: NDArray[np.bool_], *, deep: bool) -> tuple[tuple[Experiment, ...], dict[str, int]]:
        """Lay out places for features that the `usable` chips have; return them, and why cells are empty (by reason).

        `deep` asks the questions beyond learning curves, too: a random split, and how it travels between areas.
        """
        empty: dict[str, int] = {}
        found = []
        for place in dict.fromkeys((self.everywhere, *self.areas)):
            here = usable if place == ALL else usable & (self.aoi == place)
            tested = [Tested("curve", place, np.flatnonzero(here & (self.split == "test")))]
            if deep and place != self.everywhere:
                tested += self._elsewhere(place, usable)
            found.append(self._place(place, np.flatnonzero(here & (self.split == "train")), tested, self.sizes, empty))
        if deep:
            dealt = self._redealt()
            tested = [Tested("split", self.everywhere, np.flatnonzero(usable & (dealt == "test")))]
            found.append(
                self._place(self.everywhere, np.flatnonzero(usable & (dealt == "train")), tested, (self.n,), empty)
            )
            for place in self.areas if len(self.areas) > 1 else ():
                inside = self.aoi == place
                tested = [Tested("transfer", place, np.flatnonzero(usable & inside & (self.split == "test")))]
                train = np.flatnonzero(usable & ~inside & (self.split == "train"))
                found.append(self._place(f"{features.BUT}{place}", train, tested, (self.n,), empty))
        return tuple(found), empty

    def missing(self, usable: NDArray[np.bool_], tested: Sequence[Tested]) -> Experiment:
        """Lay out the draws of n labels everywhere, to be scored on test chips that lack something."""
        train = np.flatnonzero(usable & (self.split == "train"))
        return self._place(self.everywhere, train, tested, (self.n,), {})

    def sample(self, usable: NDArray[np.bool_], most: int, split: str | None = None) -> NDArray[np.int64]:
        """Return the rows of at most so many usable chips, of one split or of all, drawn at random."""
        rows = np.flatnonzero(usable if split is None else usable & (self.split == split))
        return np.sort(np.random.default_rng([self.seed, 2]).permutation(rows)[:most])

    def _elsewhere(self, place: str, usable: NDArray[np.bool_]) -> list[Tested]:
        there = {other: usable & (self.aoi == other) & (self.split == "test") for other in self.areas if other != place}
        sizes = frozenset({self.n, WHOLE})
        return [Tested("transfer", other, np.flatnonzero(here), sizes=sizes) for other, here in there.items()]

    def _redealt(self) -> NDArray[np.str_]:
        """Return splits dealt out anew at random among the chips of each area, as many of each as before."""
        random, dealt = np.random.default_rng([self.seed, 1]), self.split.copy()
        for place in self.areas:
            rows = np.flatnonzero(self.aoi == place)
            dealt[rows] = random.permutation(self.split[rows])
        return dealt

    def _place(
        self,
        name: str,
        train: NDArray[np.int64],
        tested: Sequence[Tested],
        sizes: Sequence[int],
        empty: dict[str, int],
    ) -> Experiment:
        cells = []
        for number, task in enumerate(self.tasks):
            one = draws.of_task(
                number, task, train, self.keys, sizes,
                full=self.full, repeats=self.repeats, seed=self.seed,
            )  # fmt: skip
            there = task.values[tested[0].rows]
            reason = "cells_with_one_class_to_learn_from" if one is None else ""
            if one is not None and len(np.unique(there[~np.isnan(there)])) < max(len(task.classes), 2):
                reason = "cells_lacking_a_class_in_test"
            if reason:
                empty[reason] = empty.get(reason, 0) + 1
            elif one is not None:
                cells.append(one)
        return Experiment(name, train, tuple(cells), tuple(tested))


def layout(
    chips: Embeddings,
    tasks: Sequence[Targets],
    sizes: Sequence[int],
    *,
    full: bool,
    n: int,
    repeats: int,
    seed: int,
) -> Layout:
    """Lay out what is measured on the chips of an embeddings file; `n` joins the sizes of the learning curves."""
    numbers = tuple(sorted({*sizes, n}))
    keys = draws.keys(chips.chip_id)
    return Layout(chips.chip_id, chips.aoi, chips.split, tuple(tasks), numbers, full, n, repeats, seed, keys)


def parted(chip_ids: NDArray[np.str_], split: NDArray[np.str_]) -> float:
    """Return the share of neighbouring chips that fall into different splits; NaN without neighbours."""
    names, columns, rows = grid.parse(chip_ids)
    _, number = np.unique(names, return_inverse=True)
    return splits.neighbours_apart(np.column_stack([number, columns, rows]), split)
