"""Steps of a training: the order of chips, the loss of a batch, the optimiser, its schedule and its state."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoembed.chips.batches import Batch
from geoembed.learning import loss, views
from geoembed.learning.model import Model

ALONE = 0.2
"""Share of a batch's samples that are treated as single-modality."""
WARM_UP = 0.05
"""Share of the training during which the learning rate rises; then it falls along a cosine."""
WEIGHT_DECAY = 0.05
LARGEST_GRADIENT = 1.0
"""Norm to which gradients are clipped."""


def order(rows: NDArray[np.int64], batch_size: int, seed: int, first: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows (batch_size,) of step `first` and of the steps after it, without end.

    Each epoch is shuffled by (seed, epoch); rows at its end that do not fill a batch are left out.
    """
    per_epoch = len(rows) // batch_size
    epoch, step = divmod(first, per_epoch)
    while True:
        shuffled = np.random.default_rng([seed, epoch]).permutation(rows)
        for start in range(step, per_epoch):
            yield shuffled[start * batch_size : (start + 1) * batch_size]
        epoch, step = epoch + 1, 0


def generator(seed: int, step: int) -> torch.Generator:
    """Return the source of everything random in a step."""
    state = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def batch_loss(
    model: Model, batch: Batch, keep_tokens: float, source: torch.Generator, *, drop_channels: float | None = None
) -> Tensor | None:
    """Return the contrastive loss of random views of a batch; None where there are no two samples to contrast.

    A sample with several modalities gives one view of each, and the views of each two modalities are contrasted. A
    sample with one modality gives two views, which are contrasted with each other. A random 20 % (ALONE) of all samples
    are treated as single-modality, most of them with the same modality, so that they are each other's negatives.

    keep_tokens: share of a chip's patches that a view keeps; see `views.view`.
    drop_channels: share of views without some of their channels; see `views.drop_channels`.
    """
    names = model.config.modalities
    present = torch.stack([batch.present[name] for name in names], 1)  # (B, M)
    count = int(ALONE * len(present)) if int(ALONE * len(present)) > 1 else 0
    alone = (present.sum(1) == 1) | (torch.randperm(len(present), generator=source) < count)
    # One draw for the whole batch: the modality drawn highest, of those that a sample has.
    drawn = torch.rand(len(names), generator=source).masked_fill(~present, -1.0).argmax(1)  # (B,)
    vectors, is_valid, pairs = {}, {}, []
    for m, name in enumerate(names):
        together = (present[:, m] & ~alone).nonzero()[:, 0]
        twins = (present[:, m] & alone & (drawn == m)).nonzero()[:, 0]
        twins = twins if len(twins) > 1 else twins[:0]
        rows = torch.cat([together, twins, twins])
        if not len(rows):
            continue
        values = batch.values[name][rows].to(model.log_scale.device)
        patches = views.view(values, model.config.patch, keep_tokens, source)
        groups = views.seasons(model.config.channels[name])
        patches = views.drop_channels(views.jitter(patches, source), groups, drop_channels, source)
        valid = ~patches.values.isnan().flatten(1).all(1)  # views with a valid pixel
        encoded, together = model(name, patches), together.to(patches.values.device)
        a, b = len(together), len(together) + len(twins)
        vectors[name] = encoded.new_zeros(len(present), encoded.shape[1]).index_copy(0, together, encoded[:a])
        is_valid[name] = valid.new_zeros(len(present)).index_copy(0, together, valid[:a])
        both = valid[a:b] & valid[b:]
        pairs.append((encoded[a:b][both], encoded[b:][both]))
    return loss.contrast([*loss.cross_modal(vectors, is_valid), *pairs], model.log_scale)


def optimiser(model: Model, lr: float) -> torch.optim.AdamW:
    """Return AdamW for a model's parameters; norms, biases and the temperature do not decay."""
    decayed = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    others = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=True)


def learning_rate(highest: float, done: float) -> float:
    """Return the learning rate once the share `done` (0-1) of the training is done."""
    if done < WARM_UP:
        return highest * max(done, 0.01 * WARM_UP) / WARM_UP
    return highest * (0.01 + 0.99 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2)


def update(model: Model, optimiser: torch.optim.Optimizer, value: Tensor, lr: float) -> None:
    """Take one step down the gradient of `value`."""
    for group in optimiser.param_groups:
        group["lr"] = lr
    optimiser.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
    optimiser.step()


def pack(model: Model, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the tensors that a training continues from: of the model and of the optimiser."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": tensor for name, tensor in state.items()}
    return tensors


def unpack(tensors: dict[str, Tensor], model: Model, optimiser: torch.optim.Optimizer) -> None:
    """Put the tensors that `pack` returned back into model and optimiser."""
    model.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model.")})
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimiser."):
            _, number, name = key.split(".")
            state.setdefault(int(number), {})[name] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
