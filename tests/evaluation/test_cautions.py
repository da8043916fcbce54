import math

import numpy as np

from geoembed.evaluation import cautions
from geoembed.fits import experiments


def removal(name: str, *, bare: int) -> experiments.Tested:
    """Vectors of ten test chips, of some of which nothing is left."""
    vectors = np.ones((10, 3), np.float32)
    vectors[:bare] = math.nan
    return experiments.Tested("missing", name, np.arange(10), vectors)


def test_chips_of_which_nothing_is_left_are_counted() -> None:
    assert cautions.of_removals([removal("nothing", bare=0), removal("without s1", bare=0)]) == []
    cases = [removal("nothing", bare=0), removal("without s1", bare=2), removal("without s2", bare=4)]
    assert cautions.of_removals(cases) == [
        "2 of the removals of inputs leave nothing of some chips (at most 4 of 10, without s2); these are scored as"
        " average chips"
    ]


def test_what_is_left_out_is_listed_by_reason() -> None:
    counts = {"fits": 7, "cells_empty": 3, "chips_without_s1": 1200, "chips_without_s2": 0, "cells_lacking_a_class": 3}
    assert cautions.left_out(counts) == "1,200 chips without s1, 3 cells lacking a class"
    assert cautions.left_out({"fits": 7, "cells_empty": 0}) == ""
    assert cautions.listed({"fits": 0, "cells_empty": 2}) == "2 cells empty"
