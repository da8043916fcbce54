"""One training step: its order, loss, schedule and state."""

from itertools import islice

import numpy as np
import pytest
import torch
from chip_folders import make_chips

from geoembed.chips import batches
from geoembed.chips.batches import Batch, Reader, Statistics
from geoembed.learning import checkpoint, training, views
from geoembed.learning.model import Model, Patches
from geoembed.learning.presets import PRESETS


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    chipset = make_chips(tmp_path_factory.mktemp("chips"), n=24, absent=0.3)
    reader = Reader(chipset, chipset.channels)
    *_, statistics = batches.measure(reader, np.arange(24))
    assert isinstance(statistics, Statistics)
    return reader.batch(np.arange(24), statistics)


def build(channels: dict[str, tuple[str, ...]]) -> Model:
    return checkpoint.build(PRESETS["tiny"].config(channels, 16), seed=0)


CHANNELS = {
    "s2": ("djf_red", "djf_green", "djf_blue", "jja_red", "jja_green", "jja_blue"),
    "s1": ("djf_vv", "djf_vh", "jja_vv", "jja_vh"),
}


def test_order_covers_the_rows_and_continues_from_any_step() -> None:
    rows = np.arange(100, 123)
    whole = list(islice(training.order(rows, 5, seed=1, first=0), 12))
    assert len(np.unique(np.concatenate(whole[:4]))) == 20 and set(np.concatenate(whole)) <= set(rows)
    assert not np.array_equal(np.concatenate(whole[:4]), np.concatenate(whole[4:8]))
    for first in (1, 4, 6):
        rest = list(islice(training.order(rows, 5, seed=1, first=first), 12 - first))
        assert all(np.array_equal(a, b) for a, b in zip(rest, whole[first:], strict=True))


def test_the_loss_depends_on_the_seed_alone(batch: Batch) -> None:
    model = build(CHANNELS)
    losses = [training.batch_loss(model, batch, 0.5, training.generator(*key)) for key in ((0, 1), (0, 1), (0, 2))]
    assert losses[0] is not None and losses[0] == losses[1] != losses[2]


def test_every_modality_learns(batch: Batch) -> None:
    model = build(CHANNELS)
    value = training.batch_loss(model, batch, 0.5, training.generator(0, 0))
    assert value is not None
    value.backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_one_modality_is_contrasted_with_itself(batch: Batch) -> None:
    model = build({"s1": CHANNELS["s1"]})
    single = Batch(batch.rows, {"s1": batch.values["s1"]}, {"s1": batch.present["s1"]}, ())
    value = training.batch_loss(model, single, 0.5, training.generator(0, 0))
    assert value is not None and 0 < float(value.detach()) < 10


@pytest.mark.parametrize(("drop_channels", "s2", "s1"), [(None, 0.5, 0.0), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)])
def test_views_go_without_channels_as_asked(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, drop_channels: float | None, s2: float, s1: float
) -> None:
    one_season = {"s2": CHANNELS["s2"], "s1": ("djf_vv", "djf_vh")}
    values = {"s2": batch.values["s2"], "s1": batch.values["s1"][:, :2]}
    model, jittered = build(one_season), []
    lacking: dict[str, list[torch.Tensor]] = {"s2": [], "s1": []}
    drop, jitter = views.drop_channels, views.jitter

    def dropping(patches: Patches, groups: torch.Tensor, share: float | None, source: torch.Generator) -> Patches:
        left = drop(patches, groups, share, source)
        new = left.values.isnan() & ~patches.values.isnan()
        lacking["s2" if len(groups) == 6 else "s1"].append(new.flatten(1).any(1).float())
        return left

    def changed(patches: Patches, source: torch.Generator) -> Patches:
        jittered.append(jitter(patches, source))
        return jittered[-1]

    monkeypatch.setattr(views, "drop_channels", dropping)
    monkeypatch.setattr(views, "jitter", changed)
    for step in range(20):
        source = training.generator(0, step)
        training.batch_loss(
            model, Batch(batch.rows, values, batch.present, ()), 1.0, source, drop_channels=drop_channels
        )
    # A view that may go without channels loses one or more of six in seven of ten, one of two in one of seven.
    assert torch.cat(lacking["s2"]).mean().item() == pytest.approx(0.74 * s2, abs=0.12)
    assert torch.cat(lacking["s1"]).mean().item() == pytest.approx(0.15 * s1, abs=0.08)
    assert len(jittered) == 40


def test_nothing_to_contrast_gives_no_loss(batch: Batch) -> None:
    model = build(CHANNELS)
    presence = {"s2": torch.tensor([True, False]), "s1": torch.tensor([False, True])}
    pair = Batch(np.arange(2), {name: values[:2] for name, values in batch.values.items()}, presence, ())
    assert training.batch_loss(model, pair, 0.5, training.generator(0, 0)) is None


def test_learning_lowers_the_loss(batch: Batch) -> None:
    model = build(CHANNELS)
    optimiser = training.optimiser(model, 1e-3)
    losses = []
    for step in range(60):
        value = training.batch_loss(model, batch, 1.0, training.generator(0, step))
        assert value is not None
        training.update(model, optimiser, value, 1e-3)
        losses.append(float(value.detach()))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.2


def test_norms_biases_and_temperature_do_not_decay() -> None:
    model = build(CHANNELS)
    decayed, others = training.optimiser(model, 1e-3).param_groups
    assert decayed["weight_decay"] > 0 == others["weight_decay"]
    assert all(parameter.ndim == 2 for parameter in decayed["params"])
    assert any(parameter is model.log_scale for parameter in others["params"])


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [training.learning_rate(1e-3, done) for done in np.linspace(0, 1, 101)]
    peak = int(np.argmax(rates))
    assert peak == 5 and max(rates) == pytest.approx(1e-3) and 0 < rates[0] < 1e-4 and rates[-1] == pytest.approx(1e-5)
    assert all(np.diff(rates[:6]) > 0) and all(np.diff(rates[5:]) < 0)


def test_a_training_continues_from_its_tensors(batch: Batch) -> None:
    def steps(model: Model, optimiser: torch.optim.AdamW, first: int, last: int) -> None:
        for step in range(first, last):
            value = training.batch_loss(model, batch, 0.5, training.generator(0, step))
            assert value is not None
            training.update(model, optimiser, value, 1e-3)

    model = build(CHANNELS)
    optimiser = training.optimiser(model, 1e-3)
    steps(model, optimiser, 0, 2)
    tensors = {name: tensor.clone() for name, tensor in training.pack(model, optimiser).items()}
    steps(model, optimiser, 2, 4)
    resumed = build(CHANNELS)
    optimiser = training.optimiser(resumed, 1e-3)
    training.unpack(tensors, resumed, optimiser)
    steps(resumed, optimiser, 2, 4)
    expected = model.state_dict()
    assert all(torch.equal(expected[name], tensor) for name, tensor in resumed.state_dict().items())
