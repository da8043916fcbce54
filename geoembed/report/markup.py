"""Pieces of an HTML page: paragraphs, tables, figures, and numbers as people read them. All text is escaped here."""

from __future__ import annotations

import math
import re
from html import escape
from typing import TYPE_CHECKING

from geoembed.outputs.colours import ORANGE, SKY, mixed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from geoembed.evaluation.pictures import Gallery, Picture
    from geoembed.fits.curves import Point

MINUS = "\u2212"

RIGHT, WRONG = SKY, ORANGE
"""The colours of right and wrong labels in a confusion matrix, at their fullest."""


def text(words: str) -> str:
    """Escape text; a number stays beside its percent sign."""
    return escape(words).replace(" %", "&nbsp;%")


def paragraph(words: str, kind: str = "") -> str:
    """Return a paragraph of plain text, nothing for no words."""
    return f"<p{f' class={kind}' if kind else ''}>{text(words)}</p>" if words else ""


def heading(words: str) -> str:
    """Return a heading below that of a section."""
    return f"<h3>{text(words)}</h3>"


def slug(question: str) -> str:
    """Return the id of a section, which links lead to."""
    return re.sub("[^a-z]+", "-", question.lower()).strip("-")


def section(question: str, finding: str, *parts: str) -> str:
    """Return a question as a heading, its answer as a sentence, and what shows it."""
    head = f'<section id="{slug(question)}"><h2>{text(question)}</h2>'
    return f"{head}{paragraph(finding, 'finding')}{''.join(parts)}</section>"


def contents(sections: Sequence[str]) -> str:
    """Return links to sections, made by `section`; nothing for fewer than two."""
    heads = [re.search('<section id="([^"]+)"><h2>(.*?)</h2>', whole) for whole in sections]
    links = [f'<li><a href="#{head[1]}">{head[2]}</a></li>' for head in heads if head]
    return f'<nav aria-label="Contents"><ul>{"".join(links)}</ul></nav>' if len(links) > 1 else ""


def figure(title: str, svg: str) -> str:
    """Return a chart under its title, nothing for no chart."""
    return f"<figure><figcaption>{text(title)}</figcaption>{svg}</figure>" if svg else ""


def grid(figures: Iterable[str], columns: Sequence[int] = (3, 2, 4, 5)) -> str:
    """Return figures side by side where there is room, in the first of `columns` that leaves none alone in a row."""
    shown = list(filter(None, figures))
    wide = next((k for k in columns if len(shown) % k != 1), 1) if len(shown) > 2 else len(shown)
    middle = 2 if len(shown) % 2 == 0 else 3 if len(shown) % 3 != 1 else 1
    style = f"--wide:{wide};--middle:{middle};--paper-columns:{wide if wide < 4 else 2}"
    return f'<div class="charts" style="{style}">{"".join(shown)}</div>' if shown else ""


def items(lines: Sequence[str], leads: Sequence[str] = ()) -> str:
    """Return a list; `leads` begin its lines in bold."""
    begun = [f"<b>{text(lead)}</b> " for lead in leads] or [""] * len(lines)
    return f"<ul>{''.join(f'<li>{lead}{text(line)}</li>' for lead, line in zip(begun, lines, strict=True))}</ul>"


def grid_with(figures: Iterable[str], title: str, more: str) -> str:
    """Return figures side by side, and what more there is folded below; beside it where there is one figure only."""
    shown = list(filter(None, figures))
    return grid([*shown, more]) if len(shown) == 1 else grid(shown) + details(title, more)


def details(title: str, inside: str) -> str:
    """Return a part that opens on a click; nothing where there is nothing inside."""
    return f"<details><summary>{text(title)}</summary>{inside}</details>" if inside else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], names: int = 1) -> str:
    """Return a table whose first `names` columns are text, without the columns that are empty; nothing for no rows."""
    kept = [i for i in range(len(head)) if any(row[i] for row in rows)]

    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}{' class=name' if i < names else ''}>{text(row[i])}</{tag}>" for i in kept)

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    whole = f"<table><thead><tr>{cells(head, 'th')}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll">{whole}</div>' if rows else ""


HOME = "home"
"""The remark of a cell that the others of its column are compared with; such a cell is bold."""


def matrix(corner: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[tuple[float, str]]]]) -> str:
    """Return a table of numbers, shaded from the lowest to the highest, each with a small remark below it."""
    known = [value for _, cells in rows for value, _ in cells if not math.isnan(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    head = f"<th class=name>{text(corner)}</th>" + "".join(f"<th scope=col>{text(name)}</th>" for name in columns)
    body = "".join(
        f"<tr><th class=name scope=row>{text(name)}</th>"
        + "".join(_shaded(value, remark, (value - low) / max(high - low, 1e-9)) for value, remark in cells)
        + "</tr>"
        for name, cells in rows
    )
    return (
        f'<div class="scroll"><table class="matrix"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _shaded(value: float, remark: str, share: float) -> str:
    """Return a cell from near white to a blue so dark that white text has a contrast above 4.5 on it."""
    if math.isnan(value):
        return "<td></td>"
    red, green, blue = (round(pale + (deep - pale) * share) for pale, deep in ((240, 0), (246, 84), (250, 140)))
    ink = "#fff" if share > 0.755 else "#000"
    shown = f"<b>{value:.2f}</b>" if remark == HOME else f"{value:.2f}<small>{text(remark)}</small>"
    return f'<td style="background:rgb({red},{green},{blue});color:{ink}">{shown}</td>'


def confusion(classes: Sequence[str], counts: Sequence[Sequence[float]]) -> str:
    """Return a confusion matrix: a row per class of the map, a column per class of the labels, and the sums of both.

    Right ones are shaded blue and wrong ones orange, by their share of the row.
    """
    head = "".join(f"<th scope=col>{text(name)}</th>" for name in (*classes, "sum"))
    body = ""
    for i, (name, row) in enumerate(zip(classes, counts, strict=True)):
        whole = sum(row)
        cells = "".join(_tinted(count, whole, RIGHT if i == j else WRONG) for j, count in enumerate(row))
        body += f"<tr><th class=name scope=row>{text(name)}</th>{cells}<td>{_count(whole)}</td></tr>"
    sums = "".join(f"<td>{_count(sum(column))}</td>" for column in zip(*counts, strict=True))
    corner = "map \u2193 labels \u2192"
    return (
        f'<div class="scroll"><table class="matrix"><thead><tr><th class=name>{corner}</th>{head}</tr></thead>'
        f"<tbody>{body}<tr><th class=name scope=row>sum</th>{sums}<td>{_count(sum(map(sum, counts)))}</td></tr>"
        "</tbody></table></div>"
    )


def _tinted(count: float, whole: float, colour: str) -> str:
    """Return a count with its share of its row, from white to a colour that black text is read on."""
    share = count / whole if whole else 0.0
    shown = f"{_count(count)}<small>{100 * share:.0f}&nbsp;%</small>" if whole else _count(count)
    return f'<td style="background:{mixed("#FFFFFF", colour, share)};color:#000">{shown}</td>'


def _count(count: float) -> str:
    """Return a number of labels; means over repetitions have a decimal."""
    return f"{count:,.1f}".removesuffix(".0")


def key(entries: Iterable[tuple[str, str | None]]) -> str:
    """Return a legend: names with their colours; None is transparent."""
    return "".join(
        f'<span class="key"><i style="background:{colour or "transparent"}"></i>{text(name)}</span>'
        for name, colour in entries
    )


def image(shown: Picture) -> str:
    """Return a picture."""
    return f'<img src="{escape(shown.uri)}" alt="{escape(shown.alt)}">'


def gallery(shown: Gallery) -> str:
    """Return rows of small pictures: a chip, then what lies nearest to it."""
    rows = "".join(
        '<div class="row">'
        + "".join(
            f"<figure>{image(picture)}<figcaption>{text(picture.caption)}</figcaption></figure>" for picture in row
        )
        + "</div>"
        for row in shown.rows
    )
    return f"{heading(shown.title)}{paragraph(shown.note, 'quiet')}{rows}"


def number(n: int | None) -> str:
    """Return a count with a comma between thousands, nothing for None."""
    return "" if n is None else f"{n:,}"


def decimal(value: float, digits: int = 3) -> str:
    """Return a number, nothing for NaN."""
    return "" if math.isnan(value) else f"{value:.{digits}f}".replace("-", MINUS)


def plus(value: float, digits: int = 3) -> str:
    """Return a number with its sign, a zero without minus, nothing for NaN."""
    return "" if math.isnan(value) else f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", MINUS)


def give_or_take(point: Point) -> str:
    """Return a mean and half the width of its interval."""
    half = "" if math.isnan(point.low) else f" ±{(point.high - point.low) / 2:.3f}"
    return decimal(point.mean) + half


def signed(point: Point) -> str:
    """Return a difference and its interval."""
    return plus(point.mean) + ("" if math.isnan(point.low) else f" ({plus(point.low)} to {plus(point.high)})")


def metric(name: str) -> str:
    """Return what people call a metric."""
    return {"r2": "R²", "rmse": "RMSE", "roc_auc": "ROC AUC", "f1": "F1"}.get(name, name.replace("_", " "))


def scale(name: str) -> float:
    """Return the factor that differences of a metric are shown with: shares are shown in points, hundredths."""
    return 1 if name == "r2" else 100


def amount(size: float, name: str) -> str:
    """Return a difference's size in words."""
    return f"{abs(size):.2f} of R²" if name == "r2" else f"{100 * abs(size):.1f} points"


def change(size: float, name: str) -> str:
    """Return a difference with its sign in words."""
    words = amount(size, name)
    return words if not re.search("[1-9]", words.split()[0]) else f"{'+' if size > 0 else MINUS}{words}"


def saved(n: int, whole: int) -> str:
    """Return the share of all labels that is saved by using n of them, never rounded up."""
    return f"{math.floor(1000 * (1 - n / whole) + 1e-9) / 10:.3g} %"


def listed(names: Sequence[str]) -> str:
    """Return names with commas and an `and` before the last."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
