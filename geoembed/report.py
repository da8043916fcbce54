"""The page that tells what an evaluation found: one HTML file that opens offline, with the curves drawn as SVG.

Charts are written by hand rather than by a plotting library: their text then stays text that scales, prints and is
read aloud, and each is narrow enough for a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from geoembed.curves import LEVELS, Curve, Point
from geoembed.styles import BLUE, GREEN, GREY, ORANGE, PINK, SKY, VERMILION

WIDTH, HEIGHT = 400, 290
LEFT, RIGHT, TOP, BOTTOM = 46, 18, 12, 46

# Colour, dashes and marker all tell the features apart, so that print in grey does, too.
_LOOKS = ((GREEN, "6 3"), (ORANGE, "2 3"), (PINK, "8 3 2 3"), (SKY, "1 2"), (GREY, "10 4"))
_FIXED = {"fused": (BLUE, ""), "concat": (VERMILION, "4 2")}

_STYLE = """
:root{color-scheme:light}
body{font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff;margin:0 auto;max-width:72rem;padding:1rem}
h1{font-size:1.5rem;line-height:1.3;font-weight:650;margin:.5rem 0 1rem;max-width:46rem}
h2{font-size:1.15rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:.2rem 0}
p,li{max-width:46rem}.quiet{color:#555;font-size:.9rem}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1rem}
figure{margin:0;break-inside:avoid}figure svg{width:100%;height:auto;display:block}
svg text{font:13px system-ui,sans-serif;fill:#333}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;padding:0;margin:.5rem 0 1rem;list-style:none}
.legend svg{width:34px;height:12px;vertical-align:middle;margin-right:.4rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .5rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}
th{font-weight:600;border-bottom-color:#888}.name{text-align:left}small{color:#666;font-size:.8em}
.name:first-child{position:sticky;left:0;background:#fff}
summary{cursor:pointer;font-weight:600;margin:1.5rem 0 .5rem}
@media print{body{max-width:none;font-size:11pt}.scroll{overflow:visible}summary{list-style:none}}
@media (max-width:30rem){h1{font-size:1.25rem}th,td{padding:.25rem .4rem}}
"""


@dataclass(frozen=True)
class Facts:
    """What the page says of the data: chips per split, classes and labelled chips per task, counts, and origins."""

    chips: dict[str, int]
    tasks: dict[str, tuple[tuple[Any, ...], int]]
    counts: dict[str, int]
    repeats: int
    seed: int
    embeddings: str
    model: str


def best(pooled: Sequence[Curve]) -> list[Curve]:
    """Return the curves that the answer is about: the first classifier on fused, else on the last features."""
    if not pooled:
        return []
    names = [curve.features for curve in pooled]
    name = "fused" if "fused" in names else names[-1]
    return [curve for curve in pooled if curve.features == name and curve.classifier == pooled[0].classifier]


def answer(pooled: Sequence[Curve]) -> str:
    """Answer in one sentence how many labels are enough, from the curves of all areas together."""
    chosen = [curve for curve in best(pooled) if curve.full is not None and curve.enough(LEVELS[0]) is not None]
    if not chosen:
        return "How many labels are enough cannot be told: no task has a full-label score to compare with."
    features, whole = chosen[0].features, max(curve.full.n for curve in chosen if curve.full)
    fewer = {curve.task: curve.enough(LEVELS[0]) or 0 for curve in chosen if curve.enough(LEVELS[0]) != _all(curve)}
    if not fewer:
        return f"No number of labels tried below all {whole:,} reaches 95 % of the score that all give ({features})."
    least, most = min(fewer.values()), max(fewer.values())
    span = f"{most:,} labels" if least == most else f"{least:,} to {most:,} labels, depending on the task,"
    rest = [curve.task for curve in chosen if curve.task not in fewer]
    where = "" if len(chosen) == 1 else " on every task" if not rest else f" on {len(fewer)} of {len(chosen)} tasks"
    where = where or f" on {chosen[0].task}"
    tail = f"; {', '.join(rest)} need{'s' if len(rest) == 1 else ''} them all" if rest else ""
    share = 100 * (1 - most / whole)
    return (
        f"{span} reach 95 % of the score of all {whole:,}{where}{tail}"
        f" ({features} embeddings, at least {share:.0f} % fewer labels)."
    )


def _all(curve: Curve) -> int:
    return curve.full.n if curve.full else 0


def html(answer: str, headline: Sequence[Curve], facts: Facts) -> str:
    """Return the page from the answer and the curves of the headline metrics, those of all areas first."""
    place = headline[0].aoi
    pooled = [curve for curve in headline if curve.aoi == place]
    areas = list(dict.fromkeys(curve.aoi for curve in headline))
    where = "all areas together" if place == "all" else place
    kinds = list(dict.fromkeys(curve.classifier for curve in headline))
    looks = _looks(pooled)
    charts = []
    for kind in kinds:
        for task in dict.fromkeys(curve.task for curve in pooled):
            lines = [curve for curve in pooled if curve.task == task and curve.classifier == kind]
            if any(not math.isnan(point.mean) for line in lines for point in _points(line)):
                charts.append(_figure(lines, looks, kind if len(kinds) > 1 else ""))
    return "".join(
        [
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>How many labels are enough?</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(answer).replace(' %', '&nbsp;%')}</h1>",
            f'<p class="quiet">Scores on the spatial test split, {escape(where)}.'
            f" Lines are means over {facts.repeats} draws of labels; bands are 95 % t-intervals over draws,"
            " that is the uncertainty of which labels are drawn."
            " The last point of a line is the score with all labels.</p>",
            _legend(looks),
            f'<div class="charts">{"".join(charts)}</div>',
            f"<h2>How many labels are enough?</h2>{_enough_table(pooled, len(kinds) > 1)}",
            '<p class="quiet">The least number of labels from which on every mean reaches 95 % and 99 % of the score'
            " with all labels. R2 at or below 0 has no such share.</p>",
            f"<h2>Scores</h2>{_scores_table(pooled, len(kinds) > 1)}",
            _by_area(headline, areas) if len(areas) > 1 else "",
            _measured(facts),
            "</body></html>\n",
        ]
    )


def _looks(curves: Sequence[Curve]) -> dict[str, tuple[str, str]]:
    names = list(dict.fromkeys(curve.features for curve in curves))
    free = iter(_LOOKS * (1 + len(names) // len(_LOOKS)))
    return {name: _FIXED[name] if name in _FIXED else next(free) for name in names}


def _legend(looks: dict[str, tuple[str, str]]) -> str:
    items = "".join(
        f'<li><svg viewBox="0 0 34 12" aria-hidden="true"><line x1="0" y1="6" x2="34" y2="6" stroke="{colour}"'
        f' stroke-width="{_stroke(name)}" stroke-dasharray="{dash}"/><circle cx="17" cy="6" r="3.5" fill="{colour}"/>'
        f"</svg>{escape(name)}</li>"
        for name, (colour, dash) in looks.items()
    )
    return f'<ul class="legend">{items}</ul>'


def _stroke(name: str) -> float:
    return 3 if name == "fused" else 1.8


def _metric(name: str) -> str:
    return {"r2": "R2", "rmse": "RMSE"}.get(name, name.replace("_", " "))


def _figure(lines: Sequence[Curve], looks: dict[str, tuple[str, str]], kind: str) -> str:
    """Draw the learning curves of one task: score against number of labels (logarithmic)."""
    sizes = sorted({point.n for line in lines for point in _points(line)})
    bottom, top, step = _range(lines)
    low, high = math.log10(sizes[0]), math.log10(max(sizes[-1], sizes[0] + 1))

    def x(n: float) -> float:
        return LEFT + (math.log10(n) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (top - min(max(value, bottom), top)) / (top - bottom) * (HEIGHT - TOP - BOTTOM)

    parts = []
    for i in range(round((top - bottom) / step) + 1):
        value = bottom + i * step
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#e3e3e3"/>'
        )
        parts.append(f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for n in _ticks(sizes, x):
        parts.append(
            f'<line x1="{x(n):.1f}" x2="{x(n):.1f}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM + 5}" stroke="#666"/>'
        )
        parts.append(f'<text x="{x(n):.1f}" y="{HEIGHT - BOTTOM + 19}" text-anchor="middle">{_short(n)}</text>')
    last = sorted(lines, key=lambda line: line.features == "fused")  # drawn over the others
    parts += [_line(line, *looks[line.features], x, y) for line in last]
    metric = _metric(lines[0].metric)
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">number of labels</text>'
    )
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text transform="translate(11 {middle}) rotate(-90)" text-anchor="middle">{metric}</text>')
    title = f"{lines[0].task}{f' ({kind})' if kind else ''}"
    return (
        f'<figure><h3>{escape(title)}</h3><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' aria-label="{escape(_alternative(title, metric, lines))}">{"".join(parts)}</svg></figure>'
    )


def _points(line: Curve) -> list[Point]:
    return [*line.points, *([line.full] if line.full else [])]


def _line(line: Curve, colour: str, dash: str, x: Any, y: Any) -> str:
    points = [point for point in _points(line) if not math.isnan(point.mean)]
    band = [point for point in points if not math.isnan(point.low)]
    outline = [f"{x(point.n):.1f},{y(point.high):.1f}" for point in band]
    outline += [f"{x(point.n):.1f},{y(point.low):.1f}" for point in reversed(band)]
    path = " ".join(f"{x(point.n):.1f},{y(point.mean):.1f}" for point in points)
    dots = "".join(
        f'<circle cx="{x(point.n):.1f}" cy="{y(point.mean):.1f}" r="3"'
        f' fill="{"#fff" if point is line.full else colour}" stroke="{colour}" stroke-width="1.5"/>'
        for point in points
    )
    return (
        f'<polygon points="{" ".join(outline)}" fill="{colour}" opacity="0.13"/>'
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{_stroke(line.features)}"'
        f' stroke-dasharray="{dash}"/>{dots}'
    )


def _range(lines: Sequence[Curve]) -> tuple[float, float, float]:
    """Return bottom, top and step of the value axis, at round numbers; shares end at 1."""
    points = [point for line in lines for point in _points(line) if not math.isnan(point.mean)]
    lowest = min(min(point.mean, point.mean if math.isnan(point.low) else point.low) for point in points)
    highest = max(point.mean for point in points)
    if lines[0].metric == "rmse":
        lowest, highest = 0.0, max(highest, 1e-9)
    elif lines[0].metric == "r2":
        lowest, highest = min(max(lowest, -0.5), 0.9), 1.0
    else:
        lowest, highest = min(max(lowest, 0.0), 0.9), 1.0
    rough = (highest - lowest) / 6
    scale = 10.0 ** math.floor(math.log10(max(rough, 1e-12)))
    step = next(m * scale for m in (1, 2, 5, 10) if m * scale >= rough)
    return math.floor(lowest / step + 1e-9) * step, math.ceil(highest / step - 1e-9) * step, step


def _ticks(sizes: Sequence[int], x: Any) -> list[int]:
    """Return the sizes that have room for their number, the last first of all."""
    kept = [sizes[-1]]
    for n in reversed(sizes[:-1]):
        if x(kept[-1]) - x(n) >= 32:
            kept.append(n)
    return kept


def _short(n: int) -> str:
    return f"{n / 1000:.2g}k" if 1000 <= n < 99_500 else f"{n / 1000:.0f}k" if n >= 99_500 else str(n)


def _alternative(title: str, metric: str, lines: Sequence[Curve]) -> str:
    told = []
    for line in lines:
        points = _points(line)
        told.append(
            f"{line.features} {points[0].mean:.2f} at {points[0].n} labels to {points[-1].mean:.2f} at {points[-1].n}"
        )
    return f"{title}: mean {metric} against number of labels. {'; '.join(told)}."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], names: int) -> str:
    """Return an HTML table whose first `names` columns are text."""

    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=name' if i < names else ''}>{escape(text)}</{tag}>" for i, text in enumerate(row)
        )

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{cells(head, "th")}</tr></thead><tbody>{body}</tbody></table></div>'


def _enough_table(curves: Sequence[Curve], several: bool) -> str:
    rows = []
    mixed = len({curve.metric for curve in curves}) > 1
    for curve in curves:
        if curve.full is None:
            continue
        enough = [curve.enough(level) for level in LEVELS]
        saved = f"{100 * (1 - enough[0] / curve.full.n):.0f} %" if enough[0] else ""
        rows.append(
            (
                curve.task,
                curve.features,
                *([curve.classifier] if several else []),
                *([_metric(curve.metric)] if mixed else []),
                f"{curve.full.n:,}",
                f"{curve.full.mean:.3f}",
                *("" if n is None else f"{n:,}" for n in enough),
                saved,
            )
        )
    kinds = [*(["classifier"] if several else []), *(["metric"] if mixed else [])]
    head = ["task", "features", *kinds, "all labels", "their score", "95 % with", "99 % with", "saved"]
    return _table(head, rows, 2 + several + mixed)


def _scores_table(curves: Sequence[Curve], several: bool) -> str:
    sizes = sorted({point.n for curve in curves for point in curve.points})
    rows = []
    for curve in curves:
        points = {point.n: point for point in curve.points}
        shown = [_interval(points[n]) if n in points else "" for n in sizes]
        full = f"{curve.full.mean:.3f}" if curve.full else ""
        rows.append((curve.task, curve.features, *([curve.classifier] if several else []), *shown, full))
    kinds = ["classifier"] if several else []
    return _table(["task", "features", *kinds, *(f"{n:,}" for n in sizes), "all"], rows, 2 + several)


def _interval(point: Point) -> str:
    if math.isnan(point.mean):
        return ""
    half = "" if math.isnan(point.low) else f" ±{(point.high - point.low) / 2:.3f}"
    return f"{point.mean:.3f}{half}"


def _by_area(curves: Sequence[Curve], areas: Sequence[str]) -> str:
    chosen = best([curve for curve in curves if curve.aoi == areas[0]])
    features = chosen[0].features
    shown = [curve for curve in curves if curve.features == features and curve.classifier == chosen[0].classifier]
    sizes = sorted({point.n for curve in shown for point in curve.points})
    rows = []
    for curve in sorted(
        shown,
        key=lambda curve: (
            [one.task for one in chosen].index(curve.task) if curve.task in [one.task for one in chosen] else 99
        ),
    ):
        points = {point.n: point for point in curve.points}
        full = (f"{curve.full.mean:.3f}", f"{curve.full.n:,}") if curve.full else ("", "")
        rows.append((curve.task, curve.aoi, *(f"{points[n].mean:.3f}" if n in points else "" for n in sizes), *full))
    table = _table(["task", "area", *(f"{n:,}" for n in sizes), "all", "labels"], rows, 2)
    return f"<details open><summary>By area ({escape(features)})</summary>{table}</details>"


def _measured(facts: Facts) -> str:
    tasks = "".join(
        f"<li>{escape(name)}: {labelled:,} labelled chips"
        f"{', classes ' + escape(', '.join(map(str, classes))) if classes else ', a number'}</li>"
        for name, (classes, labelled) in facts.tasks.items()
    )
    chips = ", ".join(f"{number:,} {name}" for name, number in facts.chips.items())
    left = [f"{number:,} {key.replace('_', ' ')}" for key, number in facts.counts.items() if number and key != "fits"]
    return (
        "<h2>How this was measured</h2><ul>"
        f"<li>{facts.counts.get('fits', 0):,} fits on {escape(facts.embeddings)} (model {escape(facts.model)});"
        f" chips: {chips}.</li>"
        f"<li>Labels are drawn at random from the train split, at least two of each class, nested over sizes; seeds"
        f" {facts.seed} to {facts.seed + facts.repeats - 1}.</li>"
        "<li>Regularisation is chosen on the drawn labels alone, by leave-one-out; features are scaled by the train"
        " split.</li>"
        "<li>The class predicted is the one whose probability is highest relative to its share among the drawn labels,"
        " which is what balanced accuracy rewards; guessing scores 1 / number of classes.</li>"
        f"<li>Left out: {escape(', '.join(left)) or 'nothing'}.</li>"
        f"</ul><h3>Tasks</h3><ul>{tasks}</ul>"
    )
