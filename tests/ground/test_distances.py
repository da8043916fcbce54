import numpy as np
import pytest

from geoembed.ground import distances


@pytest.mark.parametrize(
    ("place", "other", "expected"),
    [
        # One degree along the equator is a / 180 * pi, one along a meridian from there 110,574.4 m (WGS84).
        ((0.0, 0.0), (1.0, 0.0), 6378137.0 * np.pi / 180),
        ((7.0, 0.0), (7.0, 1.0), 110574.389),
        ((179.9, 0.0), (-179.9, 0.0), 0.2 * 6378137.0 * np.pi / 180),
        ((0.0, 90.0), (123.0, 90.0), 0.0),
        # Half a meridian, pole to pole.
        ((0.0, -90.0), (0.0, 90.0), 20003931.459),
    ],
)
def test_known_distances(place: tuple[float, float], other: tuple[float, float], expected: float) -> None:
    assert distances.metres(np.array(place), np.array(other)) == pytest.approx(expected, abs=0.001)


def test_places_broadcast() -> None:
    rng = np.random.default_rng(0)
    queries, places = (rng.uniform((-180, -80), (180, 80), (n, 2)) for n in (3, 4))
    measured = distances.metres(queries[:, None], places)
    assert measured.shape == (3, 4)
    for i, j in np.ndindex(3, 4):
        assert measured[i, j] == pytest.approx(float(distances.metres(places[j], queries[i])))
