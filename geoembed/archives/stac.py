"""Searching a STAC API: all scenes of seasons in an area, whatever its pages, limits and next links are like."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pydantic
import shapely

from geoembed.archives import items, pages, scenes
from geoembed.archives.client import Client
from geoembed.archives.scenes import Scene
from geoembed.errors import FetchError
from geoembed.ground import antimeridian
from geoembed.imagery.catalogues import Stac
from geoembed.outputs import documents
from geoembed.version import __version__

SIDE, FINE = 8.0, 2.0
"""Degrees of the largest box that is searched at once; of the largest that is not cut where it is mostly empty."""

MARGIN = 0.02
"""Degrees by which a scene may miss the area, as catalogues simplify the scenes' outlines."""

MOST_REASONS = 5


@dataclass(frozen=True)
class Found:
    """What a search found.

    scenes: in the order of tile, time and id.
    duplicates: products left out as there is a later one of the same pixels.
    cloudy: scenes with more cloud than is looked at.
    unusable: items of which no scene can be made.
    reasons: of the first of these, a line each.
    """

    scenes: tuple[Scene, ...]
    duplicates: int = 0
    cloudy: int = 0
    unusable: int = 0
    reasons: tuple[str, ...] = ()


def write(path: Path, found: Found) -> None:
    """Write what was found, so that later runs use the same scenes."""
    content = pydantic.TypeAdapter(Found).dump_python(found, mode="json")
    documents.write(path, {"geoembed_version": __version__, **content})


def read(path: Path) -> Found:
    """Read what `write` wrote; raises FetchError where it is missing or damaged."""
    return documents.read(path, Found, FetchError, "remove it, and the catalogue is searched again")


def search(client: Client, settings: Stac, area: Any) -> Found:
    """Return the scenes of the settings' seasons that meet an area, a shapely geometry in EPSG:4326.

    Longitudes may run on past 180 degrees. Raises FetchError where the catalogue cannot be searched to the end.
    """
    area = antimeridian.cut(shapely.make_valid(area))
    spans = [scenes.span(season, settings.year) for season in settings.seasons]
    answers = _answers(client, settings, [pages.Part(box, *span) for span, box in product(spans, _boxes(area))])
    shapely.prepare(area)
    near: list[Scene] = []
    reasons: list[str] = []
    for _, answer in sorted(answers.items()):
        if isinstance(answer, str):
            reasons.append(answer)
            continue
        scene, outline = answer
        if shapely.dwithin(area, outline, MARGIN) and any(start <= scene.time < end for start, end in spans):
            near.append(scene)
    latest = scenes.latest(near)
    clear = tuple(scene for scene in latest if scene.cloud is None or scene.cloud <= settings.max_cloud)
    return Found(
        scenes=clear,
        duplicates=len(near) - len(latest),
        cloudy=len(latest) - len(clear),
        unusable=len(reasons),
        reasons=tuple(reasons[:MOST_REASONS]),
    )


_Answer = str | tuple[Scene, Any]
"""Why an item is unusable, or its scene and outline."""


def _answers(client: Client, settings: Stac, parts: list[pages.Part]) -> dict[str, _Answer]:
    """Return what is said of all items of some parts, by id; raises FetchError where there is no such collection."""

    def read(item: Any) -> _Answer:
        try:
            return items.scene(item, settings, pages.name(settings.api, settings.collection))
        except ValueError as fault:
            return str(fault)

    catalogue = pages.Catalogue(client, settings.api.rstrip("/"), settings.collection, read)
    answers: dict[str, _Answer] = {}
    pool = ThreadPoolExecutor(client.connections)
    try:
        for found in pool.map(catalogue.items, parts):
            answers.update(found)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if not answers:
        catalogue.require_collection()
    return answers


def _boxes(area: Any) -> Iterator[pages.Box]:
    """Yield boxes of at most `SIDE` degrees that hold an area, without much of what it leaves out."""
    west, south, east, north = area.bounds
    wide, high = east - west, north - south
    if max(wide, high) <= FINE or (max(wide, high) <= SIDE and area.area >= 0.5 * wide * high):
        yield (
            max(west - MARGIN, -180.0), max(south - MARGIN, -90.0), min(east + MARGIN, 180.0), min(north + MARGIN, 90.0)
        )  # fmt: skip
        return
    for half in pages.halves((west, south, east, north)):
        part = shapely.intersection(area, shapely.box(*half))
        if part.area > 0:
            yield from _boxes(part)
