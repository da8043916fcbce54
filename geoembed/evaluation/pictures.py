"""Small pictures of chips, for a page that holds them in itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoembed.chips import thumbnails
from geoembed.ground import distances, grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoembed.chips.batches import Reader
    from geoembed.chips.folder import ChipSet
    from geoembed.chips.thumbnails import Stretch

CHIPS, ACROSS = 32, 64
"""Most train chips that brightness is measured on, and about how many pixels along each side of them."""

_MEMORY = 2**27
"""Bytes of chips that an album remembers, as one chip may be a neighbour of several."""


@dataclass(frozen=True)
class Picture:
    """A chip as people see it.

    uri: a PNG as a data URI.
    alt: what it shows, in words.
    caption: a few words below it.
    """

    uri: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Chips and what lies nearest to each.

    title: such as 'fused' or 's1 to s2'.
    note: how neighbours were chosen, and which channels are shown.
    rows: a query first, then its neighbours, nearest first.
    """

    title: str
    note: str
    rows: tuple[tuple[Picture, ...], ...]


@dataclass(frozen=True)
class Album:
    """How the chips of a folder are shown.

    reader: reads the channels that are shown, one to three per modality.
    stretches: for each modality how values become brightness.
    lonlat: (N, 2) centres of the chips, degrees east and north.
    """

    reader: Reader
    stretches: dict[str, Stretch]
    lonlat: NDArray[np.float64]

    def picture(self, row: int, modality: str, caption: str = "") -> Picture | None:
        """Return the picture of a row of the index; None where the modality is absent or its file is broken.

        The caption begins with the name of the chip's area; `caption` follows it.
        """
        values = self.values(row, modality)
        if values is None:
            return None
        area = str(self.reader.chipset.index["aoi"].iloc[row])
        alt = f"{modality} of chip {self.reader.chip_ids[row]}, {area}"
        return Picture(thumbnails.uri(values, self.stretches[modality]), alt, f"{area}, {caption}" if caption else area)

    def values(self, row: int, modality: str) -> NDArray[np.float32] | None:
        """Return the shown channels (C, H, W) of a row of the index; None where there is nothing to show."""
        reader = self.reader
        if modality not in self.stretches or not reader.present[row, list(reader.channels).index(modality)]:
            return None
        values = reader.pixels(row, modality)
        return None if values is None or np.isnan(values).all() else values

    def legend(self, modality: str) -> str:
        """Return which channels a modality's pictures show, such as 'red jja_red, green jja_green, blue jja_blue'."""
        names = self.reader.channels.get(modality, ())
        if len(names) == 1:
            return f"grey {names[0]}"
        bands = (*names, f"{names[0]} - {names[1]}") if len(names) == 2 else names
        return ", ".join(f"{colour} {band}" for colour, band in zip(thumbnails.COLOURS, bands, strict=False))


def album(chipset: ChipSet) -> Album:
    """Choose how chips are shown, by at most CHIPS train chips per modality (any chips where no train chip has it).

    Only channels that all of these chips have are shown. A modality of which none can be read has no pictures.
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
        chips = [pixels[:, ::step, ::step] for row in rows if (pixels := reader.pixels(int(row), modality)) is not None]
        if not chips:
            continue
        shared = [name for i, name in enumerate(channels) if all(np.isfinite(pixels[i]).any() for pixels in chips)]
        names[modality] = thumbnails.shown(shared or channels)
        at = [channels.index(name) for name in names[modality]]
        stretches[modality] = thumbnails.stretch([pixels[at] for pixels in chips])
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

    Captions give a neighbour's area and its distance from the query. Chips without a picture are left out, and so are
    queries without a picture or without neighbours.
    """
    rows = []
    for query, nearest in zip(queries.tolist(), neighbours.tolist(), strict=True):
        first = album.picture(query, query_modality)
        beside = [
            album.picture(row, neighbour_modality, _distance(album.lonlat[query], album.lonlat[row], query == row))
            for row in nearest
            if row >= 0
        ]
        shown = tuple(picture for picture in beside if picture is not None)
        if first is not None and shown:
            rows.append((first, *shown))
    return Gallery(title, note, tuple(rows))


def _distance(query: NDArray[np.float64], place: NDArray[np.float64], same: bool) -> str:
    """Return in words how far a place is from a query, both degrees east and north."""
    if same:
        return "the same chip"
    distance = float(distances.metres(query, place)) / 1000
    return f"{distance:.1f} km" if distance < 9.95 else f"{distance:,.0f} km"
