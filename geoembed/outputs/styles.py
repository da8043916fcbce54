"""Styles for QGIS 3: a .qml file beside a vector file, which QGIS loads with it.

Only the symbology is set (`styleCategories="Symbology"`), so that labels and forms set in QGIS stay.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from geoembed.outputs import atomic

log = logging.getLogger(__name__)

_OURS = "<!-- made by geoembed -->"

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PINK, YELLOW, GREY = "#56B4E9", "#CC79A7", "#F0E442", "#8C8C8C"
PALETTE = (BLUE, ORANGE, GREEN, VERMILION, SKY, PINK, YELLOW, GREY)
"""Okabe and Ito's colours, which colour-blind readers tell apart (jfly.uni-koeln.de/color, 2008)."""

RAMP = ("#440154", "#3B528B", "#21918C", "#5EC962", "#FDE725")
"""Viridis (matplotlib) at 0, 0.25, 0.5, 0.75 and 1: equal steps in lightness."""


@dataclass(frozen=True)
class Category:
    """One value of a column and how a map shows it.

    value: as text.
    name: in the map's legend.
    colour: #RRGGBB.
    """

    value: str
    name: str
    colour: str


def beside(vector: Path) -> Path:
    """Return the path of a vector file's style."""
    return vector.with_suffix(".qml")


def write(vector: Path, style: str) -> Path:
    """Write a style beside a vector file, unless a user's own lies there; return its path."""
    path = beside(vector)
    if path.exists() and _OURS not in path.read_text(encoding="utf-8", errors="replace"):
        log.warning("%s: was not made by geoembed and stays", path)
    else:
        atomic.write_text(path, style)
    return path


def categorised(column: str, categories: Sequence[Category]) -> str:
    """Return the style of polygons coloured by the value of a column."""
    rows = "".join(
        f'<category render="true" type="string" symbol="{i}" value={quoteattr(category.value)}'
        f" label={quoteattr(category.name)}/>\n"
        for i, category in enumerate(categories)
    )
    head = f'type="categorizedSymbol" attr={quoteattr(column)}'
    return _document(head, f"<categories>\n{rows}</categories>", [category.colour for category in categories])


def graduated(column: str, lowest: float, highest: float) -> str:
    """Return the style of polygons coloured in five equal steps of a numeric column."""
    step = (highest - lowest) / len(RAMP)
    edges = [lowest + step * i for i in range(len(RAMP))] + [highest]
    rows = "".join(
        f'<range render="true" symbol="{i}" lower="{edges[i]:.9g}" upper="{edges[i + 1]:.9g}"'
        f' label="{edges[i]:.3g} - {edges[i + 1]:.3g}"/>\n'
        for i in range(len(RAMP))
    )
    head = f'type="graduatedSymbol" graduatedMethod="GraduatedColor" attr={quoteattr(column)}'
    return _document(head, f"<ranges>\n{rows}</ranges>", RAMP)


def splits() -> str:
    """Return the style of a chip index: cells coloured by split."""
    colours = {"train": BLUE, "validation": YELLOW, "test": VERMILION}
    return categorised("split", [Category(name, name, colour) for name, colour in colours.items()])


def two_classes(column: str, positive: str) -> str:
    """Return the style of a column that holds 0 and 1, 1 being `positive`."""
    return categorised(column, [Category("1", positive, ORANGE), Category("0", f"not {positive}", SKY)])


def _document(head: str, classes: str, colours: Sequence[str]) -> str:
    """Return a .qml file: the renderer's attributes, its categories or ranges, and a symbol per colour."""
    symbols = "".join(_fill(str(i), colour) for i, colour in enumerate(colours))
    return (
        f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n{_OURS}\n"
        '<qgis version="3.22.0" styleCategories="Symbology">\n'
        f'<renderer-v2 {head} enableorderby="0" forceraster="0" symbollevels="0">\n'
        f"{classes}\n<symbols>\n{symbols}</symbols>\n</renderer-v2>\n"
        "<layerOpacity>0.7</layerOpacity>\n</qgis>\n"
    )


def _fill(name: str, colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    options = {
        "color": f"{red},{green},{blue},255",
        "style": "solid",
        "outline_color": "60,60,60,160",
        "outline_style": "solid",
        "outline_width": "0.1",
        "outline_width_unit": "MM",
    }
    rows = "".join(f'<Option type="QString" name="{key}" value="{value}"/>' for key, value in options.items())
    return (
        f'<symbol type="fill" name="{name}" alpha="1" clip_to_extent="1" force_rhr="0">'
        f'<layer class="SimpleFill" enabled="1" locked="0" pass="0"><Option type="Map">{rows}</Option></layer>'
        "</symbol>\n"
    )
