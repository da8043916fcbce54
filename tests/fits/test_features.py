import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import embeddings_file

from geoembed.errors import ProbeError
from geoembed.fits import embeddings, features


def test_concat_fills_with_the_train_mean_and_says_what_is_absent(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    s1, s2 = rng.normal(3, 2, (40, 3)).astype(np.float32), rng.normal(size=(40, 2)).astype(np.float32)
    s1[5:9] = np.nan
    found = embeddings_file(tmp_path / "e.h5", {"s1": s1, "s2": s2, "fused": s2}, columns=8)
    X = features.read(found, "concat")
    assert X.shape == (40, 3 + 2 + 2)
    assert features.usable(found, "concat").all() and features.usable(found, "fused").all()
    assert (features.usable(found, "s1") == ~np.isnan(s1[:, 0])).all()
    train = found.split == "train"
    by = features.scaling(X, np.flatnonzero(train))
    Z = features.scaled(X, by)
    some = np.array([7, 3, 30])
    assert (features.scaled(X, by, some) == Z[some]).all() and np.isnan(X[5, 0])
    assert np.isfinite(Z).all() and (Z[5:9, :3] == 0).all() and (Z[:, 6] == 0).all()
    there = train & found.present[:, 0]
    assert Z[there, :3].mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-5)
    assert Z[there, :3].std(axis=0) == pytest.approx(np.ones(3), abs=1e-5)
    assert len(np.unique(Z[:, 5])) == 2


def test_names_and_the_nearest_of_an_unknown_one(tmp_path: Path) -> None:
    one = np.ones((8, 2), np.float32)
    found = embeddings_file(tmp_path / "e.h5", {"s2": one, "fused": one}, columns=8)
    assert features.names(found) == ("s2", "fused")
    with pytest.raises(ProbeError, match="did you mean fused"):
        features.require(found, ("fusd",))
    assert features.require(found, None) == ("s2", "fused")


def test_scaling_by_blocks_is_that_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(0).normal(5, 3, (50, 4)).astype(np.float32)
    X[::7, 1], X[:, 3] = np.nan, 2.5
    rows = np.arange(0, 50, 2)
    monkeypatch.setattr(features, "ROWS", 8)
    by = features.scaling(X, rows)
    assert by.mean == pytest.approx(np.nanmean(X[rows].astype(float), axis=0), rel=1e-6)
    assert by.deviation[:3] == pytest.approx(np.nanstd(X[rows].astype(float), axis=0)[:3], rel=1e-6)
    assert by.deviation[3] == 1


def test_an_aoi_called_all_is_refused(tmp_path: Path) -> None:
    one = np.ones((8, 2), np.float32)
    found = embeddings_file(tmp_path / "e.h5", {"s2": one, "fused": one}, columns=8)
    found.aoi[:] = "all"
    with pytest.raises(ProbeError, match="has an AOI called all"):
        features.require(found, ("s2",))


@pytest.fixture
def three(tmp_path: Path) -> embeddings.Embeddings:
    """Three modalities of 2, 3 and 4 numbers; s1 is absent from rows 3 to 5, coh from 5 to 7."""
    rng = np.random.default_rng(0)
    vectors = {name: rng.normal(size=(24, d)).astype(np.float32) for name, d in (("s2", 2), ("s1", 3), ("coh", 4))}
    vectors["s1"][3:6] = vectors["coh"][5:8] = np.nan
    return embeddings_file(tmp_path / "e.h5", {**vectors, "fused": vectors["s2"]}, columns=8)


def test_subsets_are_the_modalities_side_by_side_that_are_neither_one_nor_all(three: embeddings.Embeddings) -> None:
    assert features.require(three, ("subsets",)) == ("s2+s1", "s2+coh", "s1+coh")
    asked = ("s1+coh", "subsets", "fused", "s1+coh")
    assert features.require(three, asked) == ("s1+coh", "s2+s1", "s2+coh", "fused")
    four = replace(three, modalities=("s2", "s1", "coh", "dem"))
    assert len(features.require(four, ("subsets",))) == 6 + 4


def test_two_modalities_side_by_side(three: embeddings.Embeddings) -> None:
    X = features.read(three, "coh+s1")
    assert X.shape == (24, 4 + 3 + 2) and features.width(three, "coh+s1") == 7
    np.testing.assert_array_equal(X[:, :4], three.vectors("coh"))
    np.testing.assert_array_equal(X[:, 4:7], three.vectors("s1"))
    absent = [[float(5 <= i < 8), float(3 <= i < 6)] for i in range(24)]
    np.testing.assert_array_equal(X[:, 7:], absent)
    assert np.flatnonzero(~features.usable(three, "coh+s1")).tolist() == [5]  # which has neither
    assert features.usable(three, "s2+s1").all() and features.usable(three, "concat").all()
    whole = features.read(three, "concat")
    np.testing.assert_array_equal(features.read(three, "s2+s1+coh"), whole)
    assert [features.width(three, name) for name in ("s1", "fused", "concat")] == [3, 2, 9]


@pytest.mark.parametrize("name", ["s1+s3", "s1+fused", "s1+concat", "s1+", "+", "subsets+s1"])
def test_what_cannot_be_put_side_by_side_is_told(three: embeddings.Embeddings, name: str) -> None:
    with pytest.raises(ProbeError, match=rf"--features {re.escape(name)}: not in .*e.h5; "):
        features.require(three, (name,))
