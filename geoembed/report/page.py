"""The report: one HTML file that opens offline, prints, and fits a phone."""

from __future__ import annotations

import math
from html import escape
from importlib import resources
from typing import TYPE_CHECKING
from urllib.parse import quote

from geoembed.fits.curves import LEVELS
from geoembed.report import answers
from geoembed.report.answers.advice import promise
from geoembed.report.answers.learning import first, sober
from geoembed.report.answers.view import View, best
from geoembed.report.markup import contents, heading, items, listed, paragraph, saved, section, text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from geoembed.evaluation.findings import Facts, Findings
    from geoembed.evaluation.made import Made
    from geoembed.fits.curves import Curve


def answer(curves: Sequence[Curve]) -> str:
    """Answer in a sentence how many labels are enough, for all areas together."""
    chosen = [curve for curve in best(curves) if curve.full and curve.enough(LEVELS[0]) is not None]
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
    kind = f", {chosen[0].classifier}" if len({curve.classifier for curve in curves}) > 1 else ""
    return (
        f"{span} reach 95 % of the score of all {whole:,}{where}{tail}"
        f" ({features} embeddings{kind}, at least {saved(most, whole)} fewer labels)."
    )


def _all(curve: Curve) -> int:
    return curve.full.n if curve.full else 0


_TITLE = "<title>How many labels are enough?</title>"


def is_ours(path: Path) -> bool:
    """Tell by its title whether a file is such a page, in whatever state it is now."""
    with path.open("rb") as file:
        return _TITLE.encode() in file.read(2**12)


def html(findings: Findings) -> str:
    """Return the page: the answer with a chart, the questions that were asked, and how it was measured."""
    view = View.of(findings)
    sections = [*filter(None, (ask(view) for ask in answers.QUESTIONS)), _measured(findings)]
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    return "".join(
        [
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"{_TITLE}<style>{style}</style></head><body>",
            _made(findings.made),
            f'<div class="hero"><div><h1>{text(answer(findings.curves))}</h1>{paragraph(promise(view), "promise")}',
            sober(view),
            *(paragraph(f"Caution: {caution}.", "quiet") for caution in findings.cautions),
            f"</div>{first(view)}</div>",
            contents(sections),
            *sections,
            "</body></html>\n",
        ]
    )


def _made(made: Made | None) -> str:
    """Return when and by which version the page was made, links to its files, and whether areas are simulated."""
    if made is None:
        return ""
    links = "".join(f'<a href="{escape(quote(path))}">{text(name)}</a>' for name, path in made.files.items())
    line = f'<div class="made"><span>geoembed {text(made.version)}, {text(made.date)}</span>{links}</div>'
    if not made.simulated:
        return line
    which = "All areas" if len(made.simulated) == made.areas else listed(made.simulated)
    return (
        f'{line}<p class="loud"><b class="simulated">SIMULATED.</b> {text(which)} and their imagery were made by'
        " geoembed sample; scores say nothing about the real Earth.</p>"
    )


def _measured(findings: Findings) -> str:
    """Return how it was measured, what was left out, and what the tasks are."""
    facts = findings.facts
    chips = ", ".join(f"{number:,} {name}" for name, number in facts.chips.items())
    left_out = [
        f"{number:,} {key.replace('_', ' ')}"
        for key, number in facts.counts.items()
        if number and key.startswith(("chips_", "cells_"))
    ]
    lines = [
        f"{facts.counts.get('fits', 0):,} fits on {facts.embeddings} (model {facts.model}); chips: {chips};"
        f" {'area' if len(facts.areas) == 1 else 'areas'}: {', '.join(facts.areas)}.",
        *_tested(facts),
        "Regularisation is chosen on the drawn training labels alone, never on test chips: by leave-one-out for every"
        " draw of up to 1,000 labels; of more labels, on the first draw, for all draws of as many. Features are scaled"
        " by the train split.",
        "The class predicted is the one whose probability is highest relative to its share among the drawn labels,"
        " which is what balanced accuracy rewards; guessing scores 1 / number of classes. The maps, their errors and"
        " their accuracies take the likeliest class. R² is 1 for a perfect and 0 for a constant prediction.",
        f"Left out: {', '.join(left_out) or 'nothing'}.",
        *findings.notes,
    ]
    tasks = [
        f"{name}: {labelled:,} labelled chips, {'classes ' + ', '.join(map(str, classes)) if classes else 'a number'}"
        for name, (classes, labelled) in facts.tasks.items()
    ]
    typed = f"<p>Made with</p><pre><code>{escape(findings.made.command)}</code></pre>" if findings.made else ""
    return section(
        "How this was measured",
        "",
        items(lines),
        typed,
        heading("Tasks"),
        items(tasks),
        paragraph("A point is a hundredth of balanced accuracy.", "quiet"),
    )


def _tested(facts: Facts) -> list[str]:
    """Return what was tested, what was learned from, and what intervals mean."""
    if facts.folds:
        tested = (
            f"Labels are few or were given by hand, so all are tested: {facts.repetitions} times they are dealt into"
            f" {facts.folds} folds of places that lie apart, and each fold is predicted from the others (spatial"
            " cross-validation)."
        )
        pool, over = "the other folds", "folds and draws of labels; as folds share labels, they are rather too narrow"
    else:
        apart = ""
        if not math.isnan(facts.split_apart):
            apart = f": {facts.split_apart:.0%} of neighbouring chips are in different splits".replace("%", " %")
        tested = (
            "Scores are those of the test split. Each area is cut into bands, and whole bands are train, validation or"
            f" test, so that splits touch only along the edges of bands{apart}."
        )
        pool, over = "the train split", "draws of labels. With all labels there is one draw and no interval"
    return [
        tested,
        f"Labels are drawn at random from {pool}, at least two of each class; a larger draw contains the smaller ones"
        f" (seeds from {facts.seed}). All questions but the first are answered at {facts.n:,} labels and at all.",
        f"Intervals are 95 % t-intervals of the mean over {over}. They show the uncertainty of which labels are drawn,"
        " not of which places are tested. Without a clear difference means that an interval includes 0, not that two"
        " scores are equal; with few draws intervals are wide.",
    ]
