"""Embeddings as the numbers that a classifier learns from: one modality, fused, or all modalities side by side."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from geoembed.errors import ProbeError, nearest
from geoembed.fits.embeddings import FUSED
from geoembed.ground.aoi import ALL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoembed.fits.embeddings import Embeddings

CONCAT = "concat"

BUT = "all but "
"""Before the name of an AOI: all the others."""

SUBSETS, JOINED = "subsets", "+"
"""What asks for all subsets of modalities, and what joins the modalities in the name of one."""

ROWS = 8192
"""Rows that are measured at a time."""


@dataclass(frozen=True)
class Scaling:
    """How features are scaled, from train-split chips only.

    mean: (D,) of each column.
    deviation: (D,) standard deviation of each column; 1 for a constant one.
    """

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]


def names(embeddings: Embeddings) -> tuple[str, ...]:
    """Return the features that an embeddings file offers: its modalities, fused, and concat where it has several."""
    return (*embeddings.names, CONCAT) if len(embeddings.modalities) > 1 else embeddings.names


def require(embeddings: Embeddings, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Return the features asked for, all there are for None.

    `a+b` are the modalities a and b side by side; `subsets` means all of those that are neither one nor all modalities.
    Raises ProbeError for one that there is not, naming the nearest, and for an AOI whose name means all of them.
    """
    for name in np.unique(embeddings.aoi):
        if name == ALL or name.startswith(BUT):
            raise ProbeError(
                f"{embeddings.path}: has an AOI called {name}, which in results means several AOIs together;"
                " rename it and run geoembed chip and embed again"
            )
    if wanted is None:
        return names(embeddings)
    if not wanted:
        raise ProbeError(f"--features: names none; name some of {', '.join(names(embeddings))}, or leave it out")
    known, M = [*names(embeddings), CONCAT, SUBSETS], embeddings.modalities
    chosen: list[str] = []
    for name in wanted:
        if name == SUBSETS:
            if len(M) < 3:
                raise ProbeError(f"--features {SUBSETS}: {embeddings.path} has {len(M)} modalities; it takes three")
            chosen += [JOINED.join(subset) for k in range(2, len(M)) for subset in combinations(M, k)]
            continue
        joined = [] if name in known else name.split(JOINED)
        for part in joined:
            if part not in M:
                near = nearest(part, M if len(joined) > 1 else known)
                raise ProbeError(f"--features {name}: not in {embeddings.path}{near}")
        chosen.append(JOINED.join(one for one in M if one in joined) if joined else name)
    return tuple(dict.fromkeys(chosen))


def parts(embeddings: Embeddings, name: str) -> tuple[str, ...]:
    """Return the modalities that stand side by side in features of that name, or the name where it is one or fused."""
    if name == CONCAT:
        return embeddings.modalities
    return tuple(name.split(JOINED)) if JOINED in name and name not in embeddings.names else (name,)


def width(embeddings: Embeddings, name: str) -> int:
    """Return how many numbers a chip has in features of that name."""
    return sum(embeddings.widths[part] for part in parts(embeddings, name))


def read(embeddings: Embeddings, name: str, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
    """Read features, (N, D) float32, NaN rows where a chip has none; of some `rows` in ascending order, or of all.

    `concat`, as `a+b`, is the modalities' vectors side by side, NaN where a modality is absent, then a column per
    modality that is 1 where it is absent.
    """
    beside = parts(embeddings, name)
    if beside == (name,):
        return embeddings.vectors(name, rows)
    present = embeddings.present if rows is None else embeddings.present[rows]
    widths = [embeddings.widths[modality] for modality in beside]
    X = np.empty((len(present), sum(widths) + len(widths)), np.float32)
    for modality, width, end in zip(beside, widths, np.cumsum(widths), strict=True):
        X[:, end - width : end] = embeddings.vectors(modality, rows)
    X[:, sum(widths) :] = ~present[:, [embeddings.modalities.index(modality) for modality in beside]]
    return X


def usable(embeddings: Embeddings, name: str) -> NDArray[np.bool_]:
    """Tell which rows a classifier can use: all of concat's, as absent parts are filled, else those present."""
    if name == CONCAT:
        return np.ones(len(embeddings), dtype=bool)
    needed = embeddings.modalities if name == FUSED else parts(embeddings, name)
    return np.asarray(embeddings.present[:, [embeddings.modalities.index(part) for part in needed]].any(axis=1))


def scaling(X: NDArray[np.float32], train: NDArray[np.int64]) -> Scaling:
    """Return the scaling of the train-split rows, given by number; labels play no part in it."""
    count, total, squares = (np.zeros(X.shape[1]) for _ in range(3))
    blocks = [train[start : start + ROWS] for start in range(0, len(train), ROWS)]
    for rows in blocks:
        count += (~np.isnan(X[rows])).sum(axis=0)
        total += np.nansum(X[rows], axis=0, dtype=np.float64)
    mean = total / np.maximum(count, 1)
    for rows in blocks:
        squares += np.nansum((X[rows] - mean) ** 2, axis=0)
    deviation = np.sqrt(squares / np.maximum(count, 1))
    deviation[deviation < 1e-6 * np.maximum(np.abs(mean), 1e-30)] = 1.0
    return Scaling(mean.astype(np.float32), deviation.astype(np.float32))


def scaled(X: NDArray[np.float32], by: Scaling, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
    """Return rows (all for None) with mean 0 and deviation 1 on the train split; NaN, an absent part, becomes 0."""
    Z: NDArray[np.float32] = X.copy() if rows is None else X[rows]
    Z -= by.mean
    Z /= by.deviation
    return np.nan_to_num(Z, copy=False, nan=0.0)
