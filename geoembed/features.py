"""Embeddings as the numbers that a classifier learns from: one modality, fused, or all modalities side by side."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoembed.errors import ProbeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoembed.embeddings import Embeddings

CONCAT = "concat"


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation per column, from train-split chips only; a constant column counts as deviation 1."""

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]


def names(embeddings: Embeddings) -> tuple[str, ...]:
    """Return the features that an embeddings file offers: its modalities, fused, and concat where it has several."""
    return (*embeddings.names, CONCAT) if len(embeddings.modalities) > 1 else embeddings.names


def require(embeddings: Embeddings, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the features asked for; raises ProbeError, naming the nearest, for one that there is not."""
    known = [*names(embeddings), CONCAT]
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? It" if near else "it"
            raise ProbeError(
                f"--features {name}: not in {embeddings.path}; {hint} offers {', '.join(names(embeddings))}"
            )
    return tuple(wanted)


def read(embeddings: Embeddings, name: str) -> NDArray[np.float32]:
    """Read features, (N, D) float32, NaN rows where a chip has none.

    `concat` is the modalities' vectors side by side, NaN where a modality is absent, then a column per modality that
    is 1 where it is absent.
    """
    if name != CONCAT:
        return embeddings.vectors(name)
    parts = [embeddings.vectors(modality) for modality in embeddings.modalities]
    return np.concatenate([*parts, (~embeddings.present).astype(np.float32)], axis=1)


def usable(X: NDArray[np.float32], name: str) -> NDArray[np.bool_]:
    """Tell which rows a classifier can use: all of concat's, as absent parts are filled, else those without NaN."""
    known = np.ones(len(X), dtype=bool) if name == CONCAT else ~np.isnan(X).any(axis=1)
    return np.asarray(known)


def scaling(X: NDArray[np.float32], train: NDArray[np.bool_]) -> Scaling:
    """Return the scaling of the train-split rows; labels play no part in it."""
    rows = X[train]
    known = ~np.isnan(rows)
    count = np.maximum(known.sum(axis=0), 1)
    mean: NDArray[np.float64] = np.where(known, rows, 0.0).sum(axis=0, dtype=np.float64) / count
    squares = np.where(known, (rows - mean.astype(np.float32)) ** 2, 0.0).sum(axis=0, dtype=np.float64) / count
    deviation = np.sqrt(squares)
    deviation[deviation < 1e-6 * np.maximum(np.abs(mean), 1e-30)] = 1.0
    return Scaling(mean.astype(np.float32), deviation.astype(np.float32))


def scaled(X: NDArray[np.float32], by: Scaling) -> NDArray[np.float32]:
    """Return features with mean 0 and deviation 1 on the train split; NaN, an absent part, becomes that mean."""
    Z: NDArray[np.float32] = np.nan_to_num((X - by.mean) / by.deviation, copy=False, nan=0.0)
    return Z
