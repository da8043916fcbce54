"""How many labels are enough, and how simpler features do: the questions that learning curves answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoembed.fits.curves import ERRORS, LEVELS, OURS, over_cells
from geoembed.fits.metrics import HEADLINES
from geoembed.ground.aoi import ALL
from geoembed.report import charts
from geoembed.report.answers.view import (
    CONCAT,
    TASK,
    View,
    balance,
    best,
    lines,
    named,
    preferred,
    source_name,
    times,
    verdict,
)
from geoembed.report.markup import (
    decimal,
    details,
    figure,
    give_or_take,
    grid,
    grid_with,
    listed,
    metric,
    number,
    paragraph,
    saved,
    section,
    signed,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from geoembed.fits.comparisons import Comparison
    from geoembed.fits.curves import Curve

LABELS = "number of labels"


def first(view: View) -> str:
    """Draw what the answer is about: the share of the full-label score over the number of labels, a line per task."""
    chosen = [curve for curve in best(view.findings.curves) if curve.full and curve.full.mean > 0]
    chosen = [curve for curve in chosen if curve.metric not in ERRORS and curve.points]
    if not chosen:
        return ""
    shown = charts.looks((curve.task for curve in chosen), first=True)
    series = []
    for curve in chosen:
        assert curve.full
        points = tuple(times(point, 100 / curve.full.mean) for point in (*curve.points, curve.full))
        at = tuple(point.n for point in points)
        series.append(charts.Series(curve.task, shown[curve.task], at, points, whole=True))
    drawn = charts.lines(
        f"All tasks, {view.features}",
        series,
        x=LABELS,
        y="share of the full-label score (%)",
        marks={"95 %": 95},
        floor=0,
        ceiling=110,
    )
    where = "all areas together" if chosen[0].aoi == ALL else chosen[0].aoi
    caption = (
        f"Scores as a share of the score with all labels (the hollow points): {where}, {view.features} features"
        f"{' and ' + view.classifier if view.several else ''}. Means over {_draws(view)} of labels; bands are 95 %"
        " intervals over these."
    )
    return f'<div class="first">{drawn}{paragraph(caption, "quiet")}</div>' if drawn else ""


def _draws(view: View) -> str:
    facts = view.findings.facts
    if facts.folds:
        return f"{facts.repetitions} x {facts.folds} folds"
    return f"{facts.repeats} draws"


def enough(view: View) -> str:
    """Answer how many labels are enough."""
    if not view.ours:
        return ""
    drawn = []
    for panel in view.panels(view.ours):
        curves = [curve for curve in view.ours if (curve.task, curve.classifier) == (panel.task, panel.classifier)]
        names = [curve.features for curve in curves]
        drawn.append(figure(panel.title, _curves(f"{panel.title}, learning curves", curves, names, names)))
    shown = _enough_table([curve for curve in view.ours if curve.features == view.features], view)
    return section(
        "How many labels are enough?",
        _taken(view),
        paragraph(
            "A line for each kind of features. Bands are 95 % intervals; the last, hollow point is the score with all"
            " labels.",
            "quiet",
        ),
        grid([*drawn, shown] if len(drawn) == 1 else drawn),
        "" if len(drawn) == 1 else shown,
        paragraph(
            "For 95 %: the smallest number of labels from which on every mean score reaches 95 % of the score with all"
            " labels; saved is the share of all labels that this leaves out. Of the gain: the same, counting only how"
            " much better than guessing scores are. Nothing is told of features that with all labels score about what"
            " guessing does, or an R² of 0 or less.",
            "quiet",
        ),
        paragraph(_over_all_cells(view)),
        details("The other features", _enough_table([one for one in view.ours if one.features != view.features], view)),
        details("All scores", _scores_table(view.ours, view)),
        details(f"By area ({view.features})", _by_area(view)),
    )


def _taken(view: View) -> str:
    """Say how many labels each level takes on each task."""
    parts = []
    for level in LEVELS:
        each = _labels_of_tasks(view, level)
        if each:
            parts.append(f"{100 * level:.0f} % of the score that all labels give takes {each}")
    if parts:
        return f"With {view.features} features, {'; '.join(parts)}."
    return f"This cannot be told: with all labels and {view.features} features, no task scores better than guessing."


def _labels_of_tasks(view: View, level: float) -> str:
    """Return how many labels a level takes on each task, such as `50 labels on water and all labels on crops`."""
    least = {curve.task: _labels(curve, level) for curve in best(view.findings.curves)}
    return listed([f"{n} labels on {task}" for task, n in least.items() if n])


def _labels(curve: Curve, level: float, above: float = 0.0) -> str:
    """Return the least number of labels that reaches a level, or `all`; nothing where that cannot be told."""
    n = curve.enough(level, above=above)
    return "all" if curve.full and n == curve.full.n else number(n)


def _curves(title: str, curves: Sequence[Curve], names: Sequence[str], like: Sequence[str]) -> str:
    """Draw learning curves."""
    shares = curves[0].metric != "r2"
    return charts.lines(
        title,
        lines(curves, names, like),
        x=LABELS,
        y=metric(curves[0].metric),
        marks={"guessing": curves[0].chance},
        floor=0 if shares else -0.5,
        ceiling=1.01,
    )


def _enough_table(curves: Sequence[Curve], view: View) -> str:
    rows = []
    for curve in curves:
        if curve.full is None:
            continue
        least = curve.enough(LEVELS[0])
        rows.append(
            (
                *(named(curve.task, curve.metric), curve.features, view.kind(curve.classifier)),
                *(f"{curve.full.n:,}", decimal(curve.full.mean)),
                *(_labels(curve, level, above) for above in (0.0, curve.chance) for level in LEVELS),
                "" if least is None else saved(least, curve.full.n),
            )
        )
    asked = [f"for {level:.0%}{of}".replace("%", " %") for of in ("", " of the gain") for level in LEVELS]
    return table([*TASK, "all labels", "their score", *asked, "saved"], rows, 3)


def _over_all_cells(view: View) -> str:
    cells = [curve for curve in view.findings.curves if curve.source == OURS and curve.metric in HEADLINES]
    parts = [
        f"for {100 * level:.0f} % of the score of all labels, half of {over['cells']:,} need no more than"
        f" {over['median']:,.0f} labels, and together they save {saved(int(over['labels']), int(over['all']))} of them"
        for level in LEVELS
        if (over := over_cells(cells, level))
    ]
    return f"Over all combinations of task, area, features and classifier: {'; '.join(parts)}." if parts else ""


def _scores_table(curves: Sequence[Curve], view: View) -> str:
    sizes = sorted({point.n for curve in curves for point in curve.points})
    rows = []
    for curve in curves:
        points = {point.n: give_or_take(point) for point in curve.points}
        whole = decimal(curve.full.mean) if curve.full else ""
        source = "" if curve.source == OURS else source_name(curve.source)
        head = (named(curve.task, curve.metric), source, curve.features, view.kind(curve.classifier))
        rows.append((*head, *(points.get(n, "") for n in sizes), whole))
    return table(["task", "source", "features", "classifier", *(f"{n:,}" for n in sizes), "all"], rows, 4)


def _by_area(view: View) -> str:
    tasks = list(view.findings.facts.tasks)
    shown = [curve for curve in view.findings.curves if curve.source == OURS and curve.metric in HEADLINES]
    if len({curve.aoi for curve in shown}) < 2:
        return ""
    shown = [curve for curve in shown if (curve.features, curve.classifier) == (view.features, view.classifier)]
    sizes = sorted({point.n for curve in shown for point in curve.points})
    rows = []
    for curve in sorted(shown, key=lambda curve: tasks.index(curve.task) if curve.task in tasks else len(tasks)):
        points = {point.n: give_or_take(point) for point in curve.points}
        whole = (decimal(curve.full.mean), f"{curve.full.n:,}") if curve.full else ("", "")
        rows.append((named(curve.task, curve.metric), curve.aoi, *(points.get(n, "") for n in sizes), *whole))
    return table(["task", "area", *(f"{n:,}" for n in sizes), "all", "labels"], rows, 2)


def compared(view: View) -> str:
    """Answer how the embeddings do beside features that took no training, and beside other embeddings."""
    comparisons = view.comparisons("compared")
    others = [curve for curve in view.curves if curve.source != OURS]
    if not comparisons and not others:
        return ""
    finding = _compared(view)
    main = preferred(comparisons, view.features)
    rest = [one for one in comparisons if one.features != (main[0].features if main else "")]
    return section(
        "Compared with what?",
        finding,
        grid_with(_beside(view), "All differences", _compared_table(main, view)),
        paragraph(
            f"{_explained(others)}Better and worse mean that the 95 % interval of the difference, paired by draw, lies"
            " above or below 0, without a clear difference that it includes 0. With all labels there is one draw and no"
            " interval.",
            "quiet",
        ),
        details("Other features", _compared_table(rest, view)),
        details("All scores of the other features", _scores_table(others, view)),
    )


def _beside(view: View) -> Iterator[str]:
    """Draw the learning curves of the embeddings beside those of every other source, a chart per task."""
    for panel in view.panels(view.ours):
        of_panel = [curve for curve in view.curves if (curve.task, curve.classifier) == (panel.task, panel.classifier)]
        shown = preferred([curve for curve in of_panel if curve.source == OURS], view.features)
        for source in dict.fromkeys(curve.source for curve in of_panel if curve.source != OURS):
            shown += preferred([curve for curve in of_panel if curve.source == source], view.features)
        if len(shown) > 1:
            names = [_source(curve, view.features) for curve in shown]
            sources = [curve.source for curve in shown]
            yield figure(panel.title, _curves(f"{panel.title}, compared", shown, names, sources))


_MEANT = {
    "statistics": "chip statistics summarise each channel's pixels",
    "mosaiks": "random convolutions are those of MOSAIKS (Rolf et al. 2021)",
    "untrained": "the untrained encoder is the same network before training",
}


def _explained(curves: Sequence[Curve]) -> str:
    parts = [_MEANT[source] for source in dict.fromkeys(curve.source for curve in curves) if source in _MEANT]
    sentence = "; ".join(parts)
    return f"{sentence[:1].upper()}{sentence[1:]}. " if parts else ""


def _source(curve: Curve, features: str) -> str:
    """Return the name of a line in a chart of sources."""
    if curve.source == OURS:
        return f"{curve.features} embeddings"
    name = source_name(curve.source).removeprefix("the ")
    return name if curve.features in (features, CONCAT) else f"{name} ({curve.features})"


def _compared(view: View) -> str:
    """Say on how many tasks the embeddings are ahead of, level with or behind each other source."""
    chosen = view.chosen(view.comparisons("compared"))
    parts = []
    for source in dict.fromkeys(one.source for one in chosen):
        members = [one for one in chosen if one.source == source]
        parts.append(f"compared with {source_name(source)}, {balance(members, 'better', 'worse')}")
    return f"{view.setting(chosen)}, the embeddings are, {'; '.join(parts)}." if chosen else ""


def sober(view: View) -> str:
    """Say what the answer leaves out: whether simpler features do as well."""
    return paragraph(_compared(view))


def _compared_table(comparisons: Sequence[Comparison], view: View) -> str:
    rows = [
        (
            named(one.task, one.metric),
            source_name(one.source),
            one.features if len({one.features for one in comparisons}) > 1 else "",
            view.kind(one.classifier),
            f"{one.n:,}",
            signed(one.difference),
            verdict(one.difference),
            decimal(one.score.mean),
            decimal(one.reference.mean),
        )
        for one in comparisons
    ]
    head = ["task", "against", "features", "classifier", "labels", "difference", "the embeddings are"]
    return table([*head, "their score", "the other's"], rows, 4)
