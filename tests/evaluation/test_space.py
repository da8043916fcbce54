"""Maps, health and neighbours of made-up spaces, beside scipy, scikit-learn and plain loops."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from chip_folders import make_chips
from scipy.spatial.distance import cdist, pdist
from sklearn.neighbors import NearestNeighbors

from geoembed.chips import batches
from geoembed.evaluation import space
from geoembed.learning import checkpoint
from geoembed.learning.model import ModelConfig


def unit(n: int, width: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


def circle(n: int) -> np.ndarray:
    angle = np.arange(n) * 2 * np.pi / n
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


@pytest.mark.parametrize("n", [2, 40, 2500])  # 2,500 are more than one block
def test_uniformity_agrees_with_its_definition(n: int) -> None:
    x = unit(n, 6, 0)
    found = space.health("s1", 3 * x)  # of any length
    assert found.uniformity == pytest.approx(math.log(np.exp(-2 * pdist(x.astype(float), "sqeuclidean")).mean()))
    assert (found.features, found.n, found.dimensions) == ("s1", n, 6)


def test_an_even_space_is_healthy_and_a_collapsed_one_is_not() -> None:
    even = space.health("s2", circle(100))
    assert even.effective_rank == pytest.approx(2.0)
    collapsed = space.health("s2", np.ones((100, 2), np.float32))
    assert collapsed.effective_rank == 1.0 and collapsed.uniformity == pytest.approx(0.0, abs=1e-9)
    half = circle(100)[:50]
    assert even.uniformity < space.health("s2", half).uniformity < collapsed.uniformity


def test_health_leaves_absent_chips_out() -> None:
    x = unit(30, 4, 1)
    gaps = np.insert(x, [0, 7], np.nan, axis=0)
    assert space.health("b", gaps) == space.health("b", x)
    one = space.health("b", x[:1])
    assert one.n == 1 and math.isnan(one.effective_rank) and math.isnan(one.uniformity)


def test_retrieval_of_the_same_and_of_shuffled_vectors() -> None:
    a = unit(500, 16, 0)
    same = space.retrieval("s2", "s1", a, a)
    assert (same.at_1, same.at_10, same.alignment, same.gap) == (1.0, 1.0, 0.0, 0.0)
    assert same.n == 500 and same.chance == 1 / 500
    other = space.retrieval("s2", "s1", a, unit(500, 16, 1))
    assert other.at_1 < 0.02 and other.at_10 == pytest.approx(10 / 500, abs=0.02)
    assert other.alignment == pytest.approx(2.0, abs=0.1)


def test_retrieval_agrees_with_sorted_distances() -> None:
    a, noise = unit(60, 5, 2), unit(60, 5, 3)
    b = space.unit(a + noise).astype(np.float32)
    found = space.retrieval("s2", "s1", a, b)
    apart = cdist(a.astype(float), b.astype(float))
    rank = [(side < np.diag(side)[:, None]).sum(1) for side in (apart, apart.T)]
    for k, share in ((1, found.at_1), (10, found.at_10)):
        assert share == pytest.approx(np.mean([place < k for place in np.concatenate(rank)]))
    assert found.alignment == pytest.approx((np.diag(apart) ** 2).mean(), rel=1e-5)
    assert found.gap == pytest.approx(np.linalg.norm(a.mean(0) - b.mean(0)), rel=1e-5)


def test_retrieval_is_among_chips_that_have_both() -> None:
    a, b = unit(20, 4, 4), unit(20, 4, 5)
    wanted = space.retrieval("s2", "s1", a[2:18], b[2:18])
    a[:2], b[18:] = np.nan, np.nan
    assert space.retrieval("s2", "s1", a, b) == wanted
    nothing = space.retrieval("s2", "s1", a[:2], b[:2])
    assert nothing.n == 0 and math.isnan(nothing.at_1) and math.isnan(nothing.gap)


def test_neighbours_agree_with_sklearn() -> None:
    vectors = unit(200, 8, 6) * np.linspace(0.1, 9, 200, dtype=np.float32)[:, None]
    query = unit(7, 8, 7)
    found = space.neighbours(query, vectors, np.ones((7, 200), bool), 5)
    model = NearestNeighbors(n_neighbors=5, metric="cosine").fit(vectors)
    np.testing.assert_array_equal(found, model.kneighbors(query, return_distance=False))


def test_neighbours_are_among_those_allowed() -> None:
    vectors = unit(6, 3, 8)
    vectors[4], vectors[5] = np.nan, 0.0
    keep = np.ones((2, 6), bool)
    keep[0, 0], keep[1] = False, [False, True, False, False, True, False]
    found = space.neighbours(vectors[:2], vectors, keep, 4)
    assert sorted(found[0].tolist()) == [-1, 1, 2, 3] and found[0, 3] == -1
    assert found[1].tolist() == [1, -1, -1, -1]
    assert space.neighbours(vectors[4:5], vectors, keep[:1], 7).tolist() == [[-1] * 7]


def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Three groups of 40 that are far apart, and which group each row is in."""
    rng = np.random.default_rng(9)
    group = np.arange(120) % 3
    return (np.eye(12)[group] * 4 + rng.normal(size=(120, 12)) * 0.3).astype(np.float32), group


def test_maps_show_groups() -> None:
    vectors, group = blobs()
    aoi = np.array([f"area {i}" for i in group])
    values = {"kind": group.astype(float)}
    found = space.maps(vectors, "fused", values, aoi, seed=0)
    assert [one.method for one in found] == ["PCA", "t-SNE"]
    for one in found:
        assert one.features == "fused" and one.xy.shape == (120, 2) and np.isfinite(one.xy).all()
        assert one.values is values and one.aoi is aoi
        apart = cdist(one.xy, one.xy) + np.diag(np.full(120, np.inf))
        assert (group[apart.argmin(1)] == group).all(), "the nearest on the map is of the same group"


def test_pca_is_that_of_unit_vectors() -> None:
    vectors, group = blobs()
    pca, _ = space.maps(vectors, "fused", {}, group.astype(str), seed=0)
    x = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).astype(float)
    _, values, axes = np.linalg.svd(x - x.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(pca.xy), np.abs((x - x.mean(0)) @ axes[:2].T), atol=1e-6)
    share = 100 * values**2 / (values**2).sum()
    assert f"{share[0]:.0f} %" in pca.note and f"{share[1]:.0f} %" in pca.note


def test_maps_are_the_same_again_whatever_the_number_of_threads() -> None:
    from threadpoolctl import threadpool_limits

    vectors, group = blobs()
    one = space.maps(vectors, "fused", {}, group.astype(str), seed=3)
    with threadpool_limits(2):
        two = space.maps(vectors, "fused", {}, group.astype(str), seed=3)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.xy, b.xy)


@pytest.mark.parametrize("n", [0, 1, 4])
def test_few_chips_have_no_map(n: int) -> None:
    assert space.maps(unit(n, 6, 0), "fused", {}, np.full(n, "here"), seed=0) == ()


def test_odd_spaces_do_not_crash() -> None:
    assert space.maps(np.ones((50, 6), np.float32), "fused", {}, np.full(50, "here"), seed=0) == ()
    assert space.maps(np.zeros((50, 6), np.float32), "fused", {}, np.full(50, "here"), seed=0) == ()
    assert len(space.maps(unit(5, 6, 0), "fused", {}, np.full(5, "here"), seed=0)) == 2
    line = np.repeat(circle(8)[:2], 20, axis=0)  # two places only
    assert all(np.isfinite(one.xy).all() for one in space.maps(line, "fused", {}, np.full(40, "here"), seed=0))


def test_contrasted_is_the_space_that_training_contrasts(tmp_path: Path) -> None:
    chipset = make_chips(tmp_path / "chips", n=12, absent=0.3)
    config = ModelConfig(chipset.channels, patch=4, width=16, depth=1, heads=2)
    reader = batches.Reader(chipset, chipset.channels)
    *_, statistics = batches.measure(reader, np.arange(12))
    assert isinstance(statistics, batches.Statistics)
    trained = checkpoint.Trained(checkpoint.Description(config, statistics, {}, {}), checkpoint.build(config, 0), "")
    order = list(batches.blocks(np.arange(12), 5))
    found = space.contrasted(trained, (reader.batch(rows, statistics) for rows in order))
    whole = reader.batch(np.arange(12), statistics)
    assert list(found) == ["s2", "s1"]
    for m, name in enumerate(found):
        here = reader.present[:, m]
        assert found[name].shape == (12, 32) and (np.isnan(found[name]).all(1) == ~here).all() and not here.all()
        np.testing.assert_allclose(np.linalg.norm(found[name][here], axis=1), 1.0, rtol=1e-5)
        with torch.no_grad():
            from geoembed.learning.model import cut

            wanted = trained.model(name, cut(whole.values[name][torch.from_numpy(here)], config.patch)).numpy()
        np.testing.assert_allclose(found[name][here], wanted, atol=1e-5)
