import math

import numpy as np
import pytest
from scipy import stats
from synthetic import fit

from geoembed.fits import comparisons
from geoembed.fits.comparisons import Comparison
from geoembed.fits.curves import Fit


def test_a_paired_difference_is_over_draws_that_both_have() -> None:
    ours, theirs = {0: 0.9, 1: 0.8, 2: 0.85, 7: 0.1}, {0: 0.7, 1: 0.65, 2: 0.6, 9: 0.9}
    found = comparisons.difference(10, ours, theirs, paired=True)
    values = [0.2, 0.15, 0.25]
    half = 4.302652729749462 * np.std(values, ddof=1) / math.sqrt(3)  # Student's t of 2 degrees of freedom, 97.5 %
    assert (found.mean, found.low, found.high) == pytest.approx((0.2, 0.2 - half, 0.2 + half), abs=1e-12)
    assert found.draws == 3


def test_an_unpaired_difference_is_welchs() -> None:
    a, b = [0.9, 0.8, 0.85, 0.87], [0.7, 0.65, 0.6]
    found = comparisons.difference(10, dict(enumerate(a)), dict(enumerate(b)), paired=False)
    va, vb = np.var(a, ddof=1) / 4, np.var(b, ddof=1) / 3
    freedom = (va + vb) ** 2 / (va**2 / 3 + vb**2 / 2)  # Welch and Satterthwaite
    half, mean = stats.t.ppf(0.975, freedom) * math.sqrt(va + vb), np.mean(a) - np.mean(b)
    assert (found.low, found.mean, found.high) == pytest.approx((mean - half, mean, mean + half), abs=1e-12)
    assert math.isnan(comparisons.difference(10, {0: 0.5}, {0: 0.6}, paired=False).low)


def test_draws_that_are_alike_on_one_side_or_both_warn_of_nothing() -> None:
    b = [0.7, 0.65, 0.6]
    found = comparisons.difference(10, {0: 1.0, 1: 1.0, 2: 1.0}, dict(enumerate(b)), paired=False)
    half = 4.302652729749462 * np.std(b, ddof=1) / math.sqrt(3)  # the other side's alone
    assert (found.low, found.mean, found.high) == pytest.approx((0.35 - half, 0.35, 0.35 + half), abs=1e-12)
    found = comparisons.difference(10, {0: 1.0, 1: 1.0}, {0: 0.5, 1: 0.5, 2: 0.5}, paired=False)
    assert (found.low, found.mean, found.high, found.draws) == (0.5, 0.5, 0.5, 2)


def compare(*fits: Fit, n: int = 10) -> list[Comparison]:
    return comparisons.of_fits(fits, n, lambda task: "balanced_accuracy")


def test_other_sources_are_compared_by_draw_at_n_and_at_all() -> None:
    ours = [fit(10, 0, 0.7), fit(10, 1, 0.8), fit(20, 0, 0.8), fit(1000, 0, 0.9)]
    theirs = [
        fit(10, 0, 0.6, source="statistics"), fit(10, 1, 0.75, source="statistics"),
        fit(1000, 0, 0.95, source="statistics"),
    ]  # fmt: skip
    some, all_of_them = compare(*ours, *theirs)
    assert (some.question, some.source, some.n, all_of_them.n) == ("compared", "statistics", 10, 1000)
    assert (some.score.mean, some.reference.mean) == pytest.approx((0.75, 0.675))
    assert some.difference.mean == pytest.approx(0.075) and all_of_them.difference.mean == pytest.approx(-0.05)


def test_where_fewer_labels_are_there_all_stand_for_n() -> None:
    found = compare(fit(1000, 0, 0.9, aoi="a", tested="a"), fit(1000, 0, 0.6, question="transfer", aoi="b", tested="a"))
    assert [(one.aoi, one.tested, one.n) for one in found] == [("b", "a", 1000)]
    assert found[0].difference.mean == pytest.approx(-0.3)


def test_what_is_missing_is_set_beside_nothing_missing() -> None:
    at = {"question": "missing"}
    found = compare(
        fit(10, 0, 0.9, tested="nothing", **at), fit(10, 1, 0.8, tested="nothing", **at),
        fit(10, 0, 0.85, tested="without s1", **at), fit(10, 1, 0.7, tested="without s1", **at),
        fit(10, 1, 0.6, tested="30 % of channels", **at),
    )  # fmt: skip
    assert [one.tested for one in found] == ["without s1", "30 % of channels"]
    assert [one.difference.mean for one in found] == pytest.approx([-0.075, -0.2])
    assert all(one.question == "missing" for one in found)


def test_a_random_split_is_set_beside_the_split_by_place() -> None:
    found = compare(
        fit(10, 0, 0.7), fit(10, 1, 0.72), fit(10, 0, 0.8, question="split"), fit(10, 1, 0.9, question="split")
    )
    assert [(one.question, round(one.difference.mean, 6)) for one in found] == [("split", 0.14)]
