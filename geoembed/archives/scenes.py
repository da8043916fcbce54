"""Scenes: Sentinel-2 products as a catalogue describes them, with what their numbers mean."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from affine import Affine
from pydantic import PlainSerializer, PlainValidator

from geoembed.imagery.catalogues import SEASONS, Season

MONTHS: dict[Season, tuple[int, int, int]] = {"djf": (12, 1, 2), "mam": (3, 4, 5), "jja": (6, 7, 8), "son": (9, 10, 11)}
"""Months of each season; the December of djf is that of the year before."""


def _of_six(numbers: Any) -> Affine:
    if isinstance(numbers, Affine):
        return numbers
    if not isinstance(numbers, list | tuple) or len(numbers) != 6:
        raise ValueError("a transform has six numbers")
    return Affine(*map(float, numbers))


Transform = Annotated[Affine, PlainValidator(_of_six), PlainSerializer(lambda transform: list(transform[:6]))]
"""An affine transform, which is its first six numbers in JSON."""


@dataclass(frozen=True)
class Asset:
    """A file of a scene: one band, or the scene classification.

    href: where it lies, unsigned; http or https.
    scale, offset: reflectance = DN * scale + offset; 1 and 0 for the classification.
    crs, transform, height, width: of its pixels; None where the catalogue does not say (then its header does).
    size: in bytes; None where the catalogue does not say.
    """

    href: str
    scale: float = 1.0
    offset: float = 0.0
    crs: str | None = None
    transform: Transform | None = None
    height: int | None = None
    width: int | None = None
    size: int | None = None


@dataclass(frozen=True)
class Scene:
    """A product of one tile and one datastrip.

    id: of the item in its catalogue.
    tile: MGRS tile, such as 32TPT.
    time: when it was sensed, UTC.
    platform: such as sentinel-2a.
    sensed: when its datastrip began, UTC, as in the product's or the datastrip's name; None where unknown.
    cloud: cloud cover in percent of the pixels with data; None where unknown.
    baseline: processing baseline, such as 05.09; None where unknown.
    generation: time of processing, or a counter, by which later products of one datastrip are told; text that sorts.
    bounds: west, south, east, north in degrees; west > east over 180 degrees.
    bands: assets by channel without season, such as red.
    classification: the scene classification (SCL); None where the recipe needs none.
    """

    id: str
    tile: str
    time: datetime
    platform: str
    sensed: datetime | None
    cloud: float | None
    baseline: str | None
    generation: str
    bounds: tuple[float, float, float, float]
    bands: dict[str, Asset]
    classification: Asset | None


def latest(scenes: Iterable[Scene]) -> list[Scene]:
    """Return scenes without those that were processed again, in the order of tile, time and id.

    Products of one tile, platform and datastrip are the same pixels: the highest baseline stays, then the latest
    generation. Two datastrips of one day are different pixels; so is a product whose datastrip is unknown.
    """
    kept: dict[tuple[object, ...], Scene] = {}
    for scene in scenes:
        key = (scene.tile, scene.platform, scene.sensed) if scene.sensed else (scene.id,)
        kept[key] = max(kept.get(key, scene), scene, key=_newness)
    return sorted(kept.values(), key=lambda scene: (scene.tile, scene.time, scene.id))


def _newness(scene: Scene) -> tuple[str, str, str]:
    return scene.baseline or "", scene.generation, scene.id


def span(season: Season, year: int) -> tuple[datetime, datetime]:
    """Return the beginning of a season of a year, and of the season after it, UTC."""
    first, _, last = MONTHS[season]
    return datetime(year - (first == 12), first, 1, tzinfo=UTC), datetime(year, last + 1, 1, tzinfo=UTC)


def season(time: datetime) -> tuple[Season, int]:
    """Return the season in which a time lies, and its year."""
    name = next(name for name in SEASONS if time.month in MONTHS[name])
    return name, time.year + (time.month == 12)


def empty_months(scenes: Iterable[Scene], name: Season, year: int) -> list[str]:
    """Return the months of a season, as in 2019-12, in which no scene lies."""
    filled = {(scene.time.year, scene.time.month) for scene in scenes}
    months = [(year - (month == 12), month) for month in MONTHS[name]]
    return [f"{year:04}-{month:02}" for year, month in months if (year, month) not in filled]
