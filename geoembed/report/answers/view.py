"""Findings as the report looks at them: which curves and comparisons it is about, and how they are put in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from geoembed.fits.curves import OURS
from geoembed.fits.metrics import HEADLINES
from geoembed.ground.aoi import ALL
from geoembed.report.charts import Look, Series, looks
from geoembed.report.markup import amount, change, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoembed.evaluation.findings import Findings
    from geoembed.fits.comparisons import Comparison
    from geoembed.fits.curves import Curve, Point

TASK = ("task", "features", "classifier")
FUSED, CONCAT = "fused", "concat"
SOURCES = {
    "statistics": "chip statistics",
    "mosaiks": "random convolutions",
    "untrained": "the untrained encoder",
}


def source_name(source: str) -> str:
    """Return the name of a source of features in sentences and tables."""
    return SOURCES.get(source, source)


def named(task: str, metric: str) -> str:
    """Return a task's name in a table, with its metric where that is not balanced accuracy."""
    return f"{task} (R²)" if metric == "r2" else task


class _Featured(Protocol):
    @property
    def features(self) -> str: ...


NO_VERDICT = "without a verdict (one draw)"

F = TypeVar("F", bound=_Featured)


def pooled(curves: Sequence[Curve]) -> list[Curve]:
    """Return the curves of the headline metrics of all areas together, or of the only area."""
    headline = [curve for curve in curves if curve.metric in HEADLINES]
    places = {curve.aoi for curve in headline}
    return [curve for curve in headline if curve.aoi == ALL or len(places) == 1]


def best(curves: Sequence[Curve]) -> list[Curve]:
    """Return the curves that the answer is about: the first classifier on fused, else on the last features."""
    ours = [curve for curve in pooled(curves) if curve.source == OURS]
    return [curve for curve in preferred(ours) if curve.classifier == ours[0].classifier]


def preferred(items: Sequence[F], *names: str) -> list[F]:
    """Return the items of one kind of features: of the first name that has any, then fused, concat, or the last."""
    there = [item.features for item in items]
    for name in (*names, FUSED, CONCAT, *there[-1:]):
        if name in there:
            return [item for item in items if item.features == name]
    return []


@dataclass(frozen=True)
class Panel:
    """What a small chart is about: one task, one classifier, and its title."""

    task: str
    classifier: str
    title: str


@dataclass(frozen=True)
class View:
    """Findings, and what the report says of them.

    findings: all of them.
    curves: those of the headline metrics, of all areas together.
    features: the name of the features that sentences are about.
    several: whether there are several classifiers.
    """

    findings: Findings
    curves: tuple[Curve, ...]
    features: str
    several: bool

    @classmethod
    def of(cls, findings: Findings) -> View:
        """Look at findings."""
        curves, chosen = pooled(findings.curves), best(findings.curves)
        classifiers = {curve.classifier for curve in findings.curves}
        return cls(findings, tuple(curves), chosen[0].features if chosen else FUSED, len(classifiers) > 1)

    @property
    def ours(self) -> list[Curve]:
        """Return the curves of the embeddings themselves."""
        return [curve for curve in self.curves if curve.source == OURS]

    @property
    def classifier(self) -> str:
        """Return the classifier that sentences are about."""
        return self.ours[0].classifier if self.ours else ""

    def panels(self, items: Sequence[Curve] | Sequence[Comparison]) -> list[Panel]:
        """Return the tasks and classifiers of some findings, in their order."""
        pairs = dict.fromkeys((item.classifier, item.task) for item in items)
        return [Panel(task, kind, self.title(task, kind)) for kind, task in sorted(pairs, key=lambda pair: pair[0])]

    def title(self, task: str, classifier: str) -> str:
        """Return a chart's title, which names the classifier where there are several."""
        return f"{task} ({classifier})" if self.several else task

    def comparisons(self, question: str) -> list[Comparison]:
        """Return the comparisons of a question in the headline metrics, except for transfer of all areas together."""
        asked = [one for one in self.findings.comparisons if one.question == question and one.metric in HEADLINES]
        areas = {one.aoi for one in asked}
        return asked if question == "transfer" else [one for one in asked if one.aoi == ALL or len(areas) == 1]

    def at_n(self, comparisons: Sequence[Comparison]) -> list[Comparison]:
        """Return the comparisons at n labels; where there are none, as areas have fewer labels, those at all labels."""
        return [one for one in comparisons if not one.whole] or [one for one in comparisons if one.whole]

    def chosen(self, comparisons: Sequence[Comparison]) -> list[Comparison]:
        """Return the comparisons that a sentence is about: at n labels, of the view's features and classifier."""
        chosen = preferred(self.at_n(comparisons), self.features)
        classifiers = [one.classifier for one in chosen]
        classifier = self.classifier if self.classifier in classifiers else next(iter(classifiers), "")
        return [one for one in chosen if one.classifier == classifier]

    def setting(self, chosen: Sequence[Comparison]) -> str:
        """Return the number of labels and the features of comparisons, to begin a sentence with."""
        labels = "all labels of each side" if chosen[0].whole else f"{chosen[0].n:,} labels"
        return f"With {labels} and {chosen[0].features} features"

    def kind(self, classifier: str) -> str:
        """Return a classifier where there are several, else nothing."""
        return classifier if self.several else ""


def lines(curves: Sequence[Curve], names: Sequence[str], like: Sequence[str]) -> list[Series]:
    """Return learning curves as lines to draw, each under its name, with the look of the name in `like`."""
    shown: dict[str, Look] = looks(like)
    series = []
    for curve, name, key in zip(curves, names, like, strict=True):
        points = (*curve.points, *([curve.full] if curve.full else []))
        series.append(Series(name, shown[key], tuple(point.n for point in points), points, curve.full is not None))
    return series


def times(point: Point, factor: float) -> Point:
    """Return a point in another unit."""
    return replace(point, mean=point.mean * factor, low=point.low * factor, high=point.high * factor)


UNCLEAR = "without a clear difference"
"""What differences are whose interval includes zero."""


def verdict(difference: Point, above: str = "better", below: str = "worse") -> str:
    """Say whether an interval lies above, below or across zero; nothing where there is no interval."""
    if math.isnan(difference.low):
        return ""
    return above if difference.low > 0 else below if difference.high < 0 else UNCLEAR


def balance(comparisons: Sequence[Comparison], above: str, below: str) -> str:
    """Say on how many tasks differences lie above zero, across it, or below it, and how large clear ones are."""
    by_verdict: dict[str, list[Comparison]] = {above: [], UNCLEAR: [], below: [], NO_VERDICT: []}
    for comparison in comparisons:
        by_verdict[verdict(comparison.difference, above, below) or NO_VERDICT].append(comparison)
    parts = []
    for word, members in by_verdict.items():
        clear = word in (above, below)
        each = [f"{one.task} by {amount(one.difference.mean, one.metric)}" for one in members]
        if members and len(comparisons) == 1:
            parts.append(f"{word} on {each[0] if clear else members[0].task}")
        elif members:
            sizes = sized(members) if word == above and len(members) > 2 else ", ".join(each)
            parts.append(f"{word} on {_share(len(members), len(comparisons))} tasks{f' ({sizes})' if clear else ''}")
    return listed(parts)


def _share(count: int, whole: int) -> str:
    """Return how many of several are meant: both, all of them, or some."""
    return f"{count} of {whole}" if count < whole else "both" if count == 2 else f"all {count}"


def sized(comparisons: Sequence[Comparison]) -> str:
    """Return the smallest and the largest size of differences in words, for each metric."""
    parts = []
    for metric in dict.fromkeys(one.metric for one in comparisons):
        sizes = sorted(abs(one.difference.mean) for one in comparisons if one.metric == metric)
        words = dict.fromkeys(amount(size, metric) for size in (sizes[0], sizes[-1]))
        parts.append(" to ".join(words).replace(" points to", " to").replace(" of R² to", " to"))
    return f"by {', '.join(parts)}"


def mean_change(comparisons: Sequence[Comparison]) -> str:
    """Return the mean difference with its sign in words, for each metric."""
    sizes: dict[str, list[float]] = {}
    for comparison in comparisons:
        if not math.isnan(comparison.difference.mean):
            sizes.setdefault(comparison.metric, []).append(comparison.difference.mean)
    return listed([change(sum(each) / len(each), metric) for metric, each in sizes.items()])
