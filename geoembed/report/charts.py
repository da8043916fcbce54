"""Charts as SVG that stands inside an HTML page, drawn by matplotlib.

Each is narrow enough for a phone, keeps its text as text that scales and is read aloud, and carries an alternative
text that tells its numbers. The title begins that text and must be unique on a page, as ids are made from it.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass
from html import escape
from itertools import cycle
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from geoembed.outputs.styles import BLUE, GREEN, GREY, ORANGE, PALETTE, PINK, SKY, VERMILION
from geoembed.report.markup import plus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from geoembed.fits.curves import Point

WIDTH = 400  # units; 0.9 pixels each on a phone
LONGEST = 34  # characters of a name
PIXELS = 110  # per 72 units, of the points of a map
PALE = "#c9c9c9"

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a task's name may hold dollars
    "font.size": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666",
    "axes.labelcolor": "#333",
    "axes.axisbelow": True,
    "text.color": "#333",
    "xtick.color": "#333",
    "ytick.color": "#333",
    "grid.color": "#e3e3e3",
    "legend.frameon": False,
    "legend.fontsize": 12.5,
    "legend.handlelength": 2.6,
    "legend.columnspacing": 1.2,
    "lines.markersize": 5,
}


@dataclass(frozen=True)
class Look:
    """Colour, dashes and marker: each alone tells lines apart, so that print in grey does, too."""

    colour: str
    dash: Any
    marker: str


_FIXED = {
    "fused": Look(BLUE, "-", "o"),
    "embeddings": Look(BLUE, "-", "o"),
    "concat": Look(VERMILION, (0, (4, 1.5)), "s"),
    "statistics": Look(ORANGE, (0, (5, 1.5)), "s"),
    "mosaiks": Look(GREEN, (0, (1.5, 1.2)), "^"),
    "untrained": Look(GREY, (0, (6, 1.5, 1.5, 1.5)), "D"),
}
_FREE = (
    Look(GREEN, (0, (5, 2)), "^"),
    Look(ORANGE, (0, (2, 1.5)), "D"),
    Look(PINK, (0, (6, 1.5, 1.5, 1.5)), "v"),
    Look(SKY, (0, (1, 1)), "P"),
    Look("#333333", (0, (8, 2)), "X"),
)


def looks(names: Iterable[str], *, first: bool = False) -> dict[str, Look]:
    """Give each name a look of its own, known names always the same; with `first` blue is free for the first."""
    free = cycle((Look(BLUE, "-", "o"), *_FREE) if first else _FREE)
    return {name: _FIXED[name] if name in _FIXED and not first else next(free) for name in dict.fromkeys(names)}


@dataclass(frozen=True)
class Series:
    """A line of means and their intervals; `whole`: its last point is that of all labels, and drawn hollow."""

    name: str
    look: Look
    x: tuple[float, ...]
    points: tuple[Point, ...]
    whole: bool = False

    @property
    def known(self) -> list[tuple[float, Point]]:
        """Return the points that have a mean."""
        return [(x, point) for x, point in zip(self.x, self.points, strict=True) if not math.isnan(point.mean)]


@dataclass(frozen=True)
class Dot:
    """A row of a chart of differences."""

    name: str
    look: Look
    point: Point


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
    """Draw lines with their intervals as bands; `marks` are levels to compare with, by name. Nothing for no points."""
    series = [one for one in series if one.known]
    if not series:
        return ""
    ordered = sorted(series, key=lambda one: one.look.colour == BLUE)  # what matters is drawn over the others
    marks = {name: level for name, level in (marks or {}).items() if not math.isnan(level)}

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for name, level in marks.items():
            axes.axhline(level, color="#555", linewidth=1, linestyle=(0, (3, 3)), label=name)
        for one in ordered:
            _line(axes, one)
        if log:
            _log_axis(axes, [at for one in series for at, _ in one.known])
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, floor), max(min(high, ceiling), max(low, floor) + 1e-6))
        axes.set(xlabel=x, ylabel=y)
        axes.grid(axis="y")
        handles, labels = axes.get_legend_handles_labels()
        named = dict(zip(labels, handles, strict=True))
        _legend(figure, {name: named[name] for name in [*(one.name for one in series), *marks]})

    told = [_told(one) for one in series] + [f"{name} is at {level:.3g}" for name, level in marks.items()]
    names = [*(one.name for one in series), *marks]
    return _draw(f"{title}: {y} against {x}. {'; '.join(told)}.", 245 + _legend_height(names), paint)


def _line(axes: Axes, one: Series) -> None:
    """Draw one line, its band and its markers."""
    band = [(x, point.low, point.high) for x, point in one.known if not math.isnan(point.low)]
    if len(band) > 1:
        axes.fill_between(*np.array(band).T, color=one.look.colour, alpha=0.15, linewidth=0)
    elif band:
        axes.vlines(*band[0], color=one.look.colour, alpha=0.4, linewidth=3)
    x, y = zip(*((x, point.mean) for x, point in one.known), strict=True)
    wide = 2.4 if one.look.colour == BLUE else 1.6
    style: dict[str, Any] = {"color": one.look.colour, "linestyle": one.look.dash, "marker": one.look.marker}
    axes.plot(x, y, linewidth=wide, label=one.name, **style)
    if one.whole:
        axes.plot(x[-1:], y[-1:], color=one.look.colour, marker=one.look.marker, markerfacecolor="white")


def _told(one: Series) -> str:
    known = one.known
    ends = [known[0], known[-1]] if len(known) > 1 else known
    return f"{one.name} " + " to ".join(f"{_span(point)} at {x:,.6g}" for x, point in ends)


def _span(point: Point) -> str:
    around = "" if math.isnan(point.low) else f" ({point.low:.3g} to {point.high:.3g})"
    return f"{point.mean:.3g}{around}"


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


def dots(title: str, groups: Mapping[str, Sequence[Dot]], *, x: str) -> str:
    """Draw differences from zero with their intervals, a row each under the headings of their groups."""
    rows: list[tuple[str, Dot | None]] = []
    for heading, members in groups.items():
        rows += [(heading, None)] if heading else []
        rows += [(dot.name, dot) for dot in members]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(0, color="#555", linewidth=1)
        for y, (_, dot) in enumerate(rows):
            if dot is None:
                continue
            axes.hlines(y, dot.point.low, dot.point.high, color=dot.look.colour, linewidth=2.5, alpha=0.55)
            axes.plot([dot.point.mean], [y], color=dot.look.colour, marker=dot.look.marker, linestyle="none")
            text = plus(dot.point.mean, _decimals(rows))
            axes.text(1.02, y, text, transform=axes.get_yaxis_transform(), va="center", fontsize=12)
        axes.set_yticks(range(len(rows)), [_cut(name) for name, _ in rows])
        for label, (_, dot) in zip(axes.get_yticklabels(), rows, strict=True):
            label.set_fontweight("bold" if dot is None else "normal")
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.margins(x=0.08)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        figure.supxlabel(x, fontsize=13, color="#333")  # may be wider than the axes

    told = "; ".join(
        f"{heading}: {', '.join(f'{dot.name} {_span(dot.point)}' for dot in members)}".removeprefix(": ")
        for heading, members in groups.items()
    )
    return _draw(f"{title}: {x}. {told}.", 58 + 20 * len(rows), paint)


def _decimals(rows: Sequence[tuple[str, Dot | None]]) -> int:
    largest = max((abs(dot.point.mean) for _, dot in rows if dot and not math.isnan(dot.point.mean)), default=0.0)
    return 1 if largest >= 1 else 2


def reliability(
    title: str,
    predicted: Sequence[float],
    observed: Sequence[float],
    share: Sequence[float],
    *,
    x: str,
    y: str,
) -> str:
    """Draw shares observed against probabilities predicted, both from 0 to 1; markers' areas are shares of chips."""
    bins = [bin for bin in zip(predicted, observed, share, strict=True) if bin[2] > 0]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 100], [0, 100], color="#555", linewidth=1, linestyle=(0, (3, 3)), label="as it should be")
        if bins:
            at, seen, weight = np.array(bins).T
            axes.plot(at * 100, seen * 100, color=BLUE, linewidth=2)
            axes.scatter(at * 100, seen * 100, s=12 + 500 * weight, color=BLUE, alpha=0.75, linewidth=0)
        axes.set(xlim=(0, 100), ylim=(0, 100), xlabel=f"{x} (%)", ylabel=f"{y} (%)")
        for artist in [*axes.collections, *axes.lines]:
            artist.set_clip_on(False)
        axes.grid()
        _legend(figure, {"as it should be": axes.lines[0]})

    told = "; ".join(f"said {at:.0%}, was {seen:.0%} ({weight:.0%} of chips)" for at, seen, weight in bins)
    return _draw(f"{title}: {y} against {x}. {told}.".replace("%", " %"), 300, paint)


def scatter(
    title: str,
    xy: NDArray[np.float64],
    values: NDArray[np.float64],
    names: Sequence[str] = (),
    *,
    axis: str,
    colours: Sequence[str] = PALETTE,
) -> str:
    """Draw a map of points coloured by `values`: positions in `names`, or numbers where there are none.

    A point whose value is NaN is pale.
    """
    numbers = "of " + _range(values) if not names else ""
    counts = [int(np.count_nonzero(values == i)) for i in range(len(names))]
    size = float(np.clip(14000 / max(len(xy), 1), 4, 30))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        pale = np.isnan(values)
        axes.scatter(xy[pale, 0], xy[pale, 1], s=size, color=PALE, alpha=0.5, linewidth=0, rasterized=True)
        if names:
            handles = {}
            order = sorted(range(len(names)), key=lambda i: -counts[i])  # the rare lie on top
            for i in order:
                handles[i] = axes.scatter(
                    xy[values == i, 0],
                    xy[values == i, 1],
                    s=size,
                    color=colours[i % len(colours)],
                    marker="os^Dv"[i // len(colours) % 5],
                    alpha=0.8,
                    linewidth=0,
                    rasterized=True,
                )
            _legend(figure, {names[i]: handles[i] for i in range(len(names))}, markerscale=(40 / size) ** 0.5)
        else:
            drawn = axes.scatter(
                xy[~pale, 0], xy[~pale, 1], s=size, c=values[~pale], cmap="viridis", linewidth=0, rasterized=True
            )
            figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.8, aspect=30, pad=0.02)
        axes.set(xticks=[], yticks=[], xlabel=f"{axis} 1", ylabel=f"{axis} 2")

    told = ", ".join(f"{count:,} {name}" for name, count in zip(names, counts, strict=True)) or numbers
    height = 300 + (_legend_height(names) if names else 45)
    return _draw(f"{title}: {len(xy):,} chips, {told}.", height, paint)


def _range(values: NDArray[np.float64]) -> str:
    known = values[~np.isnan(values)]
    return f"numbers from {known.min():.3g} to {known.max():.3g}" if known.size else "no numbers"


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}\u2026"


def _columns(names: Sequence[str]) -> int:
    longest = max(len(_cut(name)) for name in names)
    most = max(1, min(len(names), int(WIDTH // (longest * 7.4 + 50))))
    return -(-len(names) // -(-len(names) // most))  # rows as even as can be


def _legend_height(names: Sequence[str]) -> int:
    return 8 + 19 * -(-len(names) // _columns(names)) if names else 0


def _legend(figure: Figure, handles: Mapping[str, Any], **more: Any) -> None:
    if handles:
        names, columns = [_cut(name) for name in handles], _columns(list(handles))
        figure.legend([*handles.values()], names, loc="outside lower center", ncols=columns, borderaxespad=0, **more)


def _draw(told: str, height: float, paint: Callable[[Figure], None]) -> str:
    """Return the SVG of a figure, its alternative text being `told`.

    The user's own settings of matplotlib do not count, so that the same findings give the same bytes.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_SETTINGS, "svg.hashsalt": told})
        layout: Literal["constrained"] = "constrained"
        figure = Figure((WIDTH / 72, height / 72), layout=layout, facecolor="none")
        paint(figure)
        text = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(text, format="svg", dpi=PIXELS, metadata=nothing)
    return _inlined(text.getvalue(), told, height)


def _inlined(svg: str, told: str, height: float) -> str:
    """Make a part of a page from a file of matplotlib's: no styles for the whole page, no ids that others have, too."""
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>|<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = body.replace("xlink:href", "href")
    body = re.sub(r"font-family: [^;\"]*", "font-family: system-ui, sans-serif", body)
    body = re.sub(r"\s*\n\s*", " ", body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="100%" role="img"'
        f' style="stroke-linejoin:round;stroke-linecap:butt" aria-label="{escape(told)}">{body}</svg>'
    )
