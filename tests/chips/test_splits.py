import numpy as np
import pytest

from geoembed.chips import splits


def field(columns: int, rows: int, lon: float = 9.0, lat: float = 45.0) -> np.ndarray:
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    return np.stack([(lon + x.ravel() * 0.004 + 180) % 360 - 180, lat + y.ravel() * 0.0029], axis=1)


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_60_20_20_and_bands_are_wide(seed: int) -> None:
    lonlat = field(60, 60)
    split = splits.assign(lonlat, 320.0, np.random.default_rng(seed))
    shares = [np.mean(split == name) for name in ("train", "validation", "test")]
    assert np.allclose(shares, [0.6, 0.2, 0.2], atol=0.08)
    columns, rows = np.meshgrid(np.arange(60), np.arange(60))
    places = np.stack([np.zeros(3600, int), columns.ravel(), rows.ravel()], axis=1)
    apart = splits.neighbours_apart(places, split)
    # Random chips would be apart in 1 - (0.36 + 0.04 + 0.04) = 56 % of the cases.
    assert 0.0 < apart < 0.25


@pytest.mark.parametrize("shape", [(3, 1), (1, 3), (1, 7), (40, 1), (2, 2), (5, 5)])
def test_every_area_gets_all_three(shape: tuple[int, int]) -> None:
    for seed in range(10):
        split = splits.assign(field(*shape), 320.0, np.random.default_rng(seed))
        assert set(split) == {"train", "validation", "test"}


def test_two_chips_are_train() -> None:
    assert set(splits.assign(field(2, 1), 320.0, np.random.default_rng(0))) == {"train"}


def test_same_seed_same_split_also_over_180_degrees() -> None:
    first = splits.assign(field(30, 30), 320.0, np.random.default_rng(3))
    again = splits.assign(field(30, 30), 320.0, np.random.default_rng(3))
    second = splits.assign(field(30, 30, lon=179.94), 320.0, np.random.default_rng(3))
    assert (first == again).all()
    assert (first == second).mean() > 0.97
    assert (first != splits.assign(field(30, 30), 320.0, np.random.default_rng(4))).any()


@pytest.mark.parametrize("shape", [(60, 60), (7, 7), (30, 1), (2, 3)])
def test_folds_are_of_equal_size_and_hold_neighbours(shape: tuple[int, int]) -> None:
    lonlat, n = field(*shape), shape[0] * shape[1]
    for seed in range(5):
        fold = splits.folds(lonlat, np.repeat("a", n), 320.0, 5, np.random.default_rng(seed))
        counts = np.bincount(fold, minlength=5)
        assert counts.min() > 0 and counts.max() <= max(0.35 * n, 2)
    if n == 3600:
        columns, rows = np.meshgrid(np.arange(60), np.arange(60))
        places = np.stack([np.zeros(n, int), columns.ravel(), rows.ravel()], axis=1)
        assert splits.neighbours_apart(places, fold.astype(str)) < 0.25  # of random chips, 80 % would be


def test_folds_of_areas_are_dealt_out_apart() -> None:
    lonlat, aoi = np.concatenate([field(10, 10), field(2, 1, lon=20.0)]), np.repeat(["a", "b"], [100, 2])
    fold = splits.folds(lonlat, aoi, 320.0, 5, np.random.default_rng(0))
    assert set(fold[:100]) == set(range(5)) and fold[100] != fold[101]


def test_neighbours_apart_counts_sides() -> None:
    cells = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    split = np.array(["train", "test", "train", "test"])
    assert splits.neighbours_apart(cells, split) == 0.5
    assert np.isnan(splits.neighbours_apart(cells[:1], split[:1]))
