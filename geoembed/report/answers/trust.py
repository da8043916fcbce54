"""Whether probabilities can be trusted: calibration, and accuracy over coverage."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from geoembed.report import charts
from geoembed.report.answers.view import View, preferred, times
from geoembed.report.markup import details, figure, give_or_take, grid, grid_with, listed, paragraph, section, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoembed.fits.calibration import Trust


def trusted(view: View) -> str:
    """Answer whether probabilities come true as often as they say."""
    trust = view.findings.trust
    if not trust:
        return ""
    main = preferred(trust, view.features)
    chosen = [one for one in main if one.classifier == (view.classifier or main[0].classifier)] or main
    calibration = [figure(_title(one, view), _calibration(one, _title(one, view))) for one in main]
    coverage = [figure(_title(one, view), _coverage(one, _title(one, view))) for one in main]
    return section(
        "Can the probability be trusted?",
        _finding(chosen),
        paragraph(
            "How often predicted probabilities come true: of the second class where there are two, else of the"
            " likeliest class. A marker's area is the share of chips. On the dashed line, 80 % of the chips that are"
            " given 80 % are of the class; below the line probabilities are too high, above it too low.",
            "quiet",
        ),
        grid_with(
            calibration,
            "Accuracy of the most confident chips",
            grid(coverage)
            + paragraph(
                "Accuracy when only the most confident chips are classified and the others are left to people. The"
                " dashed line is the accuracy of always saying the most frequent class; the band is the 95 % interval"
                " over draws.",
                "quiet",
            ),
        ),
        details(
            "Calibration error and Brier score",
            _table(main, view)
            + paragraph(
                "The expected calibration error (ECE) is the mean distance between a draw's calibration curve and the"
                " dashed line, weighted by the number of chips; the curves above are of all draws together. Brier is"
                " the mean squared error of the probabilities. Both are best at 0.",
                "quiet",
            ),
        ),
        details("Other features", _table([one for one in trust if one not in main], view)),
    )


def _finding(chosen: Sequence[Trust]) -> str:
    errors = [f"{100 * one.ece.mean:.1f} points on {one.task}" for one in chosen if not math.isnan(one.ece.mean)]
    parts = [
        f"With {chosen[0].n:,} labels and {chosen[0].features} features, probabilities differ from how often they come"
        f" true by {listed(errors)}, on average over all chips."
    ]
    above_half = [(one, excess) for one in chosen if not math.isnan(excess := _above_half(one))]
    if above_half:
        parts.append(
            f"Probabilities above 50 % are {listed([f'{_excess(size)} on {one.task}' for one, size in above_half])}."
        )
    if any(one.classes == 2 and abs(size) > 2 * one.ece.mean for one, size in above_half):
        parts.append(
            "Both are true: most chips are surely not of the class, and rightly so, and in the average they outweigh"
            " the few above 50 %."
        )
    halves = list(filter(None, map(_confident_half, chosen)))
    parts.append(f"Of the more confident half of the chips, {listed(halves)}." if halves else "")
    return " ".join(filter(None, parts))


def _above_half(trust: Trust) -> float:
    """Return by how much the probabilities above one half are too high; NaN where there are none."""
    bins = zip(trust.predicted, trust.observed, trust.share, strict=True)
    high = [(p, seen, weight) for p, seen, weight in bins if weight and p > 0.5]
    if not high:
        return math.nan
    return sum((p - seen) * weight for p, seen, weight in high) / sum(weight for _, _, weight in high)


def _excess(size: float) -> str:
    points = f"{100 * abs(size):.1f}"
    return "neither too high nor too low" if points == "0.0" else f"{points} points too {'high' if size > 0 else 'low'}"


def _confident_half(trust: Trust) -> str:
    """Return the accuracy on the more confident half of the chips beside that on all; nothing where there is none."""
    by_coverage = dict(zip(trust.coverage, trust.accuracy, strict=True))
    half = by_coverage.get(min(by_coverage, key=lambda share: abs(share - 0.5), default=0.0))
    if half is None or math.isnan(half.mean):
        return ""
    majority = f"always naming the most frequent class: {100 * trust.majority:.0f} %"
    beside = f"of all chips {100 * trust.accuracy[-1].mean:.0f} %; {majority}"
    return f"{100 * half.mean:.0f} % are right on {trust.task} ({beside})"


def _title(trust: Trust, view: View) -> str:
    return view.title(trust.task, trust.classifier)


def _calibration(trust: Trust, title: str) -> str:
    return charts.reliability(
        f"{title}, calibration", trust.predicted, trust.observed, trust.share, x="predicted probability", y="came true"
    )


def _coverage(trust: Trust, title: str) -> str:
    points = tuple(times(point, 100) for point in trust.accuracy)
    share = tuple(100 * share for share in trust.coverage)
    return charts.lines(
        f"{title}, coverage",
        [charts.Series("accuracy", charts.looks(["embeddings"])["embeddings"], share, points)],
        x="most confident chips (%)",
        y="accuracy (%)",
        log=False,
        marks={"majority": 100 * trust.majority},
        ceiling=101,
    )


def _table(trust: Sequence[Trust], view: View) -> str:
    rows = [
        (
            one.task,
            one.features,
            view.kind(one.classifier),
            f"{one.n:,}",
            give_or_take(one.ece),
            give_or_take(one.brier),
        )
        for one in trust
    ]
    return table(["task", "features", "classifier", "labels", "ECE", "Brier"], rows, 3)
