"""What the values of rasters mean: classes or numbers, and what classes are called."""

import logging
import re
from collections.abc import Generator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from geoembed.ground.grid import Cells
from geoembed.imagery import rasters as rasters_
from geoembed.imagery.rasters import Raster
from geoembed.labels import legend, zonal
from geoembed.labels.rules import CLASSES, NUMBERS
from geoembed.progress import Progress

log = logging.getLogger(__name__)

MOST_CLASSES = 32
"""Number of different whole numbers up to which they are taken as classes, where nothing else tells."""

SAMPLE = 64
"""Number of chips whose pixels are looked at."""


def kind(rasters: Sequence[Raster], cells: Cells) -> Generator[Progress, None, str]:
    """Return whether rasters hold classes or numbers.

    Classes have a colour table or names, or else are few whole numbers from 0 on; what was guessed is said aloud.
    """
    if any(map(rasters_.is_categorical, rasters)) or _own_names(rasters[0]):
        return CLASSES
    if any((encoding.scale, encoding.offset) != (1.0, 0.0) for raster in rasters for encoding in raster.encodings):
        return NUMBERS
    # One chip tells fractions, of which many chips would hold too many.
    for number in (1, SAMPLE, len(cells)):
        chosen = np.unique(np.linspace(0, len(cells) - 1, min(number, len(cells))).astype(np.int64))
        values = np.array(sorted((yield from zonal.shares(rasters, cells[chosen], ())).pixels))
        if (values % 1 != 0).any():
            return NUMBERS
        if values.size and number > 1:
            break
    if not values.size:
        return NUMBERS
    address, told = rasters[0].address, _listed(values)
    if values.size <= MOST_CLASSES and values[0] >= 0:
        log.warning(
            "%s: holds the whole numbers %s, taken as classes; --names names them, --kind numbers averages them",
            address,
            told,
        )
        return CLASSES
    log.warning("%s: holds the whole numbers %s, which are averaged; --kind classes takes classes", address, told)
    return NUMBERS


def names(rasters: Sequence[Raster]) -> dict[int, str]:
    """Return the names of classes by value, as the first raster has them; none where it does not tell.

    They are in its category names or its attribute table; or its name or its colours are those of WorldCover.
    """
    raster = rasters[0]
    found = _own_names(raster)
    if not found and _is_worldcover(raster):
        log.info("%s: classes are named as in the WorldCover legend", raster.address)
        return {value: name for name, value in legend.WORLDCOVER.items()}
    return found


def _is_worldcover(raster: Raster) -> bool:
    if "worldcover" in raster.address.lower():
        return True
    return raster.palette and legend.has_colours(_colours(raster))


def _own_names(raster: Raster) -> dict[int, str]:
    """Return the names of classes by value in the files that GDAL writes beside a raster, or in a VRT; else none."""
    for path in map(Path, raster.files):
        if path.name.lower().endswith((".aux.xml", ".vrt")):
            try:
                document = ElementTree.fromstring(path.read_bytes())
            except ElementTree.ParseError:
                continue
            found = _of_categories(document) or _of_attributes(document)
            if found:
                return found
    return {}


def _of_categories(document: ElementTree.Element) -> dict[int, str]:
    """Return the category names of the first band that has some; else none."""
    texts = next(([node.text or "" for node in nodes] for nodes in document.iter("CategoryNames")), [])
    return {value: text.strip() for value, text in enumerate(texts) if text.strip()}


def _of_attributes(document: ElementTree.Element) -> dict[int, str]:
    """Return the names in a raster attribute table: the column of GDAL's usage 2 (name), by that of 5 (value)."""
    columns = [(node.findtext("Name", "").lower(), node.findtext("Usage")) for node in document.iter("FieldDefn")]
    values = [i for i, (name, usage) in enumerate(columns) if usage == "5" or name == "value"]
    titles = [i for i, (_, usage) in enumerate(columns) if usage == "2"]
    if not values or not titles:
        return {}
    rows = [[cell.text or "" for cell in row.iter("F")] for row in document.iter("Row")]
    cells = [(row[values[0]], row[titles[0]].strip()) for row in rows if len(row) == len(columns)]
    return {int(float(value)): title for value, title in cells if title and re.fullmatch(r"-?\d+(\.0*)?", value)}


def _colours(raster: Raster) -> dict[int, tuple[int, ...]]:
    with rasters_.dataset(raster.address) as file:
        return {value: tuple(colour[:3]) for value, colour in file.colormap(raster.bands[0]).items()}


def _listed(values: np.ndarray) -> str:
    texts = [f"{value:g}" for value in values]
    return ", ".join(texts) if len(texts) <= 12 else f"{', '.join(texts[:3])} ... {texts[-1]} ({len(texts)} of them)"
