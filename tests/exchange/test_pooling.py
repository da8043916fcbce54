"""Pooling equals NumPy over the same vectors."""

from pathlib import Path

import numpy as np
import pytest

from geoembed.exchange import pooling, scratch
from geoembed.exchange.pooling import Pool
from geoembed.exchange.scratch import Scratch


@pytest.mark.parametrize("small", [scratch.SMALL, 0], ids=["in memory", "in files"])
def test_weighted_statistics_in_parts(tmp_path: Path, small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "SMALL", small)
    rng = np.random.default_rng(0)
    chips, vectors, weights = (
        rng.integers(0, 5, 400),
        rng.normal(size=(400, 3)).astype(np.float32),
        rng.random(400) + 0.1,
    )
    with Scratch(tmp_path / "out.h5") as place:
        mean, stats = (Pool(6, 3, kind, place) for kind in pooling.KINDS)
        for part in np.split(np.arange(400), [1, 50, 60, 399]):
            mean.add(chips[part], vectors[part], weights[part])
            stats.add(chips[part], vectors[part], weights[part])
        assert (mean.width, stats.width) == (3, 12)
        found = stats.vectors(slice(0, 6))
        np.testing.assert_array_equal(mean.vectors(slice(1, 3)), found[1:3, :3])
        for chip in range(5):
            own, w = vectors[chips == chip].astype(float), weights[chips == chip]
            average = np.average(own, axis=0, weights=w)
            deviation = np.sqrt(np.average((own - average) ** 2, axis=0, weights=w))
            wanted = np.concatenate([average, deviation, own.min(0), own.max(0)])
            np.testing.assert_allclose(found[chip], wanted, rtol=1e-5, atol=1e-6)
        assert np.isnan(found[5]).all() and np.isnan(mean.vectors(slice(5, 6))).all()
        assert bool(list(tmp_path.iterdir())) == (small == 0)
    assert not list(tmp_path.iterdir()), "the files stay"


def test_names_of_numbers() -> None:
    with Scratch(Path("unused")) as place:
        names = Pool(1, 2, pooling.STATS, place).names(("a", "b"))
    assert names[:3] == ("a_mean", "b_mean", "a_deviation") and names[-1] == "b_maximum" and len(names) == 8
