"""Origins: where a modality of chips was fetched from, as chips.json tells it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SceneUsed:
    """A scene that pixels are medians of.

    date: on which it was sensed, such as 2020-06-03.
    baseline: processing baseline; None where unknown.
    offsets: of reflectance, by channel.
    """

    date: str
    baseline: str | None
    offsets: dict[str, float]


@dataclass(frozen=True)
class SeasonUsed:
    """A season in an area.

    scenes: their number.
    clear: the share of pixels with a value among those of the composites, 0 where there are none.
    """

    scenes: int
    clear: float


@dataclass(frozen=True)
class Origin:
    """An archive, and what was taken from it.

    archive: its name.
    licence, attribution: the terms of its use.
    address: of the API or the bucket.
    collection, year: of a catalogue.
    scenes: of a catalogue, by id.
    dropped: why scenes were left out, by id.
    areas: seasons of a catalogue, by area and name.
    tiles: names of the tiles of the seasonal data set.
    """

    archive: str
    licence: str
    attribution: str
    address: str
    collection: str | None = None
    year: int | None = None
    scenes: dict[str, SceneUsed] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    areas: dict[str, dict[str, SeasonUsed]] = field(default_factory=dict)
    tiles: tuple[str, ...] = ()
