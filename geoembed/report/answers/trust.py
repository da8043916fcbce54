"""Whether probabilities can be trusted: calibration, and accuracy against coverage."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from geoembed.report import charts
from geoembed.report.answers.view import View, preferred, times
from geoembed.report.markup import details, figure, give_or_take, grid, listed, paragraph, section, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoembed.fits.calibration import Trust


def trusted(view: View) -> str:
    """Answer whether a probability can be taken at its word."""
    trust = view.found.trust
    if not trust:
        return ""
    main = preferred(trust, view.features)
    said = [one for one in main if one.classifier == (view.classifier or main[0].classifier)] or main
    calibration = [figure(_title(one, view), _calibration(one, _title(one, view))) for one in main]
    coverage = [figure(_title(one, view), _coverage(one, _title(one, view))) for one in main]
    return section(
        "Can the probability be trusted?",
        _finding(said),
        paragraph(
            "What a probability says, against how often it came true: of the second class where there are two, else of"
            " the likeliest. A marker's area is the share of chips. On the dashed line, of chips that are given 80 %"
            " just 80 % are of the class; below it, probabilities say too much.",
            "quiet",
        ),
        grid(calibration),
        paragraph(
            "Accuracy where only the most confident chips are decided, and the others left to people. The dashed line"
            " is what saying always the most frequent class scores; the band is the 95 % interval over draws.",
            "quiet",
        ),
        grid(coverage),
        _table(main, view),
        paragraph(
            "ECE, the expected calibration error, is the mean distance of a draw's calibration curve from the dashed"
            " line, weighted by chips; the curves above are of all draws together. Brier is the mean squared error of"
            " the probabilities. Both are best at 0.",
            "quiet",
        ),
        details("Other features", _table([one for one in trust if one not in main], view)),
    )


def _finding(said: Sequence[Trust]) -> str:
    errors = [f"{100 * one.ece.mean:.1f} points on {one.task}" for one in said if not math.isnan(one.ece.mean)]
    halves = []
    for one in said:
        pairs = dict(zip(one.coverage, one.accuracy, strict=True))
        half = pairs.get(min(pairs, key=lambda share: abs(share - 0.5), default=0.0))
        if half and not math.isnan(half.mean):
            whole = f"{100 * one.accuracy[-1].mean:.0f} % over all"
            halves.append(f"{one.task} {100 * half.mean:.0f} % ({whole}, majority {100 * one.majority:.0f} %)")
    finding = (
        f"At {said[0].n:,} labels and with {said[0].features} features, a probability is off by"
        f" {listed(errors)} on average."
    )
    high = [f"{told} on {one.task}" for one in said if (told := _above_half(one))]
    finding += f" Above a half, it is too high by {listed(high)}." if high else ""
    return finding + (f" Accuracy on the more confident half of the chips: {listed(halves)}." if halves else "")


def _above_half(one: Trust) -> str:
    """Return in points how much the probabilities above a half exceed what came true; nothing where there are none."""
    bins = [(p, seen, w) for p, seen, w in zip(one.predicted, one.observed, one.share, strict=True) if w and p > 0.5]
    total = sum(weight for _, _, weight in bins)
    return f"{100 * sum((p - seen) * weight for p, seen, weight in bins) / total:.1f} points" if total else ""


def _title(one: Trust, view: View) -> str:
    return view.title(one.task, one.classifier)


def _calibration(one: Trust, title: str) -> str:
    return charts.reliability(
        f"{title}, calibration", one.predicted, one.observed, one.share, x="probability said", y="came true"
    )


def _coverage(one: Trust, title: str) -> str:
    points = tuple(times(point, 100) for point in one.accuracy)
    share = tuple(100 * share for share in one.coverage)
    return charts.lines(
        f"{title}, coverage",
        [charts.Series("accuracy", charts.looks(["embeddings"])["embeddings"], share, points)],
        x="most confident chips (%)",
        y="accuracy (%)",
        log=False,
        marks={"majority": 100 * one.majority},
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
