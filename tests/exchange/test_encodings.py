"""Published encodings, by numbers computed by hand."""

import numpy as np

from geoembed.exchange import encodings


def test_alphaearth_by_hand() -> None:
    stored = np.array([-128, -127, -64, -1, 0, 1, 51, 127], np.int8)
    values = encodings.alphaearth(stored)
    assert values.dtype == np.float32 and np.isnan(values[0])
    # (127 / 127.5)^2 = 0.99217224, (64 / 127.5)^2 = 0.25196463, (51 / 127.5)^2 = 0.4^2, (1 / 127.5)^2 = 6.1514e-05
    wanted = [-0.99217224, -0.25196463, -6.1514802e-05, 0.0, 6.1514802e-05, 0.16, 0.99217224]
    np.testing.assert_allclose(values[1:], wanted, rtol=2e-6)


def test_scaled_by_hand() -> None:
    stored = np.array([[2, -3], [100, 1], [5, 5], [7, 7]], np.int8)
    scales = np.array([[0.5], [0.25], [np.inf], [0.0]], np.float32)
    found = encodings.scaled(stored, scales)
    assert found[:2].tolist() == [[1.0, -1.5], [25.0, 0.25]] and np.isnan(found[2:]).all()
    assert encodings.scaled(stored[:1], np.array([[2.0, 10.0]], np.float32)).tolist() == [[4.0, -30.0]]
