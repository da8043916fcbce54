"""From what is painted on a figure to a part of an HTML page, and legends that fit its width."""

from __future__ import annotations

import io
import math
import re
from html import escape
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.figure import Figure

    from geoembed.fits.curves import Point

WIDTH = 400
"""Units across; 0.9 pixels each on a phone."""

LONGEST = 34
"""Most characters of a name."""

PIXELS = 110
"""Resolution of what is drawn as an image, the points of a map: pixels per 72 units."""

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


def draw(alternative: str, height: float, paint: Callable[[Figure], None]) -> str:
    """Return the SVG of a figure with its alternative text.

    The user's own settings of matplotlib do not count, so that the same findings give the same bytes.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_SETTINGS, "svg.hashsalt": alternative})
        layout: Literal["constrained"] = "constrained"
        figure = Figure((WIDTH / 72, height / 72), layout=layout, facecolor="none")
        paint(figure)
        text = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(text, format="svg", dpi=PIXELS, metadata=nothing)
    return _inlined(text.getvalue(), alternative, height)


def _inlined(svg: str, alternative: str, height: float) -> str:
    """Make a part of a page of an SVG file by matplotlib: no styles for the whole page, no ids of other charts."""
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>|<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = body.replace("xlink:href", "href")
    body = re.sub(r"font-family: [^;\"]*", "font-family: system-ui, sans-serif", body)
    body = re.sub(r"\s*\n\s*", " ", body)
    body = re.sub(r"\b(fill|stroke): #([0-9a-f]{6})", r"\1: var(--x\2,#\2)", body)  # a dark page sets others
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="100%" role="img"'
        f' style="stroke-linejoin:round;stroke-linecap:butt" aria-label="{escape(alternative)}">{body}</svg>'
    )


def legend(figure: Figure, handles: Mapping[str, Any], **more: Any) -> None:
    """Draw a legend of these artists, by name, below the axes; nothing for none."""
    if handles:
        names, columns = [shortened(name) for name in handles], _columns(list(handles))
        figure.legend([*handles.values()], names, loc="outside lower center", ncols=columns, borderaxespad=0, **more)


def legend_height(names: Sequence[str]) -> int:
    """Return the height of a legend in units."""
    return 8 + 19 * -(-len(names) // _columns(names)) if names else 0


def _columns(names: Sequence[str]) -> int:
    longest = max(len(shortened(name)) for name in names)
    most = max(1, min(len(names), int(WIDTH // (longest * 7.4 + 50))))
    return -(-len(names) // -(-len(names) // most))  # rows as even as can be


def shortened(name: str) -> str:
    """Return a name that is no longer than there is room for."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}\u2026"


def spelled(point: Point) -> str:
    """Return a mean and its interval for an alternative text."""
    interval = "" if math.isnan(point.low) else f" ({point.low:.3g} to {point.high:.3g})"
    return f"{point.mean:.3g}{interval}"
