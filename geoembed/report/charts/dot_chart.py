"""Differences from zero with their intervals, a row each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geoembed.report.charts.canvas import draw, shortened, spelled
from geoembed.report.markup import plus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from geoembed.fits.curves import Point
    from geoembed.report.charts.look import Look


@dataclass(frozen=True)
class Dot:
    """A row: its name, how it is drawn, and the difference."""

    name: str
    look: Look
    point: Point


def dots(title: str, groups: Mapping[str, Sequence[Dot]], *, x: str) -> str:
    """Draw differences, a row each under the headings of their groups; `x` names the axis."""
    rows: list[tuple[str, Dot | None]] = []
    for heading, members in groups.items():
        rows += [(heading, None)] if heading else []
        rows += [(dot.name, dot) for dot in members]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(0, color="#555", linewidth=1)
        for y, (_, dot) in enumerate(rows):
            if dot is not None:
                _paint_dot(axes, y, dot, _decimals(rows))
        axes.set_yticks(range(len(rows)), [shortened(name) for name, _ in rows])
        for label, (_, dot) in zip(axes.get_yticklabels(), rows, strict=True):
            label.set_fontweight("bold" if dot is None else "normal")
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.margins(x=0.08)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        figure.supxlabel(x, fontsize=13, color="#333")  # may be wider than the axes

    alternative = "; ".join(
        f"{heading}: {', '.join(f'{dot.name} {spelled(dot.point)}' for dot in members)}".removeprefix(": ")
        for heading, members in groups.items()
    )
    return draw(f"{title}: {x}. {alternative}.", 58 + 20 * len(rows), paint)


def _paint_dot(axes: Axes, y: int, dot: Dot, decimals: int) -> None:
    """Draw one difference, its interval, and its size in figures."""
    colour = dot.look.colour
    axes.hlines(y, dot.point.low, dot.point.high, color=colour, linewidth=2.5, alpha=0.55)
    axes.plot([dot.point.mean], [y], color=colour, marker=dot.look.marker, linestyle="none")
    text = plus(dot.point.mean, decimals)
    axes.text(1.02, y, text, transform=axes.get_yaxis_transform(), va="center", fontsize=12)


def _decimals(rows: Sequence[tuple[str, Dot | None]]) -> int:
    largest = max((abs(dot.point.mean) for _, dot in rows if dot and not math.isnan(dot.point.mean)), default=0.0)
    return 1 if largest >= 1 else 2
