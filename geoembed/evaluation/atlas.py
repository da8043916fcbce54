"""Maps as pictures: the imagery of each area, the classes or numbers that a map gives its chips, and where it is wrong.

Positions are in cells from the upper left of an area; pixels are (row, column), red, green, blue and opacity.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoembed.chips import thumbnails
from geoembed.evaluation.pictures import Picture
from geoembed.outputs import colours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoembed.evaluation.pictures import Album
    from geoembed.ground.grid import Cells

SIDE, LARGEST = 400, 40
"""Pixels along the longer side of an area, and at most along that of a cell."""

MOST_AREAS, MOST_NUMBERS = 6, 2**29
"""Most areas that are shown, and most numbers of chips that are read for their imagery."""

PLAIN = (225, 225, 225)
"""The colour of cells without imagery."""

RIGHT, WRONG = colours.SKY, colours.VERMILION
"""The colours of tested chips."""

OVER_IMAGERY, OVER_PLAIN = 0.55, 0.9
"""How much of a cell's colour is a class's."""


@dataclass(frozen=True)
class Sheet:
    """The chips of an area on one grid, as they lie in a picture.

    name: of the area, and of the grid where the area lies on several.
    chips: (n,) their rows.
    rows, columns: (n,) of their cells, from the upper left.
    height, width: in cells.
    """

    name: str
    chips: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    height: int
    width: int

    @property
    def scale(self) -> float:
        """Return the pixels along a cell's side, a whole number where there are several."""
        scale = min(SIDE / max(self.height, self.width), LARGEST)
        return float(int(scale)) if scale > 3 else scale

    def boxes(self) -> NDArray[np.int64]:
        """Return the pixels of each cell, (n, 4): first and past the last row, first and past the last column."""
        top, left = (self.rows * self.scale).astype(int), (self.columns * self.scale).astype(int)
        bottom, right = ((at + 1) * self.scale for at in (self.rows, self.columns))
        return np.stack(
            [top, np.maximum(bottom.astype(int), top + 1), left, np.maximum(right.astype(int), left + 1)], axis=1
        )

    def canvas(self) -> NDArray[np.uint8]:
        """Return a picture with plain cells and nothing around them."""
        boxes = self.boxes()
        canvas = np.zeros((boxes[:, 1].max(), boxes[:, 3].max(), 4), np.uint8)
        for top, bottom, left, right in boxes:
            canvas[top:bottom, left:right] = (*PLAIN, 255)
        return canvas


def sheets(aoi: NDArray[np.str_], cells: Cells) -> list[Sheet]:
    """Lay out areas, in order of their names; an area on several grids is one sheet for each."""
    laid: list[Sheet] = []
    for area in np.unique(aoi):
        of_area = [(grid, at[aoi[at] == area]) for grid, at in cells.by_grid()]
        of_area = [(grid, at) for grid, at in of_area if len(at)]
        for grid, chips in of_area:
            rows = -grid.upward * cells.rows[chips]
            rows, columns = rows - rows.min(), cells.columns[chips] - cells.columns[chips].min()
            name = str(area) if len(of_area) == 1 else f"{area}, {grid.name}"
            laid.append(Sheet(name, chips, rows, columns, int(rows.max()) + 1, int(columns.max()) + 1))
    return laid


def most(laid: Sequence[Sheet]) -> tuple[list[Sheet], int]:
    """Return the sheets that are shown, those of most chips, in their order; and how many chips are on the others."""
    by_chips = sorted(laid, key=lambda sheet: -len(sheet.chips))
    shown = by_chips[:MOST_AREAS]
    return [sheet for sheet in laid if sheet in shown], sum(len(sheet.chips) for sheet in by_chips[MOST_AREAS:])


def imagery(sheet: Sheet, album: Album, modality: str, index_rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the picture of a sheet's chips, at the size of their cells; chips that lack the modality are plain.

    index_rows: (N,) for each chip the row of the index of chips.
    """
    from PIL import Image

    canvas = sheet.canvas()
    for chip, (top, bottom, left, right) in zip(sheet.chips, sheet.boxes(), strict=True):
        values = album.values(int(index_rows[chip]), modality)
        if values is not None:
            small = thumbnails.image(values, album.stretches[modality])
            canvas[top:bottom, left:right, :3] = small.resize((right - left, bottom - top), Image.Resampling.BOX)
    return canvas


def coloured(sheet: Sheet, background: NDArray[np.uint8], of_chips: Sequence[str | None]) -> NDArray[np.uint8]:
    """Lay colours over cells, which show through; None leaves a cell as it is. of_chips: (n,) of the sheet's chips."""
    painted, plain = background.copy(), bool((background[..., :3][background[..., 3] > 0] == PLAIN).all())
    share = OVER_PLAIN if plain else OVER_IMAGERY
    for colour, (top, bottom, left, right) in zip(of_chips, sheet.boxes(), strict=True):
        if colour is not None:
            below = painted[top:bottom, left:right, :3]
            painted[top:bottom, left:right, :3] = np.round(below * (1 - share) + np.array(colours.rgb(colour)) * share)
    return painted


def judged(sheet: Sheet, background: NDArray[np.uint8], wrong: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Show where a map is wrong, over imagery in pale grey; wrong: (n,) 1, 0 where right, NaN where not tested."""
    painted = background.copy()
    grey = painted[..., :3].mean(axis=2, keepdims=True)
    painted[..., :3] = np.where(painted[..., 3:] > 0, 128 + grey / 2, 0).astype(np.uint8)
    order = np.argsort(np.nan_to_num(wrong, nan=-1), kind="stable")  # where several cells share a pixel, wrong ones win
    for chip, (top, bottom, left, right) in zip(order, sheet.boxes()[order], strict=True):
        if wrong[chip] == 1:
            painted[top:bottom, left:right, :3] = colours.rgb(WRONG)
        elif wrong[chip] == 0:
            below = painted[top:bottom, left:right, :3]
            painted[top:bottom, left:right, :3] = np.round(below * 0.4 + np.array(colours.rgb(RIGHT)) * 0.6)
    return painted


def picture(pixels: NDArray[np.uint8], alt: str, caption: str) -> Picture:
    """Return pixels as a WebP in a data URI."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=70, method=4)
    return Picture("data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii"), alt, caption)
