"""The step that joins label files, such as rounds of labelling, into one, and tells where they contradict."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import pandas as pd
import shapely

from geoembed.errors import LabelError, StaleError
from geoembed.ground import crs as crs_
from geoembed.labels import files as label_files
from geoembed.labels import tables as label_tables
from geoembed.labels.files import LabelFile, Reading
from geoembed.outputs import atomic, geopackage, locks, records
from geoembed.outputs.records import Record, Standing
from geoembed.progress import Progress, Result, Steps, verb
from geoembed.settings import PathLike, Paths, paths

log = logging.getLogger(__name__)

PREFERENCES = ("last", "first", "none")
SHOWN = 3
"""Contradictions that are told one by one."""


@verb
def label_merge(
    labels: Paths,
    *,
    prefer: str = "last",
    target: str | None = None,
    crs: str | None = None,
    output: PathLike = "labels.gpkg",
    update: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Steps[geopandas.GeoDataFrame]:
    """Join label files, such as rounds of labelling, into one; the result is its rows.

    Rows without a label are left out. Rows are of the same place where they have the same `chip_id`, or without one the
    same geometry; of places that files label differently, the label of the `last` file counts, of the `first`, or of
    `none`. A file that `label check` wrote and somebody corrected goes last. Each row keeps the name of its file in
    `source`. Raises LabelError and StaleError.
    """
    path = Path(output)
    if prefer not in PREFERENCES:
        raise LabelError(f"--prefer {prefer}: unknown; there are {', '.join(PREFERENCES)}")
    if path.suffix.lower() != ".gpkg":
        raise LabelError(f"{path}: is written as a GeoPackage; give it a name that ends in .gpkg")
    read = [label_files.read(one, Reading(target, crs=crs)) for one in paths(labels)]
    _require_alike(read)
    record = Record(
        "label merge",
        inputs={f"labels {number}": one.digest for number, one in enumerate(read, 1)},
        options={"labels": [one.path.name for one in read], "prefer": prefer, "target": target, "crs": crs},
    )
    with locks.hold(path, folder=False):
        counts: dict[str, int | float] = {}
        if not _is_kept(path, record, update=update, overwrite=overwrite):
            yield Progress(0, 1, "steps", "joining")
            table, counts = _joined(read, prefer)
            geopackage.write(path, label_files.LAYER, table, record)
        return Result((path,), {"labels": len(_read(path)), **counts}, read=partial(_read, path))


def _read(path: Path) -> geopandas.GeoDataFrame:
    return geopackage.read(path, label_files.LAYER, LabelError)


def _is_kept(path: Path, record: Record, *, update: bool, overwrite: bool) -> bool:
    existing = geopackage.record_of(path, label_files.LAYER)
    if existing is None and (step := geopackage.made_by(path)):
        raise StaleError(f"{path}: was made by geoembed {step}; choose another -o")
    if existing is None:
        records.require_ours(path, geopackage.is_ours, overwrite=overwrite)
    atomic.sweep(path.parent, path.name)
    if existing and not overwrite:
        geopackage.read(path, label_files.LAYER, StaleError)  # an edit is not to be lost
    finished = existing is not None and not geopackage.faults(path, whole=True)
    standing = records.settle(path, record, existing, finished=finished, update=update, overwrite=overwrite)
    if standing is not Standing.KEPT:
        geopackage.require_closed(path)
        return False
    atomic.touch(path)
    return True


def _require_alike(read: Sequence[LabelFile]) -> None:
    """Raise LabelError where files cannot be joined: numbers with classes, words with codes, or without a place."""
    if len(read) < 2:
        raise LabelError(f"{read[0].path}: is the only file; name two or more")
    first = read[0]
    for one in read[1:]:
        if one.numeric != first.numeric:
            kinds = [f"{each.path} holds {'numbers' if each.numeric else 'classes'}" for each in (first, one)]
            raise LabelError(f"{' and '.join(kinds)}; join files of one kind, or name the column with --target")
        if not one.numeric and _is_text(one) != _is_text(first):
            words, codes = (first, one) if _is_text(first) else (one, first)
            fault = f"{words.path} names its classes and {codes.path} numbers them"
            raise LabelError(f"{fault}; write names in both")
    for one in read:
        if not isinstance(one.table, geopandas.GeoDataFrame) and label_tables.CHIP_ID not in one.table:
            raise LabelError(f"{one.path}: its rows have neither a place nor a chip_id; add lon and lat")
    placed = [isinstance(one.table, geopandas.GeoDataFrame) for one in read]
    if len(set(placed)) > 1:
        lacking = read[placed.index(False)].path
        raise LabelError(f"{lacking}: its rows have no geometry and those of the others do; add it, or lon and lat")


def _is_text(one: LabelFile) -> bool:
    values = one.table[one.column].dropna()
    return bool(len(values)) and isinstance(values.iloc[0], str)


def _joined(read: Sequence[LabelFile], prefer: str) -> tuple[geopandas.GeoDataFrame, dict[str, int | float]]:
    """Return the rows of all files, one for each place, and counts of what was left out and what contradicts."""
    column = "value" if read[0].numeric else "label"
    parts, empty = [], 0
    for number, one in enumerate(read):
        table = one.table[one.table[one.column].notna()]
        empty += len(one.table) - len(table)
        is_placed = isinstance(one.table, geopandas.GeoDataFrame)
        geometry = geopandas.GeoDataFrame(table).to_crs(crs_.LONLAT).geometry.array if is_placed else None
        ids = table[label_tables.CHIP_ID].astype("string") if label_tables.CHIP_ID in table else pd.NA
        part = pd.DataFrame({"chip_id": ids, column: table[one.column].array, "source": one.path.stem})
        part["number"], part["geometry"] = number, geometry
        parts.append(part)
    rows = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    shapes = shapely.to_wkb(shapely.normalize(shapely.set_precision(rows["geometry"].to_numpy(), 1e-9)), hex=True)
    rows["place"] = rows["chip_id"].fillna(pd.Series(shapes, dtype="string"))
    if rows["place"].isna().any():
        raise LabelError("rows have neither a place nor a chip_id; remove them")
    differing = rows.groupby("place", sort=False)[column].nunique()
    contradicting = differing.index[differing > 1]
    _tell(rows[rows["place"].isin(contradicting)], column, prefer)
    order = rows.sort_values("number", kind="stable", ascending=prefer == "first")
    kept = rows.loc[order.drop_duplicates("place")["number"].index].sort_index()
    if prefer == "none":
        kept = kept[~kept["place"].isin(contradicting)]
    if not len(kept):
        raise LabelError(f"{read[0].path} and the others hold no label; fill them in")
    counts: dict[str, int | float] = {
        "empty": empty, "repeated": len(rows) - int(rows["place"].nunique()), "contradicting": len(contradicting),
    }  # fmt: skip
    log.info("%s labels of %s files; %s rows were empty", f"{len(kept):,}", len(read), f"{empty:,}")
    values = kept[column].infer_objects()
    columns: dict[str, Any] = {"chip_id": kept["chip_id"], column: values, "source": kept["source"]}
    return geopandas.GeoDataFrame(columns, geometry=kept["geometry"].to_numpy(), crs=crs_.LONLAT), counts


def _tell(rows: pd.DataFrame, column: str, prefer: str) -> None:
    """Warn of places that are labelled differently."""
    places = rows.groupby("place", sort=False)
    if not len(places):
        return
    first = []
    for _, each in list(places)[:SHOWN]:
        name = each["chip_id"].iloc[0]
        where = name if isinstance(name, str) else "a place"
        labels = [f"{label} in {source}" for label, source in each[[column, "source"]].to_numpy().tolist()]
        first.append(f"{where} ({', '.join(labels)})")
    counts = {"last": "the last file's counts", "first": "the first file's counts", "none": "they are left out"}[prefer]
    more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
    log.warning("%d places are labelled differently, and %s: %s%s", len(places), counts, "; ".join(first), more)
