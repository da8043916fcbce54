"""Scores of single fits set beside those that they are to be compared with, in pairs by draw or apart."""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.fits import curves
from geoembed.fits.curves import NAN, NOTHING, OURS, WHOLE, Point

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from geoembed.fits.curves import Fit


@dataclass(frozen=True)
class Comparison:
    """One way of doing it beside another, at n labels: the mean scores over draws, and score - reference.

    question: which of the report's questions it answers:
        compared: score is the embeddings', reference that of `source`, paired by draw;
        split: score is on a random split, reference on the split by place; independent draws;
        transfer: score is trained in `aoi` and tested in `tested`, reference trained and tested in `tested`;
            independent draws. `aoi` is an area, or 'all but <tested>';
        missing: score is with the inputs that `tested` names removed from the test chips, reference with all; paired.
    source: whose features; for `compared`, what the embeddings are compared with.
    task: what was predicted.
    aoi: where the labels are from.
    tested: where the test chips are from, or what is missing in them.
    features: what the features are called.
    classifier: name of the classifier.
    metric: of the scores.
    score, reference: their means over draws.
    difference: score - reference, with its own interval.
    whole: it is at all labels that each side has, which need not be as many.
    """

    question: str
    source: str
    task: str
    aoi: str
    tested: str
    features: str
    classifier: str
    metric: str
    score: Point
    reference: Point
    difference: Point
    whole: bool = False

    @property
    def n(self) -> int:
        """Return the number of labels."""
        return self.score.n


def of_fits(fits: Iterable[Fit], n: int, headline: Callable[[str], str]) -> list[Comparison]:
    """Set fits beside those that they are to be compared with, in the task's headline metric.

    At n labels where both sides have as many, and at all that each side has.
    """
    groups: dict[tuple[str, ...], dict[int, dict[int, Fit]]] = defaultdict(lambda: defaultdict(dict))
    for fit in fits:
        of = (fit.question, fit.source, fit.task, fit.aoi, fit.tested, fit.features, fit.classifier)
        groups[of][WHOLE if fit.whole else fit.n][fit.seed] = fit
    comparisons = []
    for key, group in groups.items():
        for question, key_beside, paired, is_score in _asked(key):
            beside = groups.get(key_beside, {})
            for size in (n, WHOLE):
                if size in group and size in beside:
                    sides = (group[size], beside[size]) if is_score else (beside[size], group[size])
                    named_after = next(iter(group[size].values()))
                    comparisons.append(_compared(question, headline(named_after.task), named_after, *sides, paired))
    return comparisons


def _asked(key: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...], bool, bool]]:
    """Yield question, the key of what fits are compared with, whether by draw, and whether they are the score of it."""
    question, source, task, aoi, tested, features, classifier = key
    rest = (features, classifier)
    if question == "curve" and source != OURS:
        yield "compared", ("curve", OURS, task, aoi, tested, *rest), True, False
    if question == "split":
        yield "split", ("curve", source, task, aoi, tested, *rest), False, True
    if question == "transfer":
        yield "transfer", ("curve", source, task, tested, tested, *rest), False, True
    if question == "missing" and tested != NOTHING:
        yield "missing", ("missing", source, task, aoi, NOTHING, *rest), True, True


def _compared(
    question: str, metric: str, named_after: Fit, scores: dict[int, Fit], references: dict[int, Fit], paired: bool
) -> Comparison:
    """Compare the fits of two sides, by seed; `named_after` is one of the side that the comparison is named after."""
    ours, theirs = ({seed: fit.scores[metric] for seed, fit in side.items()} for side in (scores, references))
    n, m = (next(iter(side.values())).n for side in (scores, references))
    return Comparison(
        question, named_after.source, named_after.task, named_after.aoi, named_after.tested, named_after.features,
        named_after.classifier, metric, curves.point(n, list(ours.values())), curves.point(m, list(theirs.values())),
        difference(n, ours, theirs, paired=paired), named_after.whole,
    )  # fmt: skip


def difference(n: int, scores: dict[int, float], references: dict[int, float], *, paired: bool) -> Point:
    """Return the mean of scores - references, both by seed, and its 95 % t-interval over draws.

    Paired, only seeds that both have count; else the interval is Welch's (1947, Biometrika 34).
    """
    from scipy import stats

    if paired:
        both = sorted(scores.keys() & references.keys())
        return curves.point(n, [scores[seed] - references[seed] for seed in both] or [NAN])
    a, b = np.array(list(scores.values())), np.array(list(references.values()))
    draws, mean = min(len(a), len(b)), float(a.mean() - b.mean())
    if draws < 2:
        return Point(n, draws, mean, NAN, NAN)
    if a.var() + b.var() == 0:
        return Point(n, draws, mean, mean, mean)
    with warnings.catch_warnings():
        # scipy warns where one side's draws are alike, as at a score of 1; the interval is right all the same.
        warnings.simplefilter("ignore", RuntimeWarning)
        low, high = stats.ttest_ind(a, b, equal_var=False).confidence_interval(curves.CONFIDENCE)
    return Point(n, draws, mean, float(low), float(high))


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as summary.json holds it."""
    words = {key: value for key, value in vars(comparison).items() if isinstance(value, str | bool)}
    points = ("score", "reference", "difference")
    return words | {key: curves.point_to_json(getattr(comparison, key)) for key in points}
