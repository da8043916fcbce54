"""The contrastive loss and the figures of health."""

import math

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from geoembed.learning import loss


def unit(n: int, width: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(n, width, generator=torch.Generator().manual_seed(seed)), dim=1)


def by_hand(a: torch.Tensor, b: torch.Tensor, scale: float) -> float:
    total = 0.0
    for first, second in ((a, b), (b, a)):
        for i in range(len(a)):
            scores = [scale * float(first[i] @ second[j]) for j in range(len(a))]
            total -= scores[i] - math.log(sum(math.exp(score) for score in scores))
    return total / (2 * len(a))


def test_infonce_agrees_with_its_definition() -> None:
    a, b = unit(5, 4, 0), unit(5, 4, 1)
    value = loss.infonce(a, b, torch.tensor(math.log(10.0)))
    assert float(value) == pytest.approx(by_hand(a, b, 10.0), rel=1e-5)


def test_temperature_is_clamped() -> None:
    a, b = unit(5, 4, 0), unit(5, 4, 1)
    assert loss.infonce(a, b, torch.tensor(50.0)) == loss.infonce(a, b, torch.tensor(math.log(100.0)))


def test_terms_are_weighted_by_their_samples_and_pairs_of_one_are_left_out() -> None:
    scale = torch.tensor(math.log(10.0))
    pairs = [(unit(6, 4, 0), unit(6, 4, 1)), (unit(2, 4, 2), unit(2, 4, 3)), (unit(1, 4, 4), unit(1, 4, 5))]
    expected = (6 * by_hand(*pairs[0], 10.0) + 2 * by_hand(*pairs[1], 10.0)) / 8
    value = loss.contrast(pairs, scale)
    assert value is not None and float(value) == pytest.approx(expected, rel=1e-5)
    assert loss.contrast(pairs[2:], scale) is None


def test_only_samples_with_both_modalities_are_paired() -> None:
    vectors = {"a": unit(4, 3, 0), "b": unit(4, 3, 1), "c": unit(4, 3, 2)}
    present = {
        "a": torch.tensor([True, True, False, True]),
        "b": torch.tensor([True, False, True, True]),
        "c": torch.tensor([False, True, True, False]),
    }
    pairs = loss.cross_modal(vectors, present)
    assert [len(a) for a, _ in pairs] == [2, 1, 1]
    assert torch.equal(pairs[0][0], vectors["a"][[0, 3]]) and torch.equal(pairs[0][1], vectors["b"][[0, 3]])


def test_retrieval() -> None:
    a = unit(8, 16, 0)
    assert loss.retrieval_at(1, [(a, a)]) == 1.0
    assert loss.retrieval_at(1, [(a, a.roll(1, 0))]) == 0.0
    assert math.isnan(loss.retrieval_at(1, [])) and math.isnan(loss.retrieval_at(1, [(a[:0], a[:0])]))


def test_retrieval_at_k_agrees_with_sorting() -> None:
    a, b = unit(40, 4, 0), unit(40, 4, 1)
    b = F.normalize(a + b, dim=1)
    for k in (1, 3, 10):
        ways = [[i in side[i].argsort(descending=True)[:k] for i in range(40)] for side in (a @ b.T, b @ a.T)]
        assert loss.retrieval_at(k, [(a, b)]) == pytest.approx(sum(map(sum, ways)) / 80)


def test_a_collapsed_space_finds_what_chance_does() -> None:
    a = torch.ones(20, 4) / 2
    assert loss.retrieval_at(1, [(a, a)]) == pytest.approx(1 / 20)
    assert loss.retrieval_at(10, [(a, a)]) == pytest.approx(10 / 20)


def test_effective_rank() -> None:
    spread = torch.cat([torch.eye(6), -torch.eye(6)])
    assert loss.effective_rank(spread) == pytest.approx(6.0)
    line = torch.linspace(-1, 1, 9)[:, None] * torch.ones(1, 6)
    assert loss.effective_rank(line) == pytest.approx(1.0, abs=1e-4)
    assert loss.effective_rank(torch.ones(5, 6)) == 1.0
    assert math.isnan(loss.effective_rank(torch.ones(1, 6)))
