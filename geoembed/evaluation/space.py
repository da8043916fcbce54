"""The space of embeddings: maps of it, how it is filled, whether modalities find each other, and what is nearest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from geoembed.chips.batches import Batch
    from geoembed.learning.checkpoint import Trained

FEWEST = 5
"""Chips below which nothing is mapped."""

ROWS = 1024
"""Rows that are compared with all rows at a time."""


@dataclass(frozen=True)
class Map:
    """A map of some chips in two dimensions.

    method: 'PCA' or 't-SNE'.
    features: the name of the features.
    xy: (n, 2).
    values: for each task (n,) float: position of the class, or the number; NaN where a chip has no label.
    aoi: (n,) names of areas.
    note: what to know of it, such as the share of variance shown.
    """

    method: str
    features: str
    xy: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]
    aoi: NDArray[np.str_]
    note: str = ""


@dataclass(frozen=True)
class Health:
    """How one kind of vector fills its space.

    features: the name of the vectors.
    n: number of chips.
    dimensions: of the vectors, the most that the effective rank can be.
    effective_rank: Roy and Vetterli 2007 (EUSIPCO 15).
    uniformity: log mean exp(-2 |x - y|^2) over pairs of unit vectors, lower where they are more evenly spread (Wang and
        Isola 2020, arXiv 2005.10242).
    """

    features: str
    n: int
    dimensions: int
    effective_rank: float
    uniformity: float


@dataclass(frozen=True)
class Retrieval:
    """Whether two modalities of a chip find each other, in the space that training contrasts.

    first, second: the modalities.
    n: number of chips that have both.
    at_1, at_10: share of chips whose other modality is the nearest, or one of the ten nearest, mean of both directions.
    alignment: mean |x - y|^2 of the two vectors of a chip (Wang and Isola 2020, arXiv 2005.10242).
    gap: distance between the mean vectors of the two modalities (Liang et al. 2022, arXiv 2203.02053).
    """

    first: str
    second: str
    n: int
    at_1: float
    at_10: float
    alignment: float
    gap: float

    @property
    def chance(self) -> float:
        """Return the share that guessing would find first."""
        return 1 / self.n


def maps(
    vectors: NDArray[np.float32],
    features: str,
    values: dict[str, NDArray[np.float64]],
    aoi: NDArray[np.str_],
    seed: int,
) -> tuple[Map, ...]:
    """Map (n, D) vectors, scaled to unit length, by PCA and by t-SNE (van der Maaten and Hinton 2008, JMLR 9).

    `values` and `aoi` are those of `Map`. The same input gives the same maps, whatever the number of cores. There is no
    map of fewer than FEWEST chips, or of chips that are all alike.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    x = unit(vectors)
    n, dimensions = x.shape
    if n < FEWEST or dimensions < 2 or np.ptp(x, axis=0).max() < 1e-6:
        return ()
    perplexity = min(30.0, (n - 1) / 3)
    with threadpool_limits(1):  # t-SNE adds up what its threads find in any order
        pca = PCA(2, random_state=seed % 2**32)
        flat = pca.fit_transform(x)
        curved = TSNE(init="pca", perplexity=perplexity, random_state=seed % 2**32, n_jobs=1).fit_transform(x)
    first, second = 100 * pca.explained_variance_ratio_
    notes = (
        ("PCA", flat, f"The two axes show {first:.0f} % and {second:.0f} % of the variance."),
        ("t-SNE", curved, f"Perplexity {perplexity:.0f}. Near chips are alike; distances between groups mean nothing."),
    )
    return tuple(Map(method, features, xy.astype(np.float64), values, aoi, note) for method, xy, note in notes)


def health(features: str, vectors: NDArray[np.float32]) -> Health:
    """Measure how (n, D) vectors, scaled to unit length, fill their space; rows with NaN are left out.

    Both measures are NaN for fewer than two chips.
    """
    import torch

    from geoembed.learning import loss

    x = unit(vectors[~np.isnan(vectors).any(axis=1)])
    rank = loss.effective_rank(torch.from_numpy(x))
    return Health(features, len(x), x.shape[1], rank, _uniformity(x))


def _uniformity(x: NDArray[np.float64]) -> float:
    """Return log mean exp(-2 |x - y|^2) over the pairs of (n, D) unit vectors, whose |x - y|^2 is 2 - 2 x.y."""
    n = len(x)
    if n < 2:
        return math.nan
    pairs = sum(float(np.exp(4.0 * (x[start : start + ROWS] @ x.T) - 4.0).sum()) for start in range(0, n, ROWS))
    selves = float(np.exp(4.0 * (x**2).sum(axis=1) - 4.0).sum())
    return math.log((pairs - selves) / (n * (n - 1)))


def retrieval(first: str, second: str, a: NDArray[np.float32], b: NDArray[np.float32]) -> Retrieval:
    """Measure whether two modalities of chips, (n, E) vectors of unit length each, find each other.

    Chips with NaN in either are left out; all measures are NaN where none is left.
    """
    import torch

    from geoembed.learning import loss

    both = ~(np.isnan(a).any(axis=1) | np.isnan(b).any(axis=1))
    a, b, n = a[both], b[both], int(both.sum())
    at_1, at_10 = (loss.retrieval_at(k, [(torch.from_numpy(a), torch.from_numpy(b))]) for k in (1, 10))
    if n == 0:
        return Retrieval(first, second, n, at_1, at_10, math.nan, math.nan)
    alignment = float(((a - b) ** 2).sum(axis=1).mean())
    gap = float(np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)))
    return Retrieval(first, second, n, at_1, at_10, alignment, gap)


def neighbours(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], allowed: NDArray[np.bool_], k: int
) -> NDArray[np.int64]:
    """Return the rows of the k nearest by cosine to each query, nearest first, (q, k); -1 where there are fewer.

    queries: (q, D).
    vectors: (n, D); rows with NaN are left out.
    allowed: (q, n), which rows may be neighbours of each query.
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))  # the vectors may be many: no copy of them
    with np.errstate(invalid="ignore"):
        cosines = (queries @ vectors.T) / lengths  # times the query's length, which changes no order
    cosines[~allowed | np.isnan(cosines)] = -np.inf
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    nearest = np.full((len(queries), k), -1)
    nearest[:, : order.shape[1]] = np.where(np.take_along_axis(cosines, order, axis=1) > -np.inf, order, -1)
    return nearest


def contrasted(trained: Trained, batches: Iterable[Batch]) -> dict[str, NDArray[np.float32]]:
    """Map chips into the space that training contrasts: per modality (n, E) unit length, NaN rows where absent.

    Rows are in the order of the batches, whose channels are those of the model.
    """
    import torch

    from geoembed.learning import model as encoders

    model = trained.model
    parts: dict[str, list[NDArray[np.float32]]] = {}
    with torch.no_grad():
        for batch in batches:
            with encoders.autocast(model.log_scale.device):
                vectors = encoders.contrasted(model, batch.values)
            for name, values in vectors.items():
                parts.setdefault(name, []).append(values.cpu().numpy())
    return {name: np.concatenate(values) for name, values in parts.items()}


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return vectors (n, D) scaled to unit length; vectors of zeros stay."""
    x = vectors.astype(np.float64)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(lengths == 0.0, 1.0, lengths))
