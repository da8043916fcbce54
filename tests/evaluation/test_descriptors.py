"""Chip statistics, against NumPy."""

import numpy as np

from geoembed.evaluation import descriptors


def test_a_summary_is_what_numpy_says() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(-12, 3, (3, 4, 101)).astype(np.float32)
    values[0, 1, rng.random(101) < 0.4] = np.nan
    values[1, 2, 1:] = np.nan
    values[2, 3] = np.nan
    found = descriptors.summary(values)
    for i, j in np.ndindex(3, 4):
        valid = values[i, j][~np.isnan(values[i, j])]
        if (i, j) == (2, 3):
            assert np.isnan(found[i, j]).all()
        else:
            wanted = [valid.mean(), valid.std(), *np.percentile(valid, (5, 25, 50, 75, 95))]
            np.testing.assert_allclose(found[i, j], wanted, rtol=1e-5, atol=1e-6)
    assert found.shape == (3, 4, 7) and found.dtype == np.float32
