"""What a classifier can do, and what it has learned.

Every classifier gives probabilities under the classes' shares among the labels it learned from. A chip is given the
likeliest class, which is right most often, or the class whose probability is highest compared with its share, which is
what maximises balanced accuracy: a rare class is then predicted from probabilities well below a half. Weighing the
classes while fitting instead cost balanced accuracy: 0.742 against 0.749 (the data of `linear`, 10 to 400 labels, 4
draws, the same choice of penalty for both).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.fits import linear

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from geoembed.fits.linear import Design


RULES = LIKELIEST, BALANCED = ("likeliest", "balanced")
"""How a class is chosen: the highest probability, or the highest relative to the class's share among the labels."""


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier.

    classifier: what fitted it, and predicts with it.
    classes: how many there are; 0 where it predicts numbers.
    prior: (classes,) their shares among the labels learned from; a class without labels has 0 and is never predicted.
    penalty: the regularisation chosen, in the classifier's own terms; NaN where it has none.
    arrays: what the classifier predicts from, by name.
    """

    classifier: Classifier
    classes: int
    prior: NDArray[np.float64]
    penalty: float
    arrays: Mapping[str, NDArray[Any]]

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Predict N chips from features (N, D) scaled as in fitting: probabilities (N, classes), or (N,) numbers."""
        return self.classifier.predict(self, X)

    def decide(self, p: NDArray[np.float64], rule: str = BALANCED) -> NDArray[np.int64]:
        """Return the classes predicted, (N,), from probabilities (N, classes), by one of RULES."""
        if rule == BALANCED:
            p = np.divide(p, self.prior, out=np.full_like(p, -1.0), where=self.prior > 0)
        return np.asarray(p.argmax(axis=1), dtype=np.int64)


class Classifier(ABC):
    """A kind of model that learns from few labels; `name` is its name in the table, which makes it."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def fit(self, X: NDArray[np.float32], values: NDArray[np.float64], classes: int, seed: int) -> Fitted:
        """Fit one model on features X (n, D) with mean 0 and deviation 1.

        `values` (n,) are numbers, or positions of classes where `classes` is above 0; there are two classes or more
        among them. The same seed gives the same model.
        """

    @abstractmethod
    def predict(self, fitted: Fitted, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Predict as `Fitted.predict` does, from nothing but what `fitted` holds, which may come from a file."""

    def check(self, fitted: Fitted, width: int) -> None:
        """Raise ValueError, or what predicting does, where `fitted` predicts nothing from features of so many columns.

        It may come from a file that anybody wrote.
        """
        p = self.predict(fitted, np.zeros((2, width), np.float32))
        if p.shape != ((2, fitted.classes) if fitted.classes else (2,)) or not np.isfinite(p).all():
            raise ValueError(f"{self.name} does not predict {fitted.classes} classes from {width} features")

    def for_target(self, classes: int) -> Classifier:
        """Return what learns so many classes, 0 for numbers: this classifier, or another where this one cannot.

        Raises ProbeError where none can.
        """
        return self

    def libraries(self, classes: int) -> tuple[str, ...]:
        """Return the modules that fitting and predicting import, so that their threads can be limited beforehand."""
        return ()

    def fitted(
        self,
        values: NDArray[np.float64],
        classes: int,
        arrays: Mapping[str, NDArray[Any]],
        penalty: float = float("nan"),
    ) -> Fitted:
        """Return what was learned from these labels, with the classes' shares among them."""
        prior = np.bincount(values.astype(np.int64), minlength=classes) / len(values) if classes else np.empty(0)
        return Fitted(self, classes, prior, penalty, arrays)


class Batched(Classifier):
    """A classifier that fits many draws, or many tasks on the same labelled chips, at once on one linear design."""

    @abstractmethod
    def fit_together(
        self,
        design: Design,
        values: NDArray[np.float64],
        classes: int,
        penalties: NDArray[np.float64] | None = None,
        start: Sequence[Fitted] | None = None,
    ) -> list[Fitted]:
        """Fit one model per row of `values` (B, n), each on a draw of the design's B, or all on its one.

        Without `penalties` (B,), as `ridge_penalty` gives them, each chooses its own. `start` are models that this
        classifier fitted to fewer labels of the same tasks.
        """

    @abstractmethod
    def ridge_penalty(self, fitted: Fitted) -> float:
        """Return the penalty chosen as that of a ridge regression on -1 and 1, the terms that all share in a sweep."""

    def fit(self, X: NDArray[np.float32], values: NDArray[np.float64], classes: int, seed: int) -> Fitted:
        """Fit one model, as a batch of one; there is nothing random in it."""
        return self.fit_together(linear.design(X), values[None], classes)[0]
