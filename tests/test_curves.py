import math

import numpy as np
import pytest
from scipy import stats

from geoembed import curves
from geoembed.sweep import Fit


def fits(means: dict[int, list[float]], metric: str = "balanced_accuracy") -> list[Fit]:
    return [
        Fit("water", "all", "s2", "logistic", n, seed, {metric: value}, 0.1)
        for n, values in means.items()
        for seed, value in enumerate(values)
    ]


def curve(means: dict[int, list[float]], full: int | None = 1000, metric: str = "balanced_accuracy") -> curves.Curve:
    return curves.of_fits(fits(means, metric), {("water", "all", "s2"): full} if full else {})[0]


def test_the_interval_is_students() -> None:
    values = [0.6, 0.7, 0.65, 0.72, 0.58]
    point = curve({10: values, 1000: [0.9]}).points[0]
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (point.low, point.high) == pytest.approx((low, high))
    assert point.draws == 5


def test_enough_is_where_every_later_mean_stays_above() -> None:
    found = curve({10: [0.96], 20: [0.5], 50: [0.96], 100: [0.97], 1000: [1.0]})
    assert found.enough(0.95) == 50  # 10 reached it, too, but 20 did not
    assert found.enough(0.99) == 1000
    assert found.full is not None and found.full.n == 1000
    assert curves.to_json(found)["saving"]["95%"] == 0.95


def test_what_has_no_meaningful_share_says_so() -> None:
    assert curve({10: [-0.5], 1000: [-0.1]}, metric="r2").enough(0.95) is None
    assert curve({10: [2.0], 1000: [1.0]}, metric="rmse").enough(0.95) is None
    assert curve({10: [0.5], 20: [0.6]}, full=None).enough(0.95) is None
    whole = curve({1000: [0.8]})
    assert whole.full is not None and math.isnan(whole.full.low) and whole.points == ()


def test_the_table_has_a_column_per_size() -> None:
    text = curves.table([curve({10: [0.5, 0.7], 1000: [0.9]})]).splitlines()
    assert text[0].split() == ["task", "metric", "features", "10", "all"]
    assert text[1].split()[-2:] == ["0.600", "0.900"]
