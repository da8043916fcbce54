"""Classifiers behind one protocol: a file each, and the one table that everything else reads.

A new one is a class here and a line in TABLE; fitting, predicting, saved probes, sweeps, help and completion follow.
No embeddings, no labels and no scores. Nothing heavy is imported before a classifier is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from geoembed.errors import ProbeError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from geoembed.fits.classifiers.protocol import Classifier


def _in(module: str, class_name: str) -> Callable[[str], Classifier]:
    """Return what makes a classifier of a module here, which is imported only then: help must not wait for numpy."""

    def make(name: str) -> Classifier:
        classifier: Classifier = getattr(import_module(f"{__name__}.{module}"), class_name)(name)
        return classifier

    return make


TABLE: dict[str, Callable[[str], Classifier]] = {
    "logistic": _in("logistic", "Logistic"),
    "ridge": _in("ridge", "Ridge"),
    "forest": _in("forest", "Forest"),
    "knn": _in("neighbours", "Neighbours"),
}
"""What makes each classifier, by the name that users, results and saved probes know it by."""


def require(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names asked for, each once; raises ProbeError for an unknown one, naming the nearest, and for none."""
    for name in names:
        if name not in TABLE:
            raise ProbeError(f"--classifier {name}: unknown{nearest(name, TABLE)}")
    if not names:
        raise ProbeError(f"--classifiers: names none; name some of {', '.join(TABLE)}, or leave it out")
    return tuple(dict.fromkeys(names))


def named(name: str, classes: int) -> Classifier:
    """Return the classifier of that name, or the one that takes its place for so many classes (0 for numbers).

    Raises ProbeError for an unknown name, naming the nearest, and where the classifier cannot learn such a target.
    """
    require((name,))
    return TABLE[name](name).for_target(classes)


def load_libraries(names: Iterable[str], classes: Iterable[int]) -> None:
    """Import what the classifiers call for such numbers of classes.

    Each library brings a BLAS or OpenMP of its own, whose threads can be limited only once it is loaded.
    """
    numbers = set(classes)
    for name in names:
        for number in numbers:
            for library in named(name, number).libraries(number):
                import_module(library)
