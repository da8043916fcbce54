"""The page of a search: one HTML file that shows examples and what was found, nearest first, with pictures of chips."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoembed.outputs import atomic, digests
from geoembed.report import markup

if TYPE_CHECKING:
    import geopandas

    from geoembed.evaluation.pictures import Album, Picture

MOST, EXAMPLES = 200, 24
"""Most chips found, and examples of a kind, of which a page has pictures."""

_SEAL = "<!DOCTYPE html>\n<!-- made by geoembed search from {}, sha256 {} -->"
_FOUND = re.compile(_SEAL.format("([0-9a-f]{64})", "([0-9a-f]{64})"))
_STYLE = (
    ".found { display: grid; grid-template-columns: repeat(auto-fill,minmax(7rem,1fr)); gap: .7rem; margin: 1rem 0; }"
    ".found img { width: 100%; display: block; image-rendering: pixelated; }"
    ".found figcaption { font: .75rem/1.3 system-ui,sans-serif; margin: .2rem 0 0; }"
    "@media print { .found { grid-template-columns: repeat(6,minmax(0,1fr)); } }"
)


@dataclass(frozen=True)
class Shown:
    """The chips of a kind that a page shows.

    title: what they are.
    pictures: of the first of them, those that have one.
    chips: how many there are.
    """

    title: str
    pictures: tuple[Picture, ...]
    chips: int


def shown(
    title: str, album: Album, chip_ids: NDArray[np.str_], modality: str, captions: Sequence[str], most: int
) -> Shown:
    """Return the pictures of the first `most` chips, in a modality; those that the chip folder lacks have none."""
    row_of = {chip_id: row for row, chip_id in enumerate(album.reader.chip_ids.tolist())}
    pairs = list(zip(chip_ids.tolist(), captions, strict=True))[:most]
    rows = [(row_of[chip_id], caption) for chip_id, caption in pairs if chip_id in row_of]
    pictures = [album.picture(row, modality, caption) for row, caption in rows]
    return Shown(title, tuple(picture for picture in pictures if picture is not None), len(chip_ids))


def html(
    made_from: str, title: str, lines: Sequence[str], parts: Sequence[Shown], table: geopandas.GeoDataFrame
) -> str:
    """Return the page; it holds all that it shows.

    made_from: the digest of what it was made from.
    lines: what was searched, and how, in sentences.
    """
    css = resources.files("geoembed.report").joinpath("page.css").read_text(encoding="utf-8") + _STYLE
    head = ("rank", "similarity", "chip_id", "aoi", "split", "lon", "lat")
    rows = [
        (f"{rank:,}", markup.decimal(similarity), chip_id, aoi, split, markup.decimal(lon, 5), markup.decimal(lat, 5))
        for rank, similarity, chip_id, aoi, split, lon, lat in zip(*(table[name] for name in head), strict=True)
    ]
    whole = markup.table(head, rows, names=0)
    body = "".join(
        [
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{markup.text(title)}</title><style>{css}</style></head><body><h1>{markup.text(title)}</h1>",
            *(markup.paragraph(line) for line in lines),
            *map(_section, parts),
            markup.details("All chips found", whole) if any(part.pictures for part in parts) else whole,
            "</body></html>\n",
        ]
    )
    return f"{_SEAL.format(made_from, digests.of_text(body))}\n{body}"


def _section(part: Shown) -> str:
    if not part.pictures:
        return ""
    figures = "".join(
        f"<figure>{markup.image(picture)}<figcaption>{markup.text(picture.caption)}</figcaption></figure>"
        for picture in part.pictures
    )
    few = (
        f"{len(part.pictures):,} of {part.chips:,} are shown: the first that have a picture."
        if len(part.pictures) < part.chips
        else ""
    )
    return f'<h2>{markup.text(part.title)}</h2>{markup.paragraph(few, "quiet")}<div class="found">{figures}</div>'


def write(path: Path, page: str) -> None:
    """Write the page, whole."""
    atomic.write_text(path, page)


def is_kept(path: Path, made_from: str) -> bool:
    """Tell whether a page is there as `html` made it from the same."""
    found = _sealed(path)
    if found is None or found[1] != made_from:
        return False
    return digests.of_text(found.string[found.end() + 1 :]) == found[2]


def is_ours(path: Path) -> bool:
    """Tell by its first lines whether a file is such a page, in whatever state it is now."""
    return _sealed(path) is not None


def _sealed(path: Path) -> re.Match[str] | None:
    return _FOUND.match(path.read_bytes().decode("utf-8", "replace")) if path.is_file() else None
