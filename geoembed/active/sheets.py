"""Sheets: vector files of chips that people look at and label in QGIS, with pictures of the chips as map tips.

A sheet is the user's own from the first edit on: its record tells what it was made from, and its rows carry no digest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
from numpy.typing import NDArray

from geoembed.chips import thumbnails
from geoembed.chips.folder import ChipSet
from geoembed.errors import GeoembedError, LabelError, StaleError
from geoembed.fits.embeddings import Embeddings
from geoembed.ground import grid
from geoembed.outputs import atomic, geopackage, records, styles
from geoembed.outputs.records import Record, Standing

LAYER = "to_label"
PICTURE = "picture"
"""The column of a picture, a PNG in a data URI."""

GIVEN = "given"
"""The column of labels that were there before."""

TIP = (
    f"""[% coalesce('<img width="224" src="' || "{PICTURE}" || '"/><br/>', '') %]"""
    """[% "chip_id" %]"""
)
"""What QGIS shows where the mouse rests on a chip."""


def table(file: Embeddings, rows: NDArray[np.int64], columns: dict[str, Any]) -> geopandas.GeoDataFrame:
    """Return a sheet of some rows of embeddings: rank, chip_id, aoi, split, the column to fill in, and others."""
    named = {"rank": np.arange(1, len(rows) + 1), "chip_id": file.chip_id[rows], "aoi": file.aoi[rows]}
    outlines = grid.cells(file.grids, file.chip_id[rows]).outlines
    return geopandas.GeoDataFrame({**named, "split": file.split[rows], **columns}, geometry=outlines, crs="EPSG:4326")


def pictures(chips: ChipSet, chip_ids: NDArray[Any]) -> list[str | None]:
    """Return a picture of each chip in the first modality that it has, None where the folder has no such chip."""
    found: list[str | None] = [None] * len(chip_ids)
    at = {chip_id: row for row, chip_id in enumerate(chips.index["chip_id"])}
    for modality, channels in chips.channels.items():
        names = thumbnails.shown(channels)
        held = chips.index[modality].notna().to_numpy()
        wanted = [k for k, one in enumerate(chip_ids) if found[k] is None and one in at and held[at[one]]]
        values = []
        for k in wanted:
            chip = chips.read(at[chip_ids[k]], modality)
            empty = np.full(chip.values.shape[1:], np.nan, np.float32)
            values.append(
                np.stack([chip.values[chip.channels.index(n)] if n in chip.channels else empty for n in names])
            )
        if values:
            stretch = thumbnails.stretch(values)
            for k, pixels in zip(wanted, values, strict=True):
                found[k] = thumbnails.uri(pixels, stretch)
    return found


def is_kept(output: Path, record: Record, *, update: bool, overwrite: bool) -> bool:
    """Tell whether a sheet of this record is there; raises StaleError where another, or a labelled one, must stay."""
    existing = geopackage.record_of(output, LAYER)
    if existing is None and (step := geopackage.made_by(output)):
        raise StaleError(f"{output}: was made by geoembed {step}; choose another -o")
    if existing is None:
        records.require_ours(output, geopackage.is_ours, overwrite=overwrite)
    damage = geopackage.faults(output, whole=True) if existing and not overwrite else []
    if damage:
        raise StaleError(damage[0])  # there may be labels in it
    held = labelled(output) if existing else 0
    if held and (update or overwrite):
        raise StaleError(f"{output}: holds {held} labels of yours; keep them, and choose another -o")
    for name in (output.name, styles.beside(output).name):
        atomic.sweep(output.parent, name)
    finished = existing is not None and (held > 0 or styles.is_settled(output))
    standing = records.settle(output, record, existing, finished=finished, update=update, overwrite=overwrite)
    if standing is not Standing.KEPT:
        geopackage.require_closed(output)
        return False
    atomic.touch(*(path for path in (styles.beside(output), output) if path.exists()))
    return True


def write(
    output: Path,
    sheet: geopandas.GeoDataFrame,
    record: Record,
    *,
    column: str,
    classes: Sequence[Any],
    task: str,
    title: str,
) -> None:
    """Write a sheet with a form whose `column` takes one of some classes, or what is typed where there are none."""
    styles.write(output, styles.sheet(column, classes, task, title, TIP))
    geopackage.write(output, LAYER, sheet, record, edited=True)


def read(output: Path) -> geopandas.GeoDataFrame:
    """Read a sheet; raises LabelError where it cannot be read."""
    return geopackage.read(output, LAYER, LabelError)


def labelled(output: Path) -> int:
    """Return how many rows of a sheet somebody has filled in, or changed where they had a label."""
    try:
        held = read(output)
    except (GeoembedError, *geopackage.FAULTS):
        return 0
    column = held.columns[list(held.columns).index("split") + 1]
    if GIVEN not in held:
        return int(held[column].notna().sum())
    return int((held[column].astype("string") != held[GIVEN].astype("string")).fillna(True).sum())
