import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from geoembed.fits import accuracy


def test_the_example_of_the_paper() -> None:
    # Olofsson et al. 2014, tables 8 and 9: deforestation, forest gain, stable forest and non-forest; pixels of 30 m.
    counts = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]], float)
    pixels = np.array([200_000, 150_000, 3_200_000, 6_450_000])
    found = accuracy.assess("abcd", counts, pixels * 900 / 1e6)
    hectares = [100 * area.value for area in found.areas]
    half = [100 * (area.high - area.low) / 2 for area in found.areas]
    assert hectares == pytest.approx([21_158, 11_686, 285_770, 581_386], abs=1)
    assert half[:2] == pytest.approx([6_158, 3_756], abs=2) and half[2:] == pytest.approx([15_510, 16_282], rel=2e-3)
    assert [user.value for user in found.users] == pytest.approx([0.88, 0.73, 0.93, 0.96], abs=0.005)
    assert [producer.value for producer in found.producers] == pytest.approx([0.75, 0.85, 0.93, 0.96], abs=0.005)
    assert found.overall.value == pytest.approx(0.947, abs=0.001)
    assert (found.overall.high - found.overall.value) == pytest.approx(0.018, abs=0.001)


def test_intervals_are_those_of_drawing_the_labels_again() -> None:
    counts = np.array([[60.0, 10, 5], [10, 80, 10], [4, 6, 90]])
    mapped = np.array([30.0, 50, 100])
    found = accuracy.assess("abc", counts, mapped)
    rng, weight, n = np.random.default_rng(0), mapped / mapped.sum(), counts.sum(axis=1)
    drawn = np.stack([rng.multinomial(int(n[i]), counts[i] / n[i], 20_000) / n[i] for i in range(3)], axis=1)
    p = weight[:, None] * drawn  # (draws, map, ground)
    right = np.diagonal(p, axis1=1, axis2=2)
    for estimates, again in (
        ([found.overall], right.sum(axis=1)[:, None]),
        (found.users, right / weight),
        (found.producers, right / p.sum(axis=1)),
        (found.areas, p.sum(axis=1) * mapped.sum()),
    ):
        half = [estimate.value - estimate.low for estimate in estimates]
        assert half == pytest.approx(accuracy.Z * again.std(axis=0), rel=0.03)


def test_a_class_of_the_map_without_labels_is_left_out_and_told() -> None:
    found = accuracy.assess("abc", np.array([[8.0, 2, 0], [1, 9, 0], [0, 1, 0]]), np.array([10.0, 20, 5]))
    assert found.unchecked == 5 and np.isnan(found.users[2].value)
    assert found.areas[0].value == pytest.approx(10 * 0.8 + 20 * 0.1)
    assert found.to_json()["classes"]["c"]["users_accuracy"] == {"value": None, "low": None, "high": None}
    nothing = accuracy.assess("ab", np.zeros((2, 2)), np.array([1.0, 1.0]))
    assert nothing.unchecked == 2 and np.isnan(nothing.overall.value)


def test_rows_are_the_map() -> None:
    rng = np.random.default_rng(0)
    decided, truth = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
    assert (accuracy.confusion(decided, truth.astype(float), 3) == confusion_matrix(truth, decided).T).all()


def test_what_was_not_checked_has_no_area_and_no_error_is_no_certainty() -> None:
    # "c" is mapped but no label lies there, "d" is neither mapped nor labelled, all labels in "a" are right
    counts = np.array([[13.0, 0, 0, 0], [2, 9, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    found = accuracy.assess("abcd", counts, np.array([5.0, 20, 4, 0]))
    assert [np.isnan(area.value) for area in found.areas] == [False, False, True, True]
    assert found.unchecked == 4 and found.areas[0].value == pytest.approx(5 + 20 * 2 / 11)
    assert found.users[0].value == 1.0 and found.users[0].low < 0.9 < found.users[0].high == 1.0
    share = 14 / 15
    assert found.users[0].low == pytest.approx(1 - accuracy.Z * (share * (1 - share) / 12) ** 0.5)
