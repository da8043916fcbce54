"""What is learned from and what is scored on: an experiment's train chips, its draws of labels and its test chips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoembed.fits import features

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoembed.fits.draws import TaskDraws


@dataclass(frozen=True)
class Tested:
    """Chips to score on.

    question: which of the report's questions the scores answer: curve, split, transfer or missing.
    name: where the chips are, or what they lack.
    rows: (m,) rows of the chips, whose labels are the truth.
    vectors: (m, D) their features, where they are not those of the table.
    sizes: the numbers of labels at which they are scored, WHOLE for all labels; None for every size.
    draw: the one draw of labels for which they are scored; None for every draw.
    """

    question: str
    name: str
    rows: NDArray[np.int64]
    vectors: NDArray[np.float32] | None = None
    sizes: frozenset[int] | None = None
    draw: int | None = None


@dataclass(frozen=True)
class Experiment:
    """Chips to learn from, in one area, in all of them or in all but one, and chips to score on.

    name: where the labels are from.
    train: (m,) rows of the chips of the train split; features are scaled by them.
    draws: of the labels of each task that can be learned here.
    tested: the first is asked at every size.
    first: the number of the first draw: those of several experiments on one question follow each other.
    """

    name: str
    train: NDArray[np.int64]
    draws: tuple[TaskDraws, ...]
    tested: tuple[Tested, ...]
    first: int = 0


class ScaledFeatures:
    """The features of an experiment's chips, scaled by its train chips.

    experiment: whose they are.
    train: (m, D) of the train chips.
    tested: (m, D) of each set of test chips.
    """

    def __init__(self, X: NDArray[np.float32], experiment: Experiment) -> None:
        by = features.scaling(X, experiment.train)
        self.experiment = experiment
        self.train = features.scaled(X, by, experiment.train)
        self.tested = [
            features.scaled(X, by, tested.rows) if tested.vectors is None else features.scaled(tested.vectors, by)
            for tested in experiment.tested
        ]
