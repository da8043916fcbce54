"""Layers of labels: the rows of label files, from what rasters hold within chips."""

import geopandas
import numpy as np
from numpy.typing import NDArray

from geoembed.labels.rules import CLASSES, Rule
from geoembed.labels.zonal import Shares

MOST_SHARES = 20
"""Number of classes up to which a layer of classes has a column for the share of each."""


def build(index: geopandas.GeoDataFrame, shares: Shares, k: int, rule: Rule) -> geopandas.GeoDataFrame:
    """Return the rows of a label file: the chips with valid pixels, labelled by column k of the sums."""
    rows = np.flatnonzero(shares.valid > 0)
    table = index[["chip_id", "geometry"]].iloc[rows].reset_index(drop=True)
    # Sums of exact shares carry rounding errors; a chip that is half water is not to miss 0.5 by 1e-16.
    table.insert(1, "valid", np.clip(np.round(shares.valid[rows], 9), 0.0, 1.0))
    means = shares.sums[rows] / shares.valid[rows, None]
    if rule.of_all:
        return _of_all(table, np.clip(np.round(means, 9), 0.0, 1.0), shares, rule)
    if rule.kind == CLASSES:
        fraction = np.clip(np.round(means[:, k], 9), 0.0, 1.0)
        table.insert(1, "label", (fraction >= rule.threshold).astype(np.int32))
        table.insert(2, "fraction", fraction)
    else:
        table.insert(1, "value", means[:, k])
        if rule.above is not None:
            table.insert(1, "label", (means[:, k] > rule.above).astype(np.int32))
    return table


def _of_all(
    table: geopandas.GeoDataFrame, fractions: NDArray[np.float64], shares: Shares, rule: Rule
) -> geopandas.GeoDataFrame:
    """Return the chips of which one class covers most, and enough; classes of one name are one.

    fractions: (rows, K) of the valid area of chips, by class.
    """
    values = [int(value) for (value,) in shares.classes]
    named = {value: rule.names.get(value, value) for value in values}
    classes = list(dict.fromkeys(named.values()))
    is_of = np.array([[named[value] == label for label in classes] for value in values], dtype=np.float64)
    fractions = (fractions @ is_of).round(9)
    most = fractions.max(axis=1)
    pure = (most >= rule.threshold) & ((fractions == most[:, None]).sum(axis=1) == 1)
    table, fractions = table[pure].reset_index(drop=True), fractions[pure]
    labels = np.array(classes, dtype=object)[fractions.argmax(axis=1)]
    is_named = any(isinstance(label, str) for label in classes)
    table.insert(1, "label", labels.astype(str).astype(object) if is_named else labels.astype(np.int32))
    table.insert(2, "fraction", most[pure])
    if len(classes) <= MOST_SHARES:
        spelled = [str(label).casefold() for label in classes]
        for k, label in enumerate(classes):  # a GeoPackage does not tell Water from water
            twins = spelled[:k].count(spelled[k])
            table.insert(3 + k, f"share_{label}" + (f"_{twins + 1}" if twins else ""), fractions[:, k])
    return table
