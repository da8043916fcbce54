"""Held-out predictions: labelled chips predicted by models that learned from labels elsewhere.

Of many labels, the test split is held out. Where labels are few, or were given by hand, no split of them can be spared:
they are dealt into spatial folds, and each fold is predicted from the others (Roberts et al. 2017,
doi:10.1111/ecog.02881), several times with other folds, so that every label is tested in every repetition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoembed.chips import splits
from geoembed.fits import accuracy, metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from geoembed.fits.classifiers.protocol import Classifier
    from geoembed.fits.embeddings import Embeddings
    from geoembed.labels.targets import Targets

FEW = 1000
"""Labels below which no split can be spared."""

FOLDS, REPEATS = 5, 5
"""Folds of a cross-validation, and its repetitions where labels are few; of more, one is enough."""

BY_SPLIT, BY_FOLDS = "test split", "spatial cross-validation"


@dataclass(frozen=True)
class HeldOut:
    """Predictions of m labelled chips that no label nearby helped to make, R times.

    method: BY_SPLIT or BY_FOLDS.
    folds: how many; 1 for the test split.
    rows: (m,) of the chips.
    truth: (m,) positions of their classes, or numbers.
    predicted: (R, m, K) probabilities, or (R, m) numbers.
    decided: (R, m) classes predicted; unused for numbers.
    classes: names of the K classes; none for numbers.
    """

    method: str
    folds: int
    rows: NDArray[np.int64]
    truth: NDArray[np.float64]
    predicted: NDArray[np.float64]
    decided: NDArray[np.int64]
    classes: tuple[str, ...]

    @property
    def lacking(self) -> tuple[str, ...]:
        """Return the classes of which no label is held out, so that scores say nothing of them."""
        held = np.bincount(self.truth.astype(np.int64), minlength=len(self.classes)) if self.classes else ()
        return tuple(name for name, count in zip(self.classes, held, strict=True) if not count)

    def scores(self, which: NDArray[np.bool_] | None = None) -> dict[str, NDArray[np.float64]]:
        """Return the scores of each repetition, (R,) per metric, over some of the chips (m,) or over all."""
        some = slice(None) if which is None else which
        decided = self.decided if self.classes else np.zeros(self.predicted.shape, np.int64)
        each = [
            metrics.score(self.truth[some], predicted[some], of_classes[some], len(self.classes))
            for predicted, of_classes in zip(self.predicted, decided, strict=True)
        ]
        return {name: np.array([scores[name] for scores in each]) for name in metrics.names(len(self.classes))}

    def confusion(self) -> NDArray[np.float64]:
        """Return the confusion matrix (K, K), a row per class predicted, as the mean over repetitions."""
        each = [accuracy.confusion(decided, self.truth, len(self.classes)) for decided in self.decided]
        return np.asarray(np.mean(each, axis=0))


def by_folds(targets: Targets, usable: NDArray[np.bool_], split: NDArray[np.str_], *, by_hand: bool) -> bool:
    """Tell whether labels on usable chips are to be cross-validated.

    They are where they are few or were given by hand, and where a split holds no two classes to learn or to test.
    """
    labelled = np.flatnonzero(usable & targets.known)
    parts = [labelled[split[labelled] == name] for name in ("train", "test")]
    return by_hand or len(labelled) < FEW or any(distinct(targets, rows) < 2 for rows in parts)


def distinct(targets: Targets, rows: NDArray[np.int64]) -> int:
    """Return how many classes, or different numbers, the labels of some chips hold."""
    return len(np.unique(targets.values[rows][targets.known[rows]]))


def partitions(file: Embeddings, labelled: NDArray[np.int64], repeats: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield for each repetition the folds of labelled chips (rows), (m,)."""
    cell = max(grid.side_metres for grid in file.grids)
    for repeat in range(repeats):
        generator = np.random.default_rng([seed, 4, repeat])
        yield splits.folds(file.lonlat[labelled], file.aoi[labelled], cell, FOLDS, generator)


def predict(
    learner: Classifier,
    Z: NDArray[np.float32],
    targets: Targets,
    learned: NDArray[np.int64],
    tested: NDArray[np.int64],
    *,
    rule: str,
    seed: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Learn from some rows of Z (N, D) and predict others: probabilities or numbers, and the classes decided.

    Where the labels learned from are all alike, that is what is predicted.
    """
    values, classes = targets.values[learned], len(targets.classes)
    if len(np.unique(values)) < 2:
        same = np.full(len(tested), values[0])
        if not classes:
            return same, np.empty(0, np.int64)
        decided = same.astype(np.int64)
        return np.eye(classes)[decided], decided
    fitted = learner.fit(Z[learned], values, classes, seed)
    predicted = fitted.predict(Z[tested])
    return predicted, fitted.decide(predicted, rule) if classes else np.empty(0, np.int64)
