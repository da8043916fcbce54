"""The contrastive loss and what tells whether its space is healthy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that torch users know

LOG_SCALE_LIMITS = (0.0, math.log(100.0))
"""Limits of the logarithm of 1 / temperature; the upper one is CLIP's (Radford et al. 2021, arXiv 2103.00020)."""


def infonce(a: Tensor, b: Tensor, log_scale: Tensor) -> Tensor:
    """Return the symmetric InfoNCE loss of unit vectors (n, E): row i of `a` belongs to row i of `b` and no other."""
    with torch.autocast(a.device.type, enabled=False):  # bfloat16 would round logits near 100 to a quarter
        logits = log_scale.clamp(*LOG_SCALE_LIMITS).exp() * a.float() @ b.float().T  # (n, n)
    target = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def contrast(pairs: Iterable[tuple[Tensor, Tensor]], log_scale: Tensor) -> Tensor | None:
    """Return the mean of InfoNCE over pairs of (n, E), weighted by n; fewer than two samples give no term.

    None when there is no term at all.
    """
    terms = [(len(a), infonce(a, b, log_scale)) for a, b in pairs if len(a) >= 2]
    if not terms:
        return None
    return torch.stack([n * term for n, term in terms]).sum() / sum(n for n, _ in terms)


def cross_modal(vectors: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Pair the modalities: for each two, the vectors (n, E) of the samples that have both.

    `vectors` are (B, E), `present` are (B,) bool.
    """
    pairs = []
    for one, other in combinations(vectors, 2):
        both = present[one] & present[other]
        pairs.append((vectors[one][both], vectors[other][both]))
    return pairs


def retrieval_at(k: int, pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Return the share of rows whose own row is among the k nearest on the other side, both ways, over all pairs.

    Rows that are as near as the own one come before it or after it by chance, so that a collapsed space finds no more
    than chance does. NaN where there are no rows.
    """
    found, asked = 0.0, 0
    for a, b in pairs:
        scores = a @ b.T  # (n, n)
        for side in (scores, scores.T):
            own = side.diagonal()[:, None]
            before, alike = (side > own).sum(1), (side == own).sum(1)
            found += float(((k - before) / alike).clamp(0.0, 1.0).sum())
            asked += len(side)
    return found / asked if asked else math.nan


def effective_rank(vectors: Tensor) -> float:
    """Return the effective rank of (n, E) vectors about their mean, from 1 (collapsed) to min(n - 1, E); or NaN.

    The exponential of the entropy of the normalised singular values: Roy and Vetterli 2007, The effective rank.
    """
    if len(vectors) < 2:
        return math.nan
    values = torch.linalg.svdvals((vectors - vectors.mean(0)).double().cpu())
    total = float(values.sum())
    if total < 1e-12:
        return 1.0
    share = values / total
    return float(torch.exp(-(share * share.clamp(min=1e-300).log()).sum()))
