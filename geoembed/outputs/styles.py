"""Styles for QGIS 3: a .qml file beside a vector file, which QGIS loads with it.

Only the symbology is set (`styleCategories="Symbology"`), so that labels and forms set in QGIS stay; a sheet to be
labelled (`sheet`) has a form and a map tip too.
"""

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax import saxutils

from geoembed.outputs import atomic, colours, digests
from geoembed.outputs.colours import GREY, RAMP, VERMILION, YELLOW

log = logging.getLogger(__name__)

_OURS = "<!-- made by geoembed, sha256 {} -->"
_FOUND = re.compile(r"<!-- made by geoembed, sha256 ([0-9a-f]{64}) -->")
"""A mark in each style, with the digest of the rest, by which an edited one is told."""

_STAYS = "%s: was made or edited by hand and stays; delete it to have a new one"

CONFIDENCE = "confidence"
"""The name of a map's second style, which QGIS loads on demand (Layer Properties > Style > Load Style)."""


_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Letters that XML 1.0 cannot have (https://www.w3.org/TR/xml/#charsets)."""

_ANSWERS = (["0", "1"], ["false", "true"], ["no", "yes"])


@dataclass(frozen=True)
class Category:
    """One value of a column and how a map shows it.

    value: as text.
    name: in the map's legend.
    colour: #RRGGBB; None: transparent, with a pale outline.
    """

    value: str
    name: str
    colour: str | None


def beside(vector: Path, name: str = "") -> Path:
    """Return the path of a vector file's style: of the one that QGIS loads with it, or of another of this name."""
    return vector.with_name(f"{vector.stem}{f'-{name}' if name else ''}.qml")


def write(vector: Path, style: str, name: str = "") -> Path:
    """Write a style beside a vector file, unless a user's own lies there; return its path."""
    path = beside(vector, name)
    if _is_users(path):
        log.warning(_STAYS, path)
    else:
        atomic.write_text(path, style)
    return path


def is_settled(vector: Path, name: str = "") -> bool:
    """Tell whether a style lies beside a vector file as it was written, or as a user made it."""
    path = beside(vector, name)
    if not _is_users(path):
        return path.is_file() and _is_as_written(_text(path))
    if _FOUND.search(_text(path)):
        log.warning(_STAYS, path)
    return True


def _is_users(path: Path) -> bool:
    """Tell whether a style was made or edited by hand; an empty one was not, nor one of ours that is no XML now."""
    if not path.exists() or atomic.is_blank(path):
        return False
    text = _text(path)
    if not _FOUND.search(text):
        return True
    return not _is_as_written(text) and _is_xml(text)


def _is_as_written(text: str) -> bool:
    found = _FOUND.search(text)
    return found is not None and found[1] == digests.of_text(_FOUND.sub(_OURS, text))


def _is_xml(text: str) -> bool:
    try:
        ElementTree.fromstring(text)
    except (ElementTree.ParseError, RecursionError):
        return False
    return True


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def categorised(column: str, categories: Sequence[Category], more: str = "") -> str:
    """Return the style of polygons coloured by the value of a column.

    more: elements of a form and a map tip.
    """
    rows = "".join(
        f'<category render="true" type="string" symbol="{i}" value={_quoted(category.value)}'
        f" label={_quoted(category.name)}/>\n"
        for i, category in enumerate(categories)
    )
    head = f'type="categorizedSymbol" attr={_quoted(column)}'
    return _document(head, f"<categories>\n{rows}</categories>", [category.colour for category in categories], more)


def classes(column: str, names: Sequence[Any], task: str) -> str:
    """Return the style of a column of classes, as `legend` has them."""
    return categorised(column, legend(names, task))


def legend(names: Sequence[Any], task: str) -> list[Category]:
    """Return how maps show classes, in their order.

    Known land cover has the colours of the WorldCover legend, what is left beside it (`other`) is transparent. Where
    the classes are 0 and 1 or no and yes, the task's name tells what they are.
    """
    values = [name if isinstance(name, str) else str(int(name)) for name in names]
    shown = [f"not {task}", task] if [value.casefold() for value in values] in _ANSWERS else values
    return list(map(Category, values, shown, colours.of_classes(shown)))


def steps(lowest: float, highest: float) -> list[tuple[float, float, str]]:
    """Return five equal steps of numbers: from where, to where, and the colour, from blue to yellow.

    Where there is nothing between lowest and highest, as where all values are equal or missing, there is one step.
    """
    if not lowest < highest:
        equal = lowest if math.isfinite(lowest) else 0.0
        return [(equal, equal, RAMP[-1])]
    edges = [lowest, *(lowest + (highest - lowest) * i / len(RAMP) for i in range(1, len(RAMP))), highest]
    return list(zip(edges, edges[1:], RAMP, strict=False))


def spelled(low: float, high: float) -> str:
    """Return a step of numbers for a legend."""
    return f"{low:.3g} to {high:.3g}"


def ramp(column: str, lowest: float, highest: float) -> str:
    """Return the style of polygons coloured in the steps of a numeric column."""
    each = steps(lowest, highest)
    rows = "".join(
        f'<range render="true" symbol="{i}" lower="{low!r}" upper="{high!r}" label="{spelled(low, high)}"/>\n'
        for i, (low, high, _) in enumerate(each)
    )
    head = f'type="graduatedSymbol" graduatedMethod="GraduatedColor" attr={_quoted(column)}'
    return _document(head, f"<ranges>\n{rows}</ranges>", [colour for _, _, colour in each])


def sheet(column: str, names: Sequence[Any], task: str, title: str, tip: str) -> str:
    """Return the style of chips to be labelled: outlines coloured by what is filled in, a list of classes, a map tip.

    names: classes to choose from, stored as they are; none: the column takes what is typed.
    title: what the legend calls a chip that is not labelled yet.
    tip: HTML with expressions of QGIS.
    """
    categories = [Category("", title, VERMILION), *(legend(names, task) if len(names) else [])]
    if len(names):
        chosen = "".join(
            '<Option type="Map">'
            f'<Option type="QString" name={_quoted(each.name)} value={_quoted(each.value)}/></Option>'
            for each in categories[1:]
        )
        options = f'<Option type="Map"><Option type="List" name="map">{chosen}</Option></Option>'
        widget = f'<editWidget type="ValueMap"><config>{options}</config></editWidget>'
    else:
        widget = '<editWidget type="TextEdit"><config><Option type="Map"/></config></editWidget>'
    more = (
        f"<fieldConfiguration><field name={_quoted(column)}>{widget}</field></fieldConfiguration>\n"
        f"<mapTip>{saxutils.escape(_FORBIDDEN.sub('', tip))}</mapTip>\n"
    )
    return categorised(column, categories, more)


def splits() -> str:
    """Return the style of a chip index: cells coloured by split."""
    by_split = {"train": GREY, "validation": YELLOW, "test": VERMILION}
    return categorised("split", [Category(name, name, colour) for name, colour in by_split.items()])


def _document(head: str, classes: str, fills: Sequence[str | None], more: str = "") -> str:
    """Return a .qml file: the renderer's attributes, its categories or ranges, a symbol per colour, and what else."""
    categories = "Symbology|Fields|Forms|MapTips" if more else "Symbology"
    symbols = "".join(_fill(str(i), colour, hollow=bool(more)) for i, colour in enumerate(fills))
    text = (
        f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n{_OURS}\n"
        f'<qgis version="3.22.0" styleCategories="{categories}">\n'
        f'<renderer-v2 {head} enableorderby="0" forceraster="0" symbollevels="0">\n'
        f"{classes}\n<symbols>\n{symbols}</symbols>\n</renderer-v2>\n"
        f"<layerOpacity>0.7</layerOpacity>\n{more}</qgis>\n"
    )
    return text.replace(_OURS, _OURS.format(digests.of_text(text)), 1)


def _quoted(text: str) -> str:
    """Return a text as the value of an attribute, without the letters that XML cannot have."""
    return saxutils.quoteattr(_FORBIDDEN.sub("", text))


def _fill(name: str, colour: str | None, *, hollow: bool) -> str:
    """Return the symbol of a colour; cells are outlined in a darker tone of it, which looks well at any scale.

    hollow: only outlined, so that imagery below is seen.
    """
    outline = colours.mixed(colour, "#000000", 0.0 if hollow else 0.25) if colour else "#969696"
    options = {
        "color": _rgba(colour or "#FFFFFF"),
        "style": "solid" if colour and not hollow else "no",
        "outline_color": _rgba(outline),
        "outline_style": "solid",
        "outline_width": "0.8" if hollow else "0.1",
        "outline_width_unit": "MM",
    }
    rows = "".join(f'<Option type="QString" name="{key}" value="{value}"/>' for key, value in options.items())
    return (
        f'<symbol type="fill" name="{name}" alpha="1" clip_to_extent="1" force_rhr="0">'
        f'<layer class="SimpleFill" enabled="1" locked="0" pass="0"><Option type="Map">{rows}</Option></layer>'
        "</symbol>\n"
    )


def _rgba(colour: str) -> str:
    return ",".join(map(str, (*colours.rgb(colour), 255)))
