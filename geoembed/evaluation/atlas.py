"""Maps as pictures: the imagery of each area, the classes or numbers that a map gives its chips, and where it is wrong.

Positions are in cells from the upper left of an area; pixels are (row, column), red, green, blue and opacity.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoembed.chips import thumbnails
from geoembed.evaluation.pictures import Picture
from geoembed.outputs import colours, styles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoembed.evaluation.pictures import Album
    from geoembed.fits.assessment import Assessment
    from geoembed.ground.grid import Cells
    from geoembed.labels.targets import Targets
    from geoembed.outputs.styles import Category

SIDE, LARGEST = 400, 40
"""Pixels along the longer side of an area, and at most along that of a cell."""

MOST_AREAS = 6
"""Most areas that are shown."""

MOST_CHIPS, MOST_NUMBERS = 20_000, 2**29
"""Most chips, and numbers in them, that are read for imagery: more take minutes, and each is a pixel or two."""

MOST_GRIDS = 120
"""Most grids of an area that are shown one by one: UTM has as many zones and hemispheres."""

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
        if len(of_area) > MOST_GRIDS:
            laid.append(_scattered(str(area), np.flatnonzero(aoi == area), cells))
            continue
        for grid, chips in of_area:
            rows = -grid.upward * cells.rows[chips]
            rows, columns = rows - rows.min(), cells.columns[chips] - cells.columns[chips].min()
            name = str(area) if len(of_area) == 1 else f"{area}, {grid.name}"
            laid.append(Sheet(name, chips, rows, columns, int(rows.max()) + 1, int(columns.max()) + 1))
    return laid


def _scattered(name: str, chips: NDArray[np.int64], cells: Cells) -> Sheet:
    """Lay out chips that lie on grids of their own, as tiles that others made do: where their centres are."""
    part = cells[chips]
    west, south, east, north = part.bounds().T
    x, y = part.lonlat().T
    x = (x - x[0] + 180.0) % 360.0  # areas over 180 degrees too
    columns = np.round((x - x.min()) / np.median((east - west) % 360.0)).astype(np.int64)
    rows = np.round((y.max() - y) / np.median(north - south)).astype(np.int64)
    return Sheet(name, chips, rows, columns, int(rows.max()) + 1, int(columns.max()) + 1)


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
            size = (int(right - left), int(bottom - top))
            canvas[top:bottom, left:right, :3] = np.asarray(small.resize(size, Image.Resampling.BOX))
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


@dataclass(frozen=True)
class Panel:
    """An area: its map, and where the map is wrong.

    mapped, errors: pictures of the same cells.
    tested, wrong: number of chips whose label was held out, and of those that are predicted wrong.
    """

    mapped: Picture
    errors: Picture
    tested: int
    wrong: int


@dataclass(frozen=True)
class Atlas:
    """The map of a task, area by area.

    task: what was predicted.
    legend: the classes or steps of numbers, and their colours.
    panels: an area each.
    chips_elsewhere: number of chips in areas that are not shown.
    shown: what the background is, such as 's2: red jja_red, green jja_green, blue jja_blue'; nothing without imagery.
    far: of numbers, the difference from the label above which a chip counts as wrong: that of the worst tenth.
    """

    task: str
    legend: tuple[Category, ...]
    panels: tuple[Panel, ...]
    chips_elsewhere: int
    shown: str
    far: float = math.nan


@dataclass(frozen=True)
class Grounds:
    """The areas that maps are drawn of, and what lies below.

    sheets: an area each.
    below: the picture of each.
    chips_elsewhere: number of chips in areas that are not shown.
    shown: what the pictures show; nothing where cells are plain.
    """

    sheets: tuple[Sheet, ...]
    below: tuple[NDArray[np.uint8], ...]
    chips_elsewhere: int
    shown: str


def grounds(aoi: NDArray[np.str_], cells: Cells, album: Album | None, index_rows: NDArray[np.int64]) -> Grounds:
    """Lay out areas (N,) and their cells, over the imagery of the album's first modality where there is one.

    Where chips are so large that reading those shown would take long, cells are plain.
    index_rows: (N,) for each chip the row of the album's index.
    """
    shown, elsewhere = most(sheets(aoi, cells))
    modality = next(iter(album.stretches), None) if album else None
    if album is None or modality is None or not _is_quick(shown, album, modality):
        return Grounds(tuple(shown), tuple(sheet.canvas() for sheet in shown), elsewhere, "")
    below = tuple(imagery(sheet, album, modality, index_rows) for sheet in shown)
    return Grounds(tuple(shown), below, elsewhere, f"{modality}: {album.legend(modality)}")


def _is_quick(shown: Sequence[Sheet], album: Album, modality: str) -> bool:
    numbers = len(album.reader.channels[modality]) * album.reader.chipset.size**2
    chips = sum(len(sheet.chips) for sheet in shown)
    return chips <= MOST_CHIPS and chips * numbers <= MOST_NUMBERS


def of_task(grounds: Grounds, task: Targets, found: Assessment, usable: NDArray[np.bool_]) -> Atlas:
    """Draw the map of a task and where it is wrong; usable: (N,) whether a chip has a prediction."""
    legend, of_chips = _colours(task, found, usable)
    wrong, far = _wrong(found, len(usable))
    panels = []
    for sheet, below in zip(grounds.sheets, grounds.below, strict=True):
        judgement = wrong[sheet.chips]
        tested, failed = int(np.count_nonzero(~np.isnan(judgement))), int(np.count_nonzero(judgement == 1))
        mapped = coloured(sheet, below, [of_chips[chip] for chip in sheet.chips])
        panels.append(
            Panel(
                picture(mapped, f"{task.name}, map of {sheet.name}, {len(sheet.chips):,} chips", sheet.name),
                picture(
                    judged(sheet, below, judgement),
                    f"{task.name}, errors in {sheet.name}: {failed:,} of {tested:,} tested chips",
                    f"{failed:,} of {tested:,} wrong",
                ),
                tested,
                failed,
            )
        )
    return Atlas(task.name, tuple(legend), tuple(panels), grounds.chips_elsewhere, grounds.shown, far)


def _colours(task: Targets, found: Assessment, usable: NDArray[np.bool_]) -> tuple[list[Category], list[str | None]]:
    """Return a legend and the colour of each of N chips, None where it has none: those of the style for QGIS."""
    if task.classes:
        legend = styles.legend(task.classes, task.name)
        chosen = np.where(usable, found.decided, -1)
    else:
        known = found.predicted[usable]
        each = styles.steps(float(known.min()), float(known.max()))
        legend = [styles.Category("", styles.spelled(low, high), colour) for low, high, colour in each]
        inner = [high for _, high, _ in each[:-1]]
        chosen = np.where(usable, np.searchsorted(inner, np.nan_to_num(found.predicted)), -1)
    of_classes = [category.colour for category in legend]
    return legend, [None if k < 0 else of_classes[k] for k in chosen.tolist()]


def _wrong(found: Assessment, chips: int) -> tuple[NDArray[np.float64], float]:
    """Tell which chips are wrong, (N,): 1, 0 where right, NaN where no label was held out; and what counts as wrong.

    A class is wrong that is so in half of the repetitions or more, a number where it is among the tenth that is
    farthest off.
    """
    held, wrong, far = found.held, np.full(chips, math.nan), math.nan
    if held.classes:
        wrong[held.rows] = (held.decided != held.truth).mean(axis=0) >= 0.5
    else:
        off = np.abs(held.predicted.mean(axis=0) - held.truth)
        far = float(np.quantile(off, 0.9))
        wrong[held.rows] = off > far
    return wrong, far
