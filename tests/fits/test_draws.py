import numpy as np
import pytest

from geoembed.fits import draws
from geoembed.labels.targets import Targets


@pytest.fixture
def rare() -> tuple[np.ndarray, np.ndarray]:
    keys = draws.keys(np.array([f"32N-320-{i:05d}-00001" for i in range(1000)]))
    return keys, (np.arange(1000) < 30).astype(float)


def test_draws_are_nested_and_hold_two_of_each_class(rare: tuple[np.ndarray, np.ndarray]) -> None:
    keys, values = rare
    for stratified in (False, True):
        order = draws.order(keys, values, numeric=False, seed=3, stratified=stratified)
        assert sorted(order) == list(range(1000))
        for n in (4, 10, 50):
            assert values[order[:n]].sum() >= 2


def test_a_large_random_draw_is_not_biased_to_the_rare_class(rare: tuple[np.ndarray, np.ndarray]) -> None:
    keys, values = rare
    shares = [values[draws.order(keys, values, numeric=False, seed=s)[:300]].mean() for s in range(200)]
    assert np.mean(shares) == pytest.approx(0.03, abs=0.002)
    assert np.std(shares) > 0.004


def test_stratified_keeps_proportions_at_every_n(rare: tuple[np.ndarray, np.ndarray]) -> None:
    keys, values = rare
    order = draws.order(keys, values, numeric=False, seed=0, stratified=True)
    for n in (100, 200, 500):
        assert abs(values[order[:n]].sum() - 0.03 * n) <= 1
    numbers = np.random.default_rng(0).normal(size=1000)
    order = draws.order(keys, numbers, numeric=True, seed=0, stratified=True)
    assert abs((numbers[order[:100]] < np.median(numbers)).sum() - 50) <= 1


def test_seeds_differ_and_repeat(rare: tuple[np.ndarray, np.ndarray]) -> None:
    keys, values = rare
    one, two = (draws.order(keys, values, numeric=False, seed=s)[:100] for s in (1, 2))
    assert 3 <= len(set(one) & set(two)) <= 30  # by chance 10
    assert (one == draws.order(keys, values, numeric=False, seed=1)[:100]).all()


def test_draws_do_not_depend_on_the_order_of_chips(rare: tuple[np.ndarray, np.ndarray]) -> None:
    keys, values = rare
    mixed = np.random.default_rng(0).permutation(1000)
    one = draws.order(keys, values, numeric=False, seed=1)
    two = draws.order(keys[mixed], values[mixed], numeric=False, seed=1)
    assert (mixed[two] == one).all()


def test_the_least_that_can_be_drawn() -> None:
    assert draws.smallest(np.array([0.0, 0, 0, 1, 1, 2]), numeric=False) == 5
    assert draws.smallest(np.array([0.5, 0.6]), numeric=True) == 2


def test_a_tasks_draws_are_nested_and_of_no_size_that_cannot_be_drawn() -> None:
    rng, train = np.random.default_rng(0), np.arange(0, 900, 3)
    keys = draws.keys(np.arange(900))
    cover = Targets("cover", "", rng.integers(0, 3, 900).astype(float), (0, 1, 2))
    found = draws.of_task(7, cover, train, keys, (2, 5, 6, 100, 300, 900), full=True, repeats=4, seed=1)
    assert found is not None and (found.task, found.sizes, found.full) == (7, (6, 100), 300)
    assert found.orders.shape == (4, 300) and (np.sort(found.orders) == np.arange(300)).all()
    assert (np.unique(cover.values[train[found.orders[0, :6]]], return_counts=True)[1] == 2).all()
    crops = Targets("crops", "", np.where(rng.random(900) < 1 / 3, np.nan, rng.integers(0, 2, 900)), (0, 1))
    found = draws.of_task(0, crops, train, keys, (50,), full=False, repeats=2, seed=0)
    assert found is not None and found.full == 0 and crops.known[train[found.orders]].all()
    ones = Targets("ones", "", np.where(np.arange(900) % 2, 1.0, np.nan), (0, 1))
    assert draws.of_task(0, ones, train, keys, (50,), full=True, repeats=2, seed=0) is None
