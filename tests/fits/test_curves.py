import math

import numpy as np
import pytest
from synthetic import fit

from geoembed.fits import curves


def curve(means: dict[int, list[float]], metric: str = "balanced_accuracy") -> curves.Curve:
    fits = [fit(n, seed, value, metric) for n, values in means.items() for seed, value in enumerate(values)]
    return curves.of_fits(fits, lambda task, metric: 0.5)[0]


def test_the_interval_is_students() -> None:
    values = [0.6, 0.7, 0.65, 0.72, 0.58]
    point = curve({10: values, 1000: [0.9]}).points[0]
    half = 2.7764451051977934 * np.std(values, ddof=1) / math.sqrt(5)  # Student's t of 4 degrees of freedom, 97.5 %
    assert (point.low, point.high) == pytest.approx((0.65 - half, 0.65 + half), abs=1e-12)
    assert point.draws == 5 and point.mean == pytest.approx(0.65)


def test_draws_that_are_alike_have_an_interval_without_width() -> None:
    point = curve({10: [0.75] * 4, 1000: [0.9]}).points[0]
    assert (point.low, point.mean, point.high) == (0.75, 0.75, 0.75)
    one = curve({10: [0.75], 1000: [0.9]}).points[0]
    assert one.mean == 0.75 and math.isnan(one.low) and math.isnan(one.high)


def test_enough_is_where_every_later_mean_stays_above() -> None:
    found = curve({10: [0.96], 20: [0.5], 50: [0.96], 100: [0.97], 1000: [1.0]})
    assert found.enough(0.95) == 50  # 10 reached it, too, but 20 did not
    assert found.enough(0.99) == 1000
    assert found.full is not None and found.full.n == 1000
    assert curves.to_json(found)["saving"]["95%"] == 0.95


def test_enough_can_be_counted_above_chance() -> None:
    found = curve({10: [0.7], 50: [0.86], 100: [0.89], 1000: [0.9]})
    # 95 % of 0.9 is 0.855; of the 0.4 above chance, 0.38, it takes 0.88
    assert (found.enough(0.95), found.enough(0.95, above=found.chance)) == (50, 100)
    assert curves.to_json(found)["enough_above_chance"]["95%"] == 100
    assert curve({10: [0.4], 1000: [0.5]}).enough(0.95, above=0.5) is None
    assert found.enough(0.95, above=math.nan) is None


@pytest.mark.parametrize("full", [0.45, 0.5, 0.52])
def test_a_full_score_about_chance_is_reached_by_nothing(full: float) -> None:
    assert curve({10: [0.5], 1000: [full]}).enough(0.95) is None  # 95 % of 0.52 is what guessing scores, or less
    assert curves.to_json(curve({10: [0.5], 1000: [full]}))["saving"] == {"95%": None, "99%": None}
    assert curve({10: [0.5], 1000: [0.53]}).enough(0.95) == 1000


def test_over_all_cells_savings_add_up() -> None:
    found = [curve({10: [0.5], 50: [0.9], 1000: [0.9]}), curve({10: [0.5], 50: [0.5], 1000: [0.9]})]
    wanted = {"cells": 2, "median": 525.0, "labels": 1050, "all": 2000, "saving": round(1 - 1050 / 2000, 4)}
    assert curves.over_cells(found, 0.95) == wanted
    assert curves.over_cells([curve({10: [0.5]})], 0.95) is None


def test_what_has_no_meaningful_share_says_so() -> None:
    assert curve({10: [-0.5], 1000: [-0.1]}, metric="r2").enough(0.95) is None
    assert curve({10: [2.0], 1000: [1.0]}, metric="rmse").enough(0.95) is None
    assert curve({10: [0.5], 20: [0.6]}).enough(0.95) is None
    whole = curve({1000: [0.8]})
    assert whole.full is not None and math.isnan(whole.full.low) and whole.points == ()


def test_the_table_has_a_column_per_size() -> None:
    head, row = curves.table([curve({10: [0.5, 0.7], 1000: [0.9]})])
    assert head == ("task", "metric", "features", "from", "10", "all")
    assert row[-2:] == ("0.600", "0.900")
