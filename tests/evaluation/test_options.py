import pytest

from geoembed.errors import ProbeError
from geoembed.evaluation import options
from geoembed.evaluation.options import Options

ASKED = Options((10, 50), True, n=20, repeats=3, classifiers=("ridge",), features=("s2", "fused", "concat"), seed=4)


def test_numbers_of_labels_are_in_order_and_all_is_apart() -> None:
    assert options.numbers(("50", "all", "10", "50")) == ((10, 50), True)
    assert options.numbers(("20",)) == ((20,), False)
    numbers, full = options.numbers(None)
    assert numbers[:5] == (10, 20, 50, 100, 200) and numbers[-1] == 5_000_000 and full


@pytest.mark.parametrize("sizes", [("ten",), ("1",), ("-20",), ("50", "2.5"), ()])
def test_what_is_no_number_of_labels_is_named(sizes: tuple[str, ...]) -> None:
    with pytest.raises(ProbeError, match=f"--sizes.*{sizes[-1] if sizes else 'names none'}.*10,50,all"):
        options.numbers(sizes)


def test_a_draw_and_two_labels_are_the_least() -> None:
    with pytest.raises(ProbeError, match="--repeats 0: draw at least once"):
        Options((10,), True, n=20, repeats=0, classifiers=("ridge",), features=("s2",), seed=0)
    with pytest.raises(ProbeError, match="--n 1: learn from two labels at least"):
        Options((10,), True, n=1, repeats=3, classifiers=("ridge",), features=("s2",), seed=0)


def test_every_question_is_about_fused_else_the_last_features() -> None:
    assert ASKED.main == "fused"
    assert Options((10,), True, 20, 3, ("ridge",), ("s2", "s1+s2"), 0).main == "s1+s2"


def test_records_hold_what_was_asked() -> None:
    assert ASKED.to_json() == {
        "n": 20, "sizes": [10, 50, "all"], "repeats": 3, "classifiers": ["ridge"],
        "features": ["s2", "fused", "concat"], "seed": 4, "hold_out": False,
    }  # fmt: skip
