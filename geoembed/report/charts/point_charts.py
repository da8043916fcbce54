"""Points: what probabilities say against what came true, and maps of chips."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geoembed.outputs.colours import BLUE, PALETTE
from geoembed.report.charts.canvas import draw, legend, legend_height

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

PALE = "#c9c9c9"
"""The colour of chips without a value."""


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
        legend(figure, {"as it should be": axes.lines[0]})

    parts = [f"predicted {at:.0%}, observed {seen:.0%} ({weight:.0%} of chips)" for at, seen, weight in bins]
    return draw(f"{title}: {y} against {x}. {'; '.join(parts)}.".replace("%", " %"), 300, paint)


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

    A point whose value is NaN is pale; `axis` names both axes.
    """
    counts = [int(np.count_nonzero(values == i)) for i in range(len(names))]
    size = float(np.clip(14000 / max(len(xy), 1), 4, 30))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        pale = np.isnan(values)
        axes.scatter(xy[pale, 0], xy[pale, 1], s=size, color=PALE, alpha=0.5, linewidth=0, rasterized=True)
        if names:
            handles = {
                number: _paint_class(axes, xy[values == number], number, size, colours)
                for number in sorted(range(len(names)), key=lambda number: -counts[number])  # the rare lie on top
            }
            named = {names[number]: handles[number] for number in range(len(names))}
            legend(figure, named, markerscale=(40 / size) ** 0.5)
        else:
            drawn = axes.scatter(
                xy[~pale, 0], xy[~pale, 1], s=size, c=values[~pale], cmap="viridis", linewidth=0, rasterized=True
            )
            figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.8, aspect=30, pad=0.02)
        axes.set(xticks=[], yticks=[], xlabel=f"{axis} 1", ylabel=f"{axis} 2")

    parts = ", ".join(f"{count:,} {name}" for name, count in zip(names, counts, strict=True)) or _range(values)
    height = 300 + (legend_height(names) if names else 45)
    return draw(f"{title}: {len(xy):,} chips, {parts}.", height, paint)


def _paint_class(axes: Axes, xy: NDArray[np.float64], number: int, size: float, colours: Sequence[str]) -> object:
    """Draw the points of one class; where there are more classes than colours, markers tell them apart."""
    return axes.scatter(
        xy[:, 0],
        xy[:, 1],
        s=size,
        color=colours[number % len(colours)],
        marker="os^Dv"[number // len(colours) % 5],
        alpha=0.8,
        linewidth=0,
        rasterized=True,
    )


def _range(values: NDArray[np.float64]) -> str:
    known = values[~np.isnan(values)]
    return f"numbers from {known.min():.3g} to {known.max():.3g}" if known.size else "no numbers"
