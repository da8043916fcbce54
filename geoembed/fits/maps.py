"""Maps of predictions: a row per chip, in a GeoPackage with a style."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from geoembed.errors import ProbeError
from geoembed.fits.embeddings import Embeddings
from geoembed.ground import grid
from geoembed.labels.targets import Targets
from geoembed.outputs import geopackage, styles
from geoembed.outputs.records import Record

LAYER = "predictions"


@dataclass(frozen=True)
class Task:
    """What a probe predicts.

    name: of the task.
    column: the target column of its labels.
    classes: in order; empty for numbers.
    """

    name: str
    column: str
    classes: tuple[Any, ...]


def build(
    file: Embeddings,
    task: Task,
    predicted: NDArray[np.float64],
    decided: NDArray[np.int64],
    usable: NDArray[np.bool_],
) -> geopandas.GeoDataFrame:
    """Return a map of N chips, with NULL predictions where a chip lacks the features.

    predicted: (N, classes) probabilities, or (N,) numbers.
    decided: (N,) positions of the classes predicted, unused for numbers.
    usable: (N,) whether a chip has the features.
    """
    columns: dict[str, Any] = {"chip_id": file.chip_id, "aoi": file.aoi, "split": file.split}
    if task.classes:
        columns["prediction"] = _classes(task.classes, np.where(usable, decided, np.nan))
        columns["confidence"] = _numbers(predicted[np.arange(len(file)), decided].round(6), usable)
        for k, name in enumerate(_probability_columns(task.classes)):
            columns[name] = _numbers(predicted[:, k].round(6), usable)
    else:
        columns["prediction"] = _numbers(predicted, usable)
    outlines = grid.cells(file.grids, file.chip_id).outlines
    return geopandas.GeoDataFrame(columns, geometry=outlines, crs="EPSG:4326")


def add_labels(table: geopandas.GeoDataFrame, targets: Targets, rows: NDArray[np.int64]) -> None:
    """Add to a map the labels, NULL where a chip has none, and whether they were drawn, as those of `rows` were."""
    drawn = np.zeros(len(table), dtype=np.int32)
    drawn[rows] = 1
    if targets.classes:
        table.insert(3, "label", _classes(targets.classes, targets.values))
    else:
        table.insert(3, "value", pd.array(targets.values, dtype="Float64"))
    table.insert(4, "drawn", drawn)


def write(path: Path, table: geopandas.GeoDataFrame, task: Task, record: Record) -> None:
    """Write the styles of a map, of its predictions and of their confidence, then the map."""
    if task.classes:
        style = styles.classes("prediction", task.classes, task.name)
        styles.write(path, styles.ramp("confidence", 1 / len(task.classes), 1.0), styles.CONFIDENCE)
    else:
        style = styles.ramp("prediction", float(table["prediction"].min()), float(table["prediction"].max()))
    styles.write(path, style)
    geopackage.write(path, LAYER, table, record)


def read(path: Path) -> geopandas.GeoDataFrame:
    """Read a map; raises ProbeError where its rows are not those that were written."""
    return geopackage.read(path, LAYER, ProbeError)


def is_settled(path: Path) -> bool:
    """Tell whether the styles of a map lie beside it, as they were written or as a user made them."""
    names = ("", styles.CONFIDENCE) if "confidence" in geopackage.columns(path, LAYER) else ("",)
    return all(styles.is_settled(path, name) for name in names)


def _numbers(values: NDArray[np.float64], usable: NDArray[np.bool_]) -> Any:
    return pd.array(np.where(usable, values, np.nan), dtype="Float64")


def _classes(classes: tuple[Any, ...], positions: NDArray[np.float64]) -> Any:
    """Return classes by position, NULL where NaN; true and false are written as 1 and 0."""
    if isinstance(classes[0], str):
        return np.array([None if np.isnan(k) else classes[int(k)] for k in positions], dtype=object)
    return pd.array([pd.NA if np.isnan(k) else int(classes[int(k)]) for k in positions], dtype="Int64")


def _probability_columns(classes: tuple[Any, ...]) -> list[str]:
    """Return a column name per class; a GeoPackage does not tell Water from water, so the second gets a number."""
    names: list[str] = []
    for label in classes:
        name, number = f"p_{label}", 1
        while name.casefold() in map(str.casefold, names):
            number += 1
            name = f"p_{label}_{number}"
        names.append(name)
    return names
