"""What the maps look like, where they are wrong, and how accurate they are class by class."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from geoembed.evaluation import atlas
from geoembed.fits.heldout import BY_FOLDS
from geoembed.outputs import styles
from geoembed.report.answers.view import View
from geoembed.report.markup import (
    confusion,
    figure,
    grid,
    heading,
    image,
    key,
    listed,
    paragraph,
    section,
    table,
    text,
)

if TYPE_CHECKING:
    from geoembed.evaluation.atlas import Atlas
    from geoembed.evaluation.findings import Assessed
    from geoembed.fits.accuracy import Accuracy, Estimate


def mapped(view: View) -> str:
    """Show the map of each task over the imagery, and where it is wrong."""
    shown = view.findings.atlases
    if not shown:
        return ""
    worst = [
        (panel.wrong / panel.tested, one.task, panel)
        for one in shown
        if math.isnan(one.far)
        for panel in one.panels
        if panel.tested
    ]
    finding = ""
    if worst:
        share, task, panel = max(worst, key=lambda each: each[0])
        finding = (
            f"Errors are most frequent on {task} in {panel.mapped.caption}: {panel.wrong:,} of {panel.tested:,} tested"
            f" chips ({100 * share:.0f} %)."
        )
    below = f" The background is {shown[0].shown}." if shown[0].shown else ""
    note = (
        "Maps learned from all labels, as geoembed probe makes them by default; below each, the chips whose label was"
        f" held out, predicted without it and those near it.{below}"
    )
    if shown[0].chips_elsewhere:
        note += f" {shown[0].chips_elsewhere:,} chips lie in areas that are not shown."
    return section(
        "What do the maps look like, and where are they wrong?", finding, paragraph(note, "quiet"), *map(_sheet, shown)
    )


def _sheet(one: Atlas) -> str:
    """Show the map of one task: an area beside the other, each above its errors."""
    panels = "".join(
        f"<figure>{image(panel.mapped)}{image(panel.errors)}<figcaption><b>{text(panel.mapped.caption)}</b><br>"
        f"{text(panel.errors.caption)}</figcaption></figure>"
        for panel in one.panels
    )
    wrong = "wrong" if math.isnan(one.far) else f"off by more than {one.far:.3g} (the worst tenth)"
    legend = key([*((category.name, category.colour) for category in one.legend)])
    judged = key([("tested and right", atlas.RIGHT), (f"tested and {wrong}", atlas.WRONG)])
    columns = f"--all:{max(len(one.panels), 3)};--small:{3 if len(one.panels) in (3, 5) else 2}"
    inside = f'<div>{legend}{judged}</div><div class="charts maps" style="{columns}">{panels}</div>'
    return f'<div class="sheet">{heading(one.task)}{inside}</div>'


def accurate(view: View) -> str:
    """Answer how accurate the maps are: confusion matrices, user's and producer's accuracy, and areas."""
    shown = [(one, one.assessment.accuracy) for one in view.findings.assessed if one.assessment.accuracy]
    if not shown:
        return ""
    overall = [
        f"{_percent(accuracy.overall)} on {one.task.name}"
        for one, accuracy in shown
        if not math.isnan(accuracy.overall.value)
    ]
    finding = f"Of the area mapped, this share is mapped right: {listed(overall)} (95 % interval)." if overall else ""
    cautions = dict.fromkeys(
        caution if len(shown) == 1 or caution in _shared(shown) else f"{one.task.name}: {caution}"
        for one, _ in shown
        for caution in one.assessment.cautions
    )
    loud = "".join(f"{_sentence(caution)} " for caution in cautions)
    most = max(len(accuracy.classes) for _, accuracy in shown)
    matrices = [figure(one.task.name, confusion(_names(one), accuracy.confusion.tolist())) for one, accuracy in shown]
    return section(
        "How accurate are the maps?",
        finding,
        paragraph(loud.strip(), "loud"),
        grid(matrices, (4, 3, 5, 2) if most <= 3 else (2, 3)),
        paragraph(
            f"{_method(shown[0][0])} A row is a class of the map, a column one of the labels; shares are of the row.",
            "quiet",
        ),
        _areas(shown),
        paragraph(
            "User's accuracy: how much of what is mapped as a class is of it. Producer's accuracy: how much of a class"
            " is mapped as it. Areas on the ground are estimated from the labels within each class of the map (Olofsson"
            " et al. 2014), so that they correct for the map's errors; brackets hold 95 % intervals.",
            "quiet",
        ),
    )


def _shared(shown: list[tuple[Assessed, Accuracy]]) -> set[str]:
    """Return the cautions that hold for all tasks."""
    return set.intersection(*(set(one.assessment.cautions) for one, _ in shown))


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _names(one: Assessed) -> list[str]:
    return [category.name for category in styles.legend(one.task.classes, one.task.name)]


def _method(one: Assessed) -> str:
    held = one.assessment.held
    labels = f"{len(held.rows):,} labels"
    if held.method != BY_FOLDS:
        return f"Tested on {labels} of the test split, from which nothing was learned."
    times = "" if len(held.predicted) == 1 else f"; means over {len(held.predicted)} repetitions"
    method = f"spatial cross-validation: each of {held.folds} folds is predicted from the others{times}"
    return f"Tested on all {labels} by {method}."


def _areas(shown: list[tuple[Assessed, Accuracy]]) -> str:
    rows = [
        (
            *(one.task.name, name, f"{accuracy.confusion[:, k].sum():,.0f}"),
            *(_percent(accuracy.users[k]), _percent(accuracy.producers[k])),
            *(f"{accuracy.mapped[k]:,.4g}", _square_kilometres(accuracy.areas[k])),
        )
        for one, accuracy in shown
        for k, name in enumerate(_names(one))
    ]
    head = [
        "task",
        "class",
        "labels tested",
        "user's accuracy",
        "producer's accuracy",
        "mapped, km²",
        "on the ground, km²",
    ]
    return table(head, rows, 2)


def _percent(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return ""
    interval = "" if math.isnan(estimate.low) else f" ({100 * estimate.low:.0f} to {100 * estimate.high:.0f})"
    return f"{100 * estimate.value:.1f} %{interval}"


def _square_kilometres(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return ""
    interval = "" if math.isnan(estimate.low) else f" ({estimate.low:,.4g} to {estimate.high:,.4g})"
    return f"{estimate.value:,.4g}{interval}"
