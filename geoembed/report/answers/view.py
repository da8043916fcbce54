"""Findings as the report looks at them: which curves and comparisons it is about, and how they are told."""

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

    from geoembed.fits.comparisons import Comparison
    from geoembed.fits.curves import Curve, Point
    from geoembed.report.findings import Findings

TASK = ("task", "features", "classifier")
FUSED, CONCAT = "fused", "concat"
SOURCES = {
    "statistics": "chip statistics",
    "mosaiks": "random convolutions",
    "untrained": "the untrained encoder",
}


def source_name(source: str) -> str:
    """Return what people call a source of features."""
    return SOURCES.get(source, source)


def named(task: str, metric: str) -> str:
    """Return a task's name in a table, with its metric where that is not balanced accuracy."""
    return f"{task} (R²)" if metric == "r2" else task


class _Featured(Protocol):
    @property
    def features(self) -> str: ...


UNTOLD = "without a verdict (one draw)"

F = TypeVar("F", bound=_Featured)


def pooled(curves: Sequence[Curve]) -> list[Curve]:
    """Return the curves of the headline metrics of all areas together, or of the only area."""
    headline = [curve for curve in curves if curve.metric in HEADLINES]
    places = {curve.aoi for curve in headline}
    return [curve for curve in headline if curve.aoi == ALL or len(places) == 1]


def best(curves: Sequence[Curve]) -> list[Curve]:
    """Return the curves that the answer is about: the first classifier on fused, else on the last features."""
    own = [curve for curve in pooled(curves) if curve.source == OURS]
    return [curve for curve in preferred(own) if curve.classifier == own[0].classifier]


def preferred(items: Sequence[F], *names: str) -> list[F]:
    """Return the items of one kind of features: of the first name that has any, then fused, concat, or the last."""
    there = [item.features for item in items]
    for name in (*names, FUSED, CONCAT, *there[-1:]):
        if name in there:
            return [item for item in items if item.features == name]
    return []


@dataclass(frozen=True)
class Panel:
    """One task and one classifier: what a small chart is about."""

    task: str
    classifier: str
    title: str


@dataclass(frozen=True)
class View:
    """Findings, the curves of all areas together, and the features that sentences are about."""

    found: Findings
    curves: tuple[Curve, ...]
    features: str
    several: bool  # classifiers

    @classmethod
    def of(cls, found: Findings) -> View:
        """Look at findings."""
        curves, chosen = pooled(found.curves), best(found.curves)
        kinds = {curve.classifier for curve in found.curves}
        return cls(found, tuple(curves), chosen[0].features if chosen else FUSED, len(kinds) > 1)

    @property
    def own(self) -> list[Curve]:
        """Return the curves of the embeddings themselves."""
        return [curve for curve in self.curves if curve.source == OURS]

    @property
    def classifier(self) -> str:
        """Return the classifier that sentences are about."""
        return self.own[0].classifier if self.own else ""

    def panels(self, items: Sequence[Curve] | Sequence[Comparison]) -> list[Panel]:
        """Return the tasks and classifiers of some findings, in their order."""
        pairs = dict.fromkeys((item.classifier, item.task) for item in items)
        return [Panel(task, kind, self.title(task, kind)) for kind, task in sorted(pairs, key=lambda pair: pair[0])]

    def title(self, task: str, classifier: str) -> str:
        """Return a chart's title, which names the classifier where there are several."""
        return f"{task} ({classifier})" if self.several else task

    def comparisons(self, question: str) -> list[Comparison]:
        """Return the comparisons of a question in the headline metrics; but for transfer, of all areas together."""
        asked = [one for one in self.found.comparisons if one.question == question and one.metric in HEADLINES]
        places = {one.aoi for one in asked}
        return asked if question == "transfer" else [one for one in asked if one.aoi == ALL or len(places) == 1]

    def at_n(self, comparisons: Sequence[Comparison]) -> list[Comparison]:
        """Return the comparisons at n labels; where there is none at all, as areas have fewer, those at all labels."""
        return [one for one in comparisons if not one.whole] or [one for one in comparisons if one.whole]

    def said_of(self, comparisons: Sequence[Comparison]) -> list[Comparison]:
        """Return the comparisons that a sentence is about: at n labels, of the view's features and classifier."""
        chosen = preferred(self.at_n(comparisons), self.features)
        kinds = [one.classifier for one in chosen]
        kind = self.classifier if self.classifier in kinds else kinds[0] if kinds else ""
        return [one for one in chosen if one.classifier == kind]

    def at(self, said: Sequence[Comparison]) -> str:
        """Return at how many labels that is, to begin a sentence with."""
        return "With all labels of each side" if said[0].whole else f"At {said[0].n:,} labels"

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


def verdict(difference: Point, above: str = "ahead", below: str = "behind", neither: str = "level") -> str:
    """Say whether an interval lies above, below or across zero; nothing where there is no interval."""
    if math.isnan(difference.low):
        return ""
    return above if difference.low > 0 else below if difference.high < 0 else neither


def balance(comparisons: Sequence[Comparison], above: str, below: str, neither: str) -> str:
    """Say on how many tasks differences lie above zero, across it, or below it; of the last, which tasks."""
    told: dict[str, list[Comparison]] = {above: [], neither: [], below: [], UNTOLD: []}
    for one in comparisons:
        told[verdict(one.difference, above, below, neither) or UNTOLD].append(one)
    said = []
    for word, members in told.items():
        if not members:
            continue
        each = [f"{one.task} by {amount(one.difference.mean, one.metric)}" for one in members]
        sizes = sized(members) if word == above and len(members) > 2 else ", ".join(each)
        if len(comparisons) == 1:
            said.append(f"{word} on {each[0] if word in (above, below) else members[0].task}")
        else:
            count = f"{len(members)} of {len(comparisons)}"
            if len(members) == len(comparisons):
                count = "both" if len(members) == 2 else f"all {len(comparisons)}"
            said.append(f"{word} on {count} tasks" + (f" ({sizes})" if word in (above, below) else ""))
    return listed(said)


def sized(comparisons: Sequence[Comparison]) -> str:
    """Return the least and the largest size of differences in words, per metric."""
    said = []
    for metric in dict.fromkeys(one.metric for one in comparisons):
        sizes = sorted(abs(one.difference.mean) for one in comparisons if one.metric == metric)
        words = dict.fromkeys(amount(size, metric) for size in (sizes[0], sizes[-1]))
        said.append(" to ".join(words).replace(" points to", " to").replace(" of R² to", " to"))
    return f"by {', '.join(said)}"


def mean_change(comparisons: Sequence[Comparison]) -> str:
    """Return the mean difference with its sign in words, per metric."""
    sizes: dict[str, list[float]] = {}
    for one in comparisons:
        if not math.isnan(one.difference.mean):
            sizes.setdefault(one.metric, []).append(one.difference.mean)
    return listed([change(sum(each) / len(each), metric) for metric, each in sizes.items()])
