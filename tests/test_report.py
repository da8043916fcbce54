import re
import xml.etree.ElementTree as ET

import pytest

from geoembed import report
from geoembed.curves import Curve, Point

FACTS = report.Facts({"train": 600, "test": 200}, {"water": ((0, 1), 800)}, {"fits": 10}, 5, 0, "e.h5", "abc")


def curve(task: str = "water", aoi: str = "all", features: str = "fused", at: int = 50, full: float = 0.9) -> Curve:
    points = tuple(
        Point(n, 5, mean, mean - 0.02, mean + 0.02) for n in (10, 50, 200) for mean in [0.89 if n >= at else 0.6]
    )
    nan = float("nan")
    return Curve(task, aoi, features, "logistic", "balanced_accuracy", points, Point(1234, 1, full, nan, nan))


def test_the_answer_is_a_sentence_for_every_case() -> None:
    assert report.answer([curve()]).startswith("50 labels reach 95 % of the score of all 1,234 on water (fused")
    both = report.answer([curve(), curve("crops", at=200)])
    assert both.startswith(
        "50 to 200 labels, depending on the task, reach 95 % of the score of all 1,234 on every task"
    )
    some = report.answer([curve(), curve("crops", at=999)])
    assert "on 1 of 2 tasks; crops needs them all" in some
    assert report.answer([curve(at=999)]).startswith("No number of labels tried below all 1,234")
    assert "cannot be told" in report.answer([curve(full=-1.0)]) and "cannot be told" in report.answer([])
    assert "at least 96 % fewer labels" in report.answer([curve()])


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    curves = [curve(features=name) for name in ("s1", "s2", "fused")] + [curve(aoi="here <&>")]
    page = report.html(report.answer(curves), curves, FACTS)
    assert not re.search(r"(src|href)=|https?://|@import|url\(", page)
    assert "here &lt;&amp;&gt;" in page and "<&>" not in page
    for svg in re.findall(r"<svg.*?</svg>", page, re.S):
        ET.fromstring(svg)
    assert page.count('role="img"') == 1
    assert 'aria-label="water: mean balanced accuracy against number of labels. s1 0.60 at 10 labels to 0.90' in page
    assert ">number of labels</text>" in page and ">balanced accuracy</text>" in page


@pytest.mark.parametrize(
    ("metric", "values", "wanted"),
    [
        ("balanced_accuracy", (0.48, 0.93), (0.4, 1.0)),
        ("balanced_accuracy", (1.0, 1.0), (0.9, 1.0)),
        ("r2", (-3.0, 0.7), (-0.5, 1.0)),
        ("rmse", (2.0, 7.5), (0.0, 8.0)),
    ],
)
def test_axes_end_at_round_numbers(metric: str, values: tuple[float, float], wanted: tuple[float, float]) -> None:
    points = tuple(Point(10 * (i + 1), 2, value, value, value) for i, value in enumerate(values))
    bottom, top, step = report._range([Curve("t", "all", "s2", "ridge", metric, points, None)])
    assert (bottom, top) == pytest.approx(wanted)
    assert 3 <= round((top - bottom) / step) <= 9


def test_perfect_scores_and_none_at_all_are_drawn_too() -> None:
    nan = float("nan")
    perfect = Curve("w", "all", "s2", "logistic", "balanced_accuracy", (Point(10, 2, 1.0, 1.0, 1.0),), None)
    empty = Curve("e", "all", "s2", "logistic", "balanced_accuracy", (Point(10, 0, nan, nan, nan),), None)
    page = report.html("answer", [perfect, empty], FACTS)
    assert page.count('role="img"') == 1
