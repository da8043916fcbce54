"""What a decision maker quotes: which part of the promise held; and what would raise the scores most."""

from __future__ import annotations

import math
from statistics import mean
from typing import TYPE_CHECKING, TypeAlias

from geoembed.fits.curves import LEVELS, OURS
from geoembed.fits.features import BUT
from geoembed.fits.metrics import HEADLINES
from geoembed.ground.aoi import ALL
from geoembed.outputs import styles
from geoembed.report.answers.view import CONCAT, View, best
from geoembed.report.markup import amount, change, items, listed, metric, number, section

if TYPE_CHECKING:
    from geoembed.fits.comparisons import Comparison
    from geoembed.fits.curves import Curve

FEW, SHARE = 500, 4
"""Few labels are at most so many, and at most one in SHARE of all."""

Advice: TypeAlias = tuple[str, str] | None
"""What to get, and why; None where the findings do not tell."""

SMALL = 0.01
"""A gain in score below which nothing is advised for its sake."""


def promise(view: View) -> str:
    """Say on which tasks few labels gained what all gain over guessing, and on which they did not."""
    curves = [curve for curve in best(view.findings.curves) if curve.full]
    needs = {curve.task: curve.enough(LEVELS[0], above=_chance(curve)) for curve in curves}
    few = {curve.task: min(FEW, curve.full.n // SHARE) for curve in curves if curve.full}
    whole = max((curve.full.n for curve in curves if curve.full), default=0)
    held = [task for task, n in needs.items() if n is not None and n <= few[task]]
    rest = [task for task, n in needs.items() if n is not None and n > few[task]]
    unknown = [task for task, n in needs.items() if n is None]
    claim = f"few labels (at most {min(few.values(), default=FEW):,})"
    gain = f"{100 * LEVELS[0]:.0f} % of what all {whole:,} labels gain over guessing"
    parts = []
    if held:
        each = listed([f"{task} reached {gain if task == held[0] else 'it'} with {needs[task]:,}" for task in held])
        where = "" if len(needs) == 1 else f" on {_count(len(held), len(needs))} tasks"
        parts.append(f"The promise held{where}: {claim} do what all do. {each[:1].upper()}{each[1:]}.")
    if rest:
        each = listed([f"{task} needs {_needed(needs[task], whole)}" for task in rest])
        where = f"on {listed(rest)}" if held else f"on {listed(rest)}: {claim} do not do what all do"
        parts.append(f"It did not hold {where}. " if held else f"The promise did not hold {where}. ")
        parts[-1] += f"For {gain}, {each}."
    if unknown:
        parts.append(f"It cannot be judged on {listed(unknown)}, where all labels score about what guessing does.")
    if held or rest:
        parts.append("(The headline counts whole scores, this only what they gain over guessing.)")
    return " ".join(parts)


def _chance(curve: Curve) -> float:
    return 0.0 if math.isnan(curve.chance) else curve.chance


def _count(some: int, whole: int) -> str:
    return f"{some} of {whole}" if some < whole else "both" if whole == 2 else f"all {whole}"


def _needed(n: int | None, whole: int) -> str:
    return "them all" if n == whole else f"{number(n)}"


def advised(view: View) -> str:
    """Answer what would raise the scores most: labels of which class, which modality, labels in which area."""
    each = (_of_class(view), _of_features(view), _of_modality(view), _of_area(view), _of_more(view))
    advice = [one for one in each if one is not None]
    lines, leads = [line for _, line in advice], [lead for lead, _ in advice]
    return section("What would raise the scores most?", "", items(lines, leads)) if advice else ""


def _of_class(view: View) -> Advice:
    """Name the class that a map finds least of."""
    found = []
    for one in view.findings.assessed:
        accuracy = one.assessment.accuracy
        if accuracy is None:
            continue
        names = [category.name for category in styles.legend(one.task.classes, one.task.name)]
        for k, estimate in enumerate(accuracy.producers):
            if not math.isnan(estimate.value):
                found.append((estimate.value, one.task.name, names[k], float(accuracy.confusion[:, k].sum())))
    if not found:
        return None
    share, task, name, labels = min(found)
    of_task = "" if name == task else f" ({task})"
    return (
        f"More labels of {name}{of_task}.",
        f"The map finds {100 * share:.0f} % of its area, less than of any other class; {labels:,.0f} labels of it were"
        " tested.",
    )


def _of_features(view: View) -> Advice:
    """Name the features that do better than those the report is about, where any does."""
    main = {curve.task: curve for curve in best(view.findings.curves) if curve.full}
    gains = [
        (curve.full.mean - ours.full.mean, curve)
        for curve in view.ours
        if curve.full and (ours := main.get(curve.task)) and ours.full and curve.classifier == ours.classifier
    ]
    if not gains:
        return None
    gain, curve = max(gains, key=lambda pair: pair[0])
    if gain < SMALL or curve.full is None:
        return None
    alone = "" if curve.features == CONCAT else " alone"
    return (
        f"Features {curve.features} for {curve.task}.",
        f"With all labels, {curve.features}{alone} score {curve.full.mean:.3f}, {amount(gain, curve.metric)} more than"
        f" {view.features} (--features {curve.features}).",
    )


def _of_modality(view: View) -> Advice:
    """Name the modality that is missed most, and how many chips lack it."""
    chosen = [one for one in view.chosen(view.comparisons("missing")) if one.tested.startswith("without ")]
    costs: dict[str, list[float]] = {}
    modalities = {curve.features for curve in view.ours}
    for one in chosen:
        name = one.tested.removeprefix("without ")
        if name in modalities and one.metric == chosen[0].metric:
            costs.setdefault(name, []).append(one.difference.mean)
    if not costs:
        return None
    worst = min(costs, key=lambda name: mean(costs[name]))
    lacking = view.findings.facts.counts.get(f"chips_without_{worst}", 0)
    why = f"{lacking:,} chips lack it." if lacking else "Every chip has it today: keep it so."
    cost = change(mean(costs[worst]), chosen[0].metric)
    return (
        f"Imagery of {worst} everywhere.",
        f"Without it, {metric(chosen[0].metric)} changes by {cost} on average, more than without another. {why}",
    )


def _of_area(view: View) -> Advice:
    """Name the area whose own labels score least, and what labels of the other areas lose there."""
    scores: dict[str, dict[str, float]] = {}
    for curve in view.findings.curves:
        ours = curve.source == OURS and curve.metric in HEADLINES and curve.aoi != ALL and curve.full
        if ours and curve.full and (curve.features, curve.classifier) == (view.features, view.classifier):
            scores.setdefault(curve.task, {})[curve.aoi] = curve.full.mean
    gaps = [
        (score - mean(other for place, other in by_area.items() if place != area), task, area)
        for task, by_area in scores.items()
        if len(by_area) > 1
        for area, score in by_area.items()
    ]
    if not gaps:
        return None
    gap, task, area = min(gaps)
    name = next(curve.metric for curve in view.ours if curve.task == task)
    why = (
        f"With all labels of its own it scores {scores[task][area]:.3f} on {task}, {amount(gap, name)} below the mean"
        " of the other areas."
    )
    worst = _travels_worst(view)
    if worst is not None:
        loss = change(worst.difference.mean, worst.metric)
        why += f" Labels of other areas alone are worst on {worst.task} in {worst.tested} ({loss})."
    return f"More labels in {area}.", why


def _travels_worst(view: View) -> Comparison | None:
    """Return where labels from all other areas lose most."""
    chosen = [one for one in view.chosen(view.comparisons("transfer")) if one.aoi.startswith(BUT)]
    chosen = [one for one in chosen if one.metric == chosen[0].metric and not math.isnan(one.difference.mean)]
    worst = min(chosen, key=lambda one: one.difference.mean, default=None)
    return worst if worst and worst.difference.mean < -SMALL else None


def _of_more(view: View) -> Advice:
    """Say what the last of the labels still gained."""
    rises = [
        (curve.task, curve.points[-1].n, curve.full.n, curve.full.mean - curve.points[-1].mean, curve.metric)
        for curve in best(view.findings.curves)
        if curve.full and curve.points and curve.points[-1].n < curve.full.n
    ]
    rises = [rise for rise in rises if not math.isnan(rise[3])]
    if not rises:
        return None
    task, n, whole, rise, name = max(rises, key=lambda rise: rise[3])
    if rise < SMALL:
        return "No more labels of every kind.", f"From {n:,} to all {whole:,} no score rises by {amount(SMALL, name)}."
    return "More labels of every kind.", f"From {n:,} to all {whole:,}, {task} still rises by {amount(rise, name)}."
