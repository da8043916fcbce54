"""The encoders: what is missing takes no part, and chips do not see each other."""

import math

import pytest
import torch

from geoembed.errors import ConfigError
from geoembed.learning import checkpoint, model
from geoembed.learning.model import FUSED, Model, ModelConfig, Patches
from geoembed.learning.presets import PRESETS

CONFIG = ModelConfig({"s2": ("jja_red", "jja_green"), "s1": ("jja_vv",)}, patch=4, width=32, depth=2, heads=2)


@pytest.fixture(scope="module")
def tiny() -> Model:
    return checkpoint.build(CONFIG, seed=0).eval()


def pixels(n: int, channels: int, size: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


def test_cut_keeps_every_pixel_in_its_place() -> None:
    values = torch.arange(2 * 6 * 6.0).view(1, 2, 6, 6)
    patches = model.cut(values, 4)
    assert patches.values.shape == (1, 4, 2, 16) and patches.where[0].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert torch.equal(patches.values[0, 0, 1].view(4, 4), values[0, 1, :4, :4])
    right = patches.values[0, 1, 0].view(4, 4)
    assert torch.equal(right[:, :2], values[0, 0, :4, 4:]) and right[:, 2:].isnan().all()


def test_patches_without_a_valid_pixel_take_no_part(tiny: Model) -> None:
    values = pixels(2, 2)
    values[:, :, :, 8:] = math.nan
    patches = model.cut(values, 4)
    left = patches.where[0, :, 1] < 2
    part = Patches(patches.values[:, left], patches.where[:, left])
    torch.testing.assert_close(tiny("s2", patches), tiny("s2", part), atol=1e-5, rtol=0)


def test_missing_is_not_zero(tiny: Model) -> None:
    values = pixels(1, 2)
    zero, missing = values.clone(), values.clone()
    zero[:, 1], missing[:, 1] = 0.0, math.nan
    a, b = (model.encode(tiny, {"s2": v})["s2"] for v in (zero, missing))
    assert (a - b).abs().max() > 1e-3
    zero, missing = values.clone(), values.clone()
    zero[:, :, 3, 5], missing[:, :, 3, 5] = 0.0, math.nan
    a, b = (model.encode(tiny, {"s2": v})["s2"] for v in (zero, missing))
    assert (a - b).abs().max() > 1e-5


def test_embeddings_lie_about_their_centre() -> None:
    unlike = checkpoint.build(CONFIG, seed=0).eval()
    values = {"s2": pixels(40, 2), "s1": pixels(40, 1, seed=1)}
    values["s1"][:10] = math.nan
    before = model.encode(unlike, values)["s2"].mean(0).norm()
    model.centre(unlike, [{name: v[i : i + 20] for name, v in values.items()} for i in (0, 20)])
    encoded = model.contrasted(unlike, values)["s1"][10:]
    torch.testing.assert_close(unlike.encoders["s1"].centre, encoded.mean(0))
    after = model.encode(unlike, values)["s2"].mean(0).norm()
    assert before > 0.9 and after < 0.3


def test_several_modalities_are_mapped_into_one_space_and_one_alone_is_not(tiny: Model) -> None:
    alone = checkpoint.build(ModelConfig({"s1": ("jja_vv",)}, patch=4, width=32, depth=2, heads=2), seed=0)
    patches = model.cut(pixels(3, 1), 4)
    assert alone("s1", patches).shape == tiny("s1", patches).shape == (3, 64)
    assert isinstance(alone.encoders["s1"].project, torch.nn.Identity)
    assert all(isinstance(one.project, torch.nn.Linear) for one in tiny.encoders.values())
    # Mean and deviation of the tokens: those of normalised tokens have a mean square of 1 together.
    encoded = alone("s1", patches)
    torch.testing.assert_close(encoded.norm(dim=1), torch.ones(3))
    assert (encoded[:, 32:] > 0).all() and encoded[:, :32].sum(1).abs().max() < 1e-4


def test_tokens_that_are_all_alike_have_finite_gradients(tiny: Model) -> None:
    patchless = model.Patches(torch.randn(2, 1, 1, 16), torch.zeros(2, 1, 2, dtype=torch.long))
    tiny("s1", patchless).sum().backward()
    gradients = [parameter.grad for parameter in tiny.encoders["s1"].parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    tiny.zero_grad(set_to_none=True)


def test_any_subset_of_modalities_embeds(tiny: Model) -> None:
    s2, s1 = pixels(4, 2), pixels(4, 1, seed=1)
    s2[1], s1[2], s2[3], s1[3] = math.nan, math.nan, math.nan, math.nan
    encoded = model.encode(tiny, {"s2": s2, "s1": s1})
    assert encoded["s2"].isnan().any(1).tolist() == [False, True, False, True]
    assert encoded["s1"].isnan().any(1).tolist() == [False, False, True, True]
    assert encoded[FUSED].isnan().any(1).tolist() == [False, False, False, True]
    assert torch.equal(encoded[FUSED][1], encoded["s1"][1]) and torch.equal(encoded[FUSED][2], encoded["s2"][2])
    torch.testing.assert_close(encoded[FUSED][:3].norm(dim=1), torch.ones(3))
    alone = model.encode(tiny, {"s1": s1})
    torch.testing.assert_close(alone[FUSED][:2], encoded["s1"][:2])
    assert set(alone) == {"s1", FUSED}


def test_a_chip_does_not_depend_on_its_batch(tiny: Model) -> None:
    s2, s1 = pixels(32, 2), pixels(32, 1, seed=1)
    s2[3, :, :5] = math.nan
    s1[7] = math.nan
    s2[9, 0] = math.nan
    together = model.encode(tiny, {"s2": s2, "s1": s1})
    for i in range(32):
        single = model.encode(tiny, {"s2": s2[i : i + 1], "s1": s1[i : i + 1]})
        for name, vectors in together.items():
            torch.testing.assert_close(single[name][0], vectors[i], atol=1e-5, rtol=0, equal_nan=True)


@pytest.mark.parametrize("size", [8, 15, 24])
def test_any_chip_size_embeds(tiny: Model, size: int) -> None:
    assert not model.encode(tiny, {"s2": pixels(2, 2, size)})[FUSED].isnan().any()


def test_positions_tell_places_apart() -> None:
    where = torch.cartesian_prod(torch.arange(28), torch.arange(28))[None]
    encoded = model.positions(where, 64)[0]
    near = torch.cdist(encoded, encoded) + 10 * torch.eye(len(encoded))
    assert encoded.shape == (784, 64) and near.min() > 0.02


def test_base_is_the_reference_size() -> None:
    names = {"s2": 12, "s1": 8, "coh": 16}
    channels = {name: tuple(f"c{i}" for i in range(n)) for name, n in names.items()}
    with torch.device("meta"):
        base = Model(PRESETS["base"].config(channels, 448))
    assert [PRESETS["tiny"].config(channels, size).patch for size in (16, 32, 64, 448)] == [2, 4, 8, 16]
    assert 240e6 < sum(parameter.numel() for parameter in base.parameters()) < 280e6


def test_the_same_seed_gives_the_same_model() -> None:
    a, b, c = (checkpoint.build(CONFIG, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_devices() -> None:
    assert model.choose_device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match="device 'gpu' is not auto, cpu or cuda"):
        model.choose_device("gpu")
    if not torch.cuda.is_available():
        assert model.choose_device("auto").type == "cpu"
        with pytest.raises(ConfigError, match="device cuda"):
            model.choose_device("cuda")
