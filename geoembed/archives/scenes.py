"""Scenes: Sentinel-2 products as a catalogue describes them, with what their numbers mean."""

from dataclasses import dataclass
from datetime import datetime

from affine import Affine


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
    transform: Affine | None = None
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
