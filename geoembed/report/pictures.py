"""Small pictures of chips, for a page that holds them in itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoembed.chips import thumbnails
from geoembed.ground import grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoembed.chips.batches import Reader
    from geoembed.chips.folder import ChipSet
    from geoembed.chips.thumbnails import Stretch

CHIPS, ACROSS = 32, 64
"""Most train chips that brightness is measured on, and about how many pixels along each side."""

EARTH_RADIUS = 6371.0088
"""Kilometres; the mean radius of the ellipsoid (Moritz 2000, Geodetic Reference System 1980)."""

_MEMORY = 2**27


@dataclass(frozen=True)
class Picture:
    """A chip as people see it: a PNG as a data URI, what it shows (alternative text), and a short caption."""

    uri: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Queries and what lies nearest to each: `rows` hold the query first, then its neighbours, nearest first.

    title: such as 'fused' or 's1 to s2'; note: one sentence on how neighbours were chosen.
    """

    title: str
    note: str
    rows: tuple[tuple[Picture, ...], ...]


@dataclass(frozen=True)
class Album:
    """How the chips of a folder are shown.

    reader: reads the channels that are shown, one to three per modality, and no others.
    stretches: per modality how bright its values are.
    lonlat: (N, 2) centres of the chips, degrees east and north.
    """

    reader: Reader
    stretches: dict[str, Stretch]
    lonlat: NDArray[np.float64]

    def picture(self, row: int, modality: str, caption: str = "") -> Picture | None:
        """Return the picture of a row of the index; None where the modality is absent or its file is broken.

        The caption begins with the name of the chip's area; `caption` follows it.
        """
        reader = self.reader
        if modality not in self.stretches or not reader.present[row, list(reader.channels).index(modality)]:
            return None
        values = reader.pixels(row, modality)
        if values is None or np.isnan(values).all():
            return None
        area = str(reader.chipset.index["aoi"].iloc[row])
        alt = f"{modality} of chip {reader.chip_ids[row]}, {area}"
        return Picture(thumbnails.uri(values, self.stretches[modality]), alt, f"{area}, {caption}" if caption else area)

    def legend(self, modality: str) -> str:
        """Tell which channels a modality's pictures show, such as 'red jja_red, green jja_green, blue jja_blue'."""
        names = self.reader.channels.get(modality, ())
        if len(names) == 1:
            return f"grey {names[0]}"
        told = (*names, f"{names[0]} - {names[1]}") if len(names) == 2 else names
        return ", ".join(f"{colour} {name}" for colour, name in zip(thumbnails.COLOURS, told, strict=False))


def album(chipset: ChipSet) -> Album:
    """Choose how chips are shown, from at most 32 train chips per modality (any chips where none is train).

    Shown are channels that all of those chips have. A modality of which no chip can be read has no pictures.
    """
    from geoembed.chips.batches import Reader

    reader = Reader(chipset, chipset.channels, memory=0)
    train = (chipset.index["split"] == "train").to_numpy()
    names, stretches = {}, {}
    for m, (modality, channels) in enumerate(chipset.channels.items()):
        here = reader.present[:, m]
        rows = np.flatnonzero(here & train if (here & train).any() else here)
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), CHIPS)).astype(int)]
        step = max(1, chipset.size // ACROSS)
        found = [pixels[:, ::step, ::step] for row in rows if (pixels := reader.pixels(int(row), modality)) is not None]
        if not found:
            continue
        shared = [name for i, name in enumerate(channels) if all(np.isfinite(pixels[i]).any() for pixels in found)]
        names[modality] = thumbnails.shown(shared or channels)
        at = [channels.index(name) for name in names[modality]]
        stretches[modality] = thumbnails.stretch([pixels[at] for pixels in found])
    centres = grid.cells(chipset.grids, reader.chip_ids).lonlat()
    return Album(Reader(chipset, names, memory=_MEMORY), stretches, centres)


def gallery(
    title: str,
    note: str,
    album: Album,
    queries: NDArray[np.int64],
    neighbours: NDArray[np.int64],
    query_modality: str,
    neighbour_modality: str,
) -> Gallery:
    """Show queries (q,) and their neighbours (q, k), both rows of the index, nearest first; -1 is none.

    Captions tell a neighbour's area and its distance from the query. What has no picture is left out, and with it the
    row of a query without a picture or without neighbours.
    """
    rows = []
    for query, found in zip(queries.tolist(), neighbours.tolist(), strict=True):
        first = album.picture(query, query_modality)
        others = [
            album.picture(row, neighbour_modality, _apart(album.lonlat[query], album.lonlat[row], query == row))
            for row in found
            if row >= 0
        ]
        shown = tuple(one for one in others if one is not None)
        if first is not None and shown:
            rows.append((first, *shown))
    return Gallery(title, note, tuple(rows))


def _apart(one: NDArray[np.float64], other: NDArray[np.float64], same: bool) -> str:
    """Tell the distance of two places (degrees east and north) on the sphere, by the haversine formula."""
    if same:
        return "the same chip"
    (east, north), (east_too, north_too) = np.radians(one), np.radians(other)
    squared = np.sin((north_too - north) / 2) ** 2
    squared += np.cos(north) * np.cos(north_too) * np.sin((east_too - east) / 2) ** 2
    distance = 2 * EARTH_RADIUS * np.arcsin(np.sqrt(min(squared, 1.0)))
    return f"{distance:.1f} km" if distance < 9.95 else f"{distance:,.0f} km"
