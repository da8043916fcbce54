"""Health of a model in training: what its embeddings of validation chips tell without labels."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that torch users know

from geoembed.learning import loss, views
from geoembed.learning.model import FUSED, Model, autocast, contrasted, fuse


@torch.no_grad()
def measure(
    model: Model, batches: Iterable[Mapping[str, Tensor]], keep_tokens: float, source: torch.Generator
) -> tuple[float, dict[str, float]]:
    """Return retrieval at 1 across modalities, and the effective rank of embeddings, by modality and fused.

    With one modality, retrieval is between two random views of each chip, which keep `keep_tokens` of its patches.
    """
    names = model.config.modalities
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    twins: list[tuple[Tensor, ...]] = []
    for values in batches:
        with autocast(model.log_scale.device):
            for name, vectors in contrasted(model, values).items():
                parts[name].append(vectors)
            if len(names) == 1:
                cuts = [views.view(values[names[0]], model.config.patch, keep_tokens, source) for _ in range(2)]
                twins.append(tuple(model(names[0], patches) for patches in cuts))
    encoded = {name: torch.cat(vectors) for name, vectors in parts.items()}
    present = {name: ~vectors.isnan().any(1) for name, vectors in encoded.items()}
    placed = {name: F.normalize(vectors - vectors.nanmean(0), dim=1) for name, vectors in encoded.items()}
    placed[FUSED] = fuse(placed)
    ranks = {name: loss.effective_rank(vectors[~vectors.isnan().any(1)]) for name, vectors in placed.items()}
    pairs = loss.cross_modal(encoded, present)
    if twins:
        first, second = (torch.cat(side)[present[names[0]]] for side in zip(*twins, strict=True))
        pairs = [(first, second)]
    return loss.retrieval_at(1, pairs), ranks
