"""Leakage, transfer to other areas, and missing inputs: the questions that differences answer."""

from __future__ import annotations

import math
from statistics import mean
from typing import TYPE_CHECKING

from geoembed.fits.curves import OURS
from geoembed.fits.features import BUT
from geoembed.imagery.catalogues import SEASONS
from geoembed.report import charts
from geoembed.report.answers.view import TASK, View, balance, mean_change, named, preferred, source_name, times
from geoembed.report.markup import (
    HOME,
    change,
    details,
    figure,
    give_or_take,
    grid,
    grid_with,
    listed,
    matrix,
    metric,
    paragraph,
    plus,
    scale,
    section,
    signed,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from geoembed.fits.comparisons import Comparison


def split(view: View) -> str:
    """Answer whether scores come from test chips that lie beside training chips."""
    comparisons = view.comparisons("split")
    if not comparisons:
        return ""
    ours = [one for one in comparisons if one.source == OURS]
    chosen = [one for one in view.chosen(comparisons) if one.source == OURS] or view.chosen(comparisons)
    finding = (
        f"{view.setting(chosen)}, testing on chips beside those learned from (a random split) instead of on chips apart"
        f" from them (the split by place) changes scores by {mean_change(chosen)} on average:"
        f" {balance(chosen, 'higher', 'lower')}. All other scores here are on the split by place."
    )
    caveat = (
        "On a random split, test chips lie beside labelled ones, and the embeddings' encoder may have trained on chips"
        " beside them; and other chips are tested. Chip statistics and the untrained encoder have not been trained:"
        " their gap shows what labelled neighbours alone add."
    )
    folded = details(
        "The gap of the other features", _split_table([one for one in comparisons if one.source != OURS], view)
    )
    shown = grid([*_gaps(view, comparisons), _split_table(ours, view)])
    return section("Is it leakage?", finding, paragraph(caveat, "quiet"), shown, folded)


def _gaps(view: View, comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Draw the gaps of all sources, a chart per classifier and metric."""
    shown = charts.looks(one.source for one in comparisons)
    main = preferred(view.at_n(comparisons), view.features)
    for kind, name in dict.fromkeys((one.classifier, one.metric) for one in main):
        groups: dict[str, list[charts.Dot]] = {}
        for one in (one for one in main if (one.classifier, one.metric) == (kind, name)):
            dot = charts.Dot(source_name(one.source), shown[one.source], times(one.difference, scale(name)))
            groups.setdefault(one.task, []).append(dot)
        title, x = view.title(metric(name), kind), f"random \u2212 by place ({_unit(name)})"
        yield figure(title, charts.dots(f"{title}, leakage", groups, x=x))


def _split_table(comparisons: Sequence[Comparison], view: View) -> str:
    several = len({one.features for one in comparisons}) > 1
    rows = [
        (
            named(one.task, one.metric),
            "" if one.source == OURS else source_name(one.source),
            one.features if several else "",
            view.kind(one.classifier),
            f"{one.n:,}",
            signed(one.difference),
            give_or_take(one.score),
            give_or_take(one.reference),
        )
        for one in comparisons
    ]
    return table(["task", "source", "features", "classifier", "labels", "gap", "random", "by place"], rows, 4)


def _unit(name: str) -> str:
    return "R²" if name == "r2" else f"points of {metric(name)}"


def transfer(view: View) -> str:
    """Answer whether a classifier works in areas that it was not trained in."""
    comparisons = view.comparisons("transfer")
    if not comparisons:
        return ""
    ours = [one for one in comparisons if one.source == OURS]
    main = preferred(view.at_n(ours), view.features)
    shown = []
    for panel in view.panels(main):
        of_panel = [one for one in main if (one.task, one.classifier) == (panel.task, panel.classifier)]
        title = f"{panel.title}, {metric(of_panel[0].metric)}"
        shown.append(figure(title, _matrix(of_panel, view.findings.facts.areas)))
    rows = [
        (
            *(named(one.task, one.metric), source_name(one.source), view.kind(one.classifier), one.aoi, one.tested),
            *("all" if one.whole else f"{one.n:,}", signed(one.difference)),
            *(give_or_take(one.score), give_or_take(one.reference)),
        )
        for one in comparisons
    ]
    head = ["task", "source", "classifier", "trained in", "tested in", "labels", "difference", "score", "at home"]
    return section(
        "Does it travel?",
        _travelled(view, view.chosen(ours)),
        paragraph(
            "Labels come from the row's area, test chips from the column's; on the diagonal, in bold, both are the"
            " same area. The small figures are the difference to the bold score of the column, in points of balanced"
            " accuracy or in R². Darker is better.",
            "quiet",
        ),
        grid(shown, (2, 3)),
        details("All differences with their intervals", table(head, rows, 5)),
    )


def _travelled(view: View, chosen: Sequence[Comparison]) -> str:
    """Say what scores lose where labels come from elsewhere, on average and at worst."""
    if not chosen:
        return ""
    single = [one for one in chosen if not one.aoi.startswith(BUT)]
    rest = [one for one in chosen if one.aoi.startswith(BUT)]
    parts = []
    if single:
        worst = min((one for one in single if one.metric == single[0].metric), key=lambda one: one.difference.mean)
        parts.append(
            f"by {mean_change(single)} on average where labels come from one other area (worst: {worst.task}, from"
            f" {worst.aoi} to {worst.tested}, {change(worst.difference.mean, worst.metric)})"
        )
    if rest:
        parts.append(f"by {mean_change(rest)} on average where they come from all other areas")
    return f"{view.setting(chosen)}, scores in an area change {listed(parts)}."


def _matrix(comparisons: Sequence[Comparison], areas: Sequence[str]) -> str:
    """Return the matrix of one task: a row per area of training, and one for all areas but the tested."""
    by_areas = {(one.aoi, one.tested): one for one in comparisons}
    home = {one.tested: one.reference.mean for one in comparisons}
    known = dict.fromkeys((*areas, *(one.tested for one in comparisons)))
    columns = [area for area in known if area in home]
    trained = [area for area in dict.fromkeys((*known, *(one.aoi for one in comparisons))) if area in known]

    def cell(trained: str, tested: str) -> tuple[float, str]:
        if trained == tested:
            return home[tested], HOME
        comparison = by_areas.get((trained, tested))
        if comparison is None:
            return math.nan, ""
        loss, digits = comparison.difference.mean * scale(comparison.metric), 2 if comparison.metric == "r2" else 1
        return comparison.score.mean, plus(loss, digits)

    rows = [(area, [cell(area, tested) for tested in columns]) for area in trained]
    if any(one.aoi.startswith(BUT) for one in comparisons):
        rows.append(("all but it", [cell(f"{BUT}{tested}", tested) for tested in columns]))
    return matrix(
        "trained \u2193 tested \u2192",
        columns,
        [row for row in rows if not all(math.isnan(value) for value, _ in row[1])],
    )


MODALITY, SEASON, SHARE, CHANNEL = "modality", "season", "random channels", "channel"


def missing(view: View) -> str:
    """Answer what is lost where inputs are missing."""
    comparisons = view.comparisons("missing")
    if not comparisons:
        return ""
    main = preferred(view.at_n(comparisons), view.features)
    rows = [
        (
            *(named(one.task, one.metric), one.features, view.kind(one.classifier), one.tested, f"{one.n:,}"),
            *(give_or_take(one.reference), give_or_take(one.score), signed(one.difference)),
        )
        for one in comparisons
        if _removed(one.tested)[0] != CHANNEL
    ]
    return section(
        "What if inputs are missing?",
        _missed(view, view.chosen(comparisons)),
        paragraph(
            "Inputs are removed from the test chips only; the classifiers stay the same. Lines are 95 % intervals of"
            " the difference to the score with nothing removed, paired by draw.",
            "quiet",
        ),
        grid_with(
            _removals(view, main, (MODALITY, SEASON, SHARE), ""),
            "Single channels",
            grid(_removals(view, main, (CHANNEL,), ", single channels")),
        ),
        details("All differences", table([*TASK, "removed", "labels", "with all", "without", "difference"], rows, 4)),
    )


def _removals(view: View, comparisons: Sequence[Comparison], kinds: Sequence[str], which: str) -> Iterator[str]:
    """Draw what the loss of each input costs, a chart per task."""
    for panel in view.panels(comparisons):
        of_panel = [one for one in comparisons if (one.task, one.classifier) == (panel.task, panel.classifier)]
        groups = {f"without {kind}": dots for kind in kinds if (dots := _dots(of_panel, kind))}
        if groups:
            title, x = f"{panel.title}{which}", f"change ({_unit(of_panel[0].metric)})"
            yield figure(title, charts.dots(f"{title}, inputs missing", groups, x=x))


def _removed(tested: str) -> tuple[str, str]:
    """Return what kind of input was removed, and its short name."""
    if " % of " in tested:
        return SHARE, tested.split(" of ")[0]
    name = tested.removeprefix("without ")
    return SEASON if name in SEASONS else CHANNEL if " " in name else MODALITY, name


def _dots(comparisons: Sequence[Comparison], kind: str) -> list[charts.Dot]:
    """Return the rows of one kind of input; channels look like their modality."""
    names = [(one, name) for one in comparisons for which, name in [_removed(one.tested)] if which == kind]
    keys = [name.split()[0] if kind == CHANNEL else OURS for _, name in names]
    shown = charts.looks(keys)
    return [
        charts.Dot(name, shown[key], times(one.difference, scale(one.metric)))
        for (one, name), key in zip(names, keys, strict=True)
    ]


def _missed(view: View, chosen: Sequence[Comparison]) -> str:
    """Say what the loss of each kind of input costs, on average over the tasks that share the first one's metric."""
    name = chosen[0].metric
    costs: dict[str, dict[str, list[float]]] = {kind: {} for kind in (MODALITY, SEASON, CHANNEL, SHARE)}
    for comparison in chosen:
        kind, removed = _removed(comparison.tested)
        if comparison.metric == name and not math.isnan(comparison.difference.mean):
            costs[kind].setdefault(removed, []).append(comparison.difference.mean)
    parts = []
    for kind, each in costs.items():
        means = {removed: mean(sizes) for removed, sizes in each.items()}
        if kind == SHARE and means:
            shares = [f"{change(size, name)} ({share.removesuffix(' of channels')})" for share, size in means.items()]
            parts.append(f"without some of all channels, drawn at random, by {listed(shares)}")
        elif means:
            removed = min(means, key=lambda removed: means[removed])
            parts.append(f"without one {kind}, by {change(means[removed], name)} at worst ({removed})")
    tasks = len({one.task for one in chosen if one.metric == name})
    over = f"on average over {tasks} tasks" if tasks > 1 else f"on {chosen[0].task}"
    return f"{view.setting(chosen)}, {metric(name)} changes {over}: {'; '.join(parts)}."
