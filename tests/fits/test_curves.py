import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from geoembed.fits import curves
from geoembed.fits.curves import Fit


def fit(n: int, seed: int, value: float, metric: str = "balanced_accuracy", **other: Any) -> Fit:
    key = {"question": "curve", "source": "embeddings", "aoi": "all", "tested": "all", "whole": n == 1000, **other}
    return Fit(
        task="water", features="s2", classifier="logistic", n=n, seed=seed, scores={metric: value}, seconds=0.1, **key
    )


def curve(means: dict[int, list[float]], metric: str = "balanced_accuracy") -> curves.Curve:
    fits = [fit(n, seed, value, metric) for n, values in means.items() for seed, value in enumerate(values)]
    return curves.of_fits(fits, lambda task, metric: 0.5)[0]


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


def test_enough_can_be_counted_above_chance() -> None:
    found = curve({10: [0.7], 50: [0.86], 100: [0.89], 1000: [0.9]})
    # 95 % of 0.9 is 0.855; of the 0.4 above chance, 0.38, it takes 0.88
    assert (found.enough(0.95), found.enough(0.95, above=found.chance)) == (50, 100)
    assert curves.to_json(found)["enough_above_chance"]["95%"] == 100
    assert curve({10: [0.4], 1000: [0.5]}).enough(0.95, above=0.5) is None
    assert found.enough(0.95, above=math.nan) is None


def test_over_all_cells_savings_add_up() -> None:
    found = [curve({10: [0.5], 50: [0.9], 1000: [0.9]}), curve({10: [0.5], 50: [0.5], 1000: [0.9]})]
    wanted = {"cells": 2, "median": 525.0, "labels": 1050, "all": 2000, "saving": round(1 - 1050 / 2000, 4)}
    assert curves.over_cells(found, 0.95) == wanted
    assert curves.over_cells([curve({10: [0.5]})], 0.95) is None


def test_a_paired_difference_is_over_draws_that_both_have() -> None:
    ours, theirs = {0: 0.9, 1: 0.8, 2: 0.85, 7: 0.1}, {0: 0.7, 1: 0.65, 2: 0.6, 9: 0.9}
    found = curves.difference(10, ours, theirs, paired=True)
    values = [0.2, 0.15, 0.25]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert (found.mean, found.low, found.high, found.draws) == pytest.approx((0.2, low, high, 3))


def test_an_unpaired_difference_is_welchs() -> None:
    a, b = [0.9, 0.8, 0.85, 0.87], [0.7, 0.65, 0.6]
    found = curves.difference(10, dict(enumerate(a)), dict(enumerate(b)), paired=False)
    peer = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high))
    assert math.isnan(curves.difference(10, {0: 0.5}, {0: 0.6}, paired=False).low)


def contrast(*fits: Fit, n: int = 10) -> list[curves.Contrast]:
    return curves.contrasts(fits, n, lambda task: "balanced_accuracy")


def test_other_sources_are_compared_by_draw_at_n_and_at_all() -> None:
    ours = [fit(10, 0, 0.7), fit(10, 1, 0.8), fit(20, 0, 0.8), fit(1000, 0, 0.9)]
    theirs = [
        fit(10, 0, 0.6, source="statistics"), fit(10, 1, 0.75, source="statistics"),
        fit(1000, 0, 0.95, source="statistics"),
    ]  # fmt: skip
    some, all_of_them = contrast(*ours, *theirs)
    assert (some.question, some.source, some.n, all_of_them.n) == ("compared", "statistics", 10, 1000)
    assert (some.score.mean, some.reference.mean) == pytest.approx((0.75, 0.675))
    assert some.difference.mean == pytest.approx(0.075) and all_of_them.difference.mean == pytest.approx(-0.05)


def test_where_fewer_labels_are_there_all_stand_for_n() -> None:
    found = contrast(
        fit(1000, 0, 0.9, aoi="a", tested="a"), fit(1000, 0, 0.6, question="transfer", aoi="b", tested="a")
    )
    assert [(one.aoi, one.tested, one.n) for one in found] == [("b", "a", 1000)]
    assert found[0].difference.mean == pytest.approx(-0.3)


def test_what_is_missing_is_set_beside_nothing_missing() -> None:
    at = {"question": "missing"}
    found = contrast(
        fit(10, 0, 0.9, tested="nothing", **at), fit(10, 1, 0.8, tested="nothing", **at),
        fit(10, 0, 0.85, tested="without s1", **at), fit(10, 1, 0.7, tested="without s1", **at),
        fit(10, 1, 0.6, tested="30 % of channels", **at),
    )  # fmt: skip
    assert [one.tested for one in found] == ["without s1", "30 % of channels"]
    assert [one.difference.mean for one in found] == pytest.approx([-0.075, -0.2])
    assert all(one.question == "missing" for one in found)


def test_a_random_split_is_set_beside_the_split_by_place() -> None:
    found = contrast(
        fit(10, 0, 0.7), fit(10, 1, 0.72), fit(10, 0, 0.8, question="split"), fit(10, 1, 0.9, question="split")
    )
    assert [(one.question, round(one.difference.mean, 6)) for one in found] == [("split", 0.14)]


def test_what_has_no_meaningful_share_says_so() -> None:
    assert curve({10: [-0.5], 1000: [-0.1]}, metric="r2").enough(0.95) is None
    assert curve({10: [2.0], 1000: [1.0]}, metric="rmse").enough(0.95) is None
    assert curve({10: [0.5], 20: [0.6]}).enough(0.95) is None
    whole = curve({1000: [0.8]})
    assert whole.full is not None and math.isnan(whole.full.low) and whole.points == ()


def test_the_table_has_a_column_per_size() -> None:
    text = curves.table([curve({10: [0.5, 0.7], 1000: [0.9]})]).splitlines()
    assert text[0].split() == ["task", "metric", "features", "from", "10", "all"]
    assert text[1].split()[-2:] == ["0.600", "0.900"]
