"""Lines of means with their intervals, such as learning curves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.outputs.colours import BLUE
from geoembed.report.charts.canvas import draw, legend, legend_height, spelled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from geoembed.fits.curves import Point
    from geoembed.report.charts.look import Look


@dataclass(frozen=True)
class Series:
    """A line of means and their intervals.

    name: in the legend.
    look: its colour, dashes and markers.
    x: where the points lie.
    points: means and intervals; one without a mean is not drawn.
    whole: the last point is that of all labels, and drawn hollow.
    """

    name: str
    look: Look
    x: tuple[float, ...]
    points: tuple[Point, ...]
    whole: bool = False

    @property
    def known(self) -> list[tuple[float, Point]]:
        """Return the points that have a mean."""
        return [(x, point) for x, point in zip(self.x, self.points, strict=True) if not math.isnan(point.mean)]


def lines(
    title: str,
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    log: bool = True,
    marks: Mapping[str, float] | None = None,
    floor: float = -math.inf,
    ceiling: float = math.inf,
) -> str:
    """Draw lines with their intervals as bands; nothing where no series has a point.

    x, y: names of the axes; log: whether that of x is logarithmic; marks: levels to compare with, by name; floor,
    ceiling: how far the y axis goes at most.
    """
    series = [line for line in series if line.known]
    if not series:
        return ""
    marks = {name: level for name, level in (marks or {}).items() if not math.isnan(level)}
    names = [*(line.name for line in series), *marks]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for name, level in marks.items():
            axes.axhline(level, color="#555", linewidth=1, linestyle=(0, (3, 3)), label=name)
        for line in sorted(series, key=lambda line: line.look.colour == BLUE):  # what matters lies over the others
            _paint_line(axes, line)
        if log:
            _log_axis(axes, [at for line in series for at, _ in line.known])
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, floor), max(min(high, ceiling), max(low, floor) + 1e-6))
        axes.set(xlabel=x, ylabel=y)
        axes.grid(axis="y")
        handles, labels = axes.get_legend_handles_labels()
        named = dict(zip(labels, handles, strict=True))
        legend(figure, {name: named[name] for name in names})

    parts = [_ends(line) for line in series] + [f"{name} is at {level:.3g}" for name, level in marks.items()]
    return draw(f"{title}: {y} against {x}. {'; '.join(parts)}.", 245 + legend_height(names), paint)


def _paint_line(axes: Axes, line: Series) -> None:
    """Draw one line, its band and its markers."""
    colour, marker = line.look.colour, line.look.marker
    band = [(x, point.low, point.high) for x, point in line.known if not math.isnan(point.low)]
    if len(band) > 1:
        axes.fill_between(*np.array(band).T, color=colour, alpha=0.15, linewidth=0)
    elif band:
        axes.vlines(*band[0], color=colour, alpha=0.4, linewidth=3)
    x, y = zip(*((x, point.mean) for x, point in line.known), strict=True)
    style: dict[str, Any] = {"color": colour, "linestyle": line.look.dash, "marker": marker}
    axes.plot(x, y, linewidth=2.4 if colour == BLUE else 1.6, label=line.name, **style)
    if line.whole:
        axes.plot(x[-1:], y[-1:], color=colour, marker=marker, markerfacecolor="white")


def _ends(line: Series) -> str:
    """Tell where a line begins and ends, for the alternative text."""
    known = line.known
    ends = [known[0], known[-1]] if len(known) > 1 else known
    return f"{line.name} " + " to ".join(f"{spelled(point)} at {x:,.6g}" for x, point in ends)


def _log_axis(axes: Axes, at: Sequence[float]) -> None:
    """Write a logarithmic axis with numbers such as 10, 100 and 1k."""
    low, high = min(at) / 1.2, max(at) * 1.2
    axes.set_xscale("log")
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    named = (1,) if high / low > 200 else (1, 2, 5)
    minor, shown = (
        [tick for k in decades for step in steps if low <= (tick := step * 10.0**k) <= high]
        for steps in (range(1, 10), named)
    )
    shown = shown or [max(at)]
    axes.set_xticks(shown, [_short(tick) for tick in shown])
    axes.set_xticks(minor, minor=True)
    axes.tick_params(axis="x", which="minor", labelbottom=False)
    axes.set_xlim(low, high)


def _short(n: float) -> str:
    return f"{n / 1e6:g}M" if n >= 1e6 else f"{n / 1000:g}k" if n >= 1000 else f"{n:g}"
