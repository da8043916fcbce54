"""The contrastive loss, and two measures of the space that it forms: retrieval and effective rank."""

import math
from collections.abc import Iterable, Mapping
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that torch users know

LOG_SCALE_LIMITS = (0.0, math.log(100.0))
"""Limits of log(1 / temperature); the upper one is CLIP's (Radford et al. 2021, arXiv 2103.00020)."""


def infonce(a: Tensor, b: Tensor, log_scale: Tensor) -> Tensor:
    """Return the symmetric InfoNCE loss of unit vectors (n, E): row i of `a` belongs to row i of `b` only."""
    with torch.autocast(a.device.type, enabled=False):  # bfloat16 would round logits near 100 to a quarter
        logits = log_scale.clamp(*LOG_SCALE_LIMITS).exp() * a.float() @ b.float().T  # (n, n)
    target = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def contrast(pairs: Iterable[tuple[Tensor, Tensor]], log_scale: Tensor) -> Tensor | None:
    """Return the mean of the InfoNCE losses of pairs of (n, E), weighted by n; None where no pair counts.

    A pair of fewer than two samples does not count.
    """
    terms = [(len(a), infonce(a, b, log_scale)) for a, b in pairs if len(a) >= 2]
    if not terms:
        return None
    return torch.stack([n * term for n, term in terms]).sum() / sum(n for n, _ in terms)


def cross_modal(vectors: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Return, for each two modalities, the vectors (n, E) of the samples that have both.

    vectors: (B, E), by modality.
    present: (B,) bool, by modality.
    """
    pairs = []
    for first, second in combinations(vectors, 2):
        both = present[first] & present[second]
        pairs.append((vectors[first][both], vectors[second][both]))
    return pairs


def retrieval_at(k: int, pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Return the share of rows for which the matching row is among the k nearest, both ways and over all pairs (n, E).

    Rows as near as the matching one are ranked before or after it by chance, so that a collapsed space scores no better
    than chance. NaN where there are no rows.
    """
    hits, queries = 0.0, 0
    for a, b in pairs:
        scores = a @ b.T  # (n, n)
        for side in (scores, scores.T):
            matching = side.diagonal()[:, None]
            nearer, tied = (side > matching).sum(1), (side == matching).sum(1)
            hits += float(((k - nearer) / tied).clamp(0.0, 1.0).sum())
            queries += len(side)
    return hits / queries if queries else math.nan


def effective_rank(vectors: Tensor) -> float:
    """Return the effective rank of vectors (n, E) about their mean: from 1 (collapsed) to min(n - 1, E), NaN for n < 2.

    It is the exponential of the entropy of the normalised singular values (Roy and Vetterli 2007, The effective rank).
    """
    if len(vectors) < 2:
        return math.nan
    values = torch.linalg.svdvals((vectors - vectors.mean(0)).double().cpu())
    total = float(values.sum())
    if total < 1e-12:
        return 1.0
    share = values / total
    return float(torch.exp(-(share * share.clamp(min=1e-300).log()).sum()))
