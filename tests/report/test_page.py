import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from geoembed.evaluation.findings import Facts, Findings
from geoembed.evaluation.pictures import Gallery, Picture
from geoembed.evaluation.space import Health, Map, Retrieval
from geoembed.fits.calibration import Trust
from geoembed.fits.comparisons import Comparison
from geoembed.fits.curves import Curve, Point
from geoembed.report import answers
from geoembed.report.answers.view import View
from geoembed.report.markup import matrix
from geoembed.report.page import answer, html

NAN = math.nan
AREAS = ("here <&>", "there")
QUESTIONS = {
    "curves": "How many labels are enough?",
    "compared": "Compared with what?",
    "split": "Is it leakage?",
    "transfer": "Does it travel?",
    "missing": "What if inputs are missing?",
    "trust": "Can the probability be trusted?",
    "maps": "What does the space look like?",
    "health": "Is the space healthy?",
}


def point(n: int, mean: float, half: float = 0.02, draws: int = 5) -> Point:
    return Point(n, draws, mean, mean - half, mean + half) if draws > 1 else Point(n, 1, mean, NAN, NAN)


def curve(
    task: str = "water",
    aoi: str = "all",
    features: str = "fused",
    at: int = 50,
    full: float = 0.9,
    source: str = "embeddings",
    classifier: str = "logistic",
) -> Curve:
    """A curve that is enough from `at` labels on."""
    points = tuple(point(n, 0.89 if n >= at else 0.6) for n in (10, 50, 200))
    metric, chance = ("r2", NAN) if task == "biomass" else ("balanced_accuracy", 0.5)
    return Curve(source, task, aoi, features, classifier, metric, points, point(1234, full, draws=1), chance)


def comparison(question: str, score: float, reference: float, half: float = 0.01, **other: str) -> Comparison:
    told = {"source": "embeddings", "task": "water", "aoi": "all", "tested": "all", "features": "fused"} | other
    told.setdefault("metric", "r2" if told["task"] == "biomass" else "balanced_accuracy")
    difference = Point(200, 5, score - reference, score - reference - half, score - reference + half)
    described: dict[str, Any] = {"score": point(200, score), "reference": point(200, reference), **told}
    return Comparison(question, classifier="logistic", difference=difference, **described)


def trust(task: str = "water", classes: int = 2) -> Trust:
    bins = ((0.05, NAN, 0.9), (0.1, NAN, 0.8), (0.5, 0.0, 0.5))
    accuracy = tuple(point(200, mean, 0.01) for mean in (0.99, 0.97, 0.9))
    ece, brier = point(200, 0.042, 0.003), point(200, 0.08, 0.004)
    return Trust(task, "fused", "logistic", classes, 200, *bins, (0.05, 0.5, 1.0), accuracy, 0.6, ece, brier)


def findings(n: int = 60) -> Findings:
    """Something for every question."""
    random = np.random.default_rng(0)
    facts = Facts(
        {"train": 600, "test": 200}, {"water": ((0, 1), 800), "biomass": ((), 700)}, AREAS,
        {"fits": 10, "chips_without_coh": 3}, 200, 5, 0, "e.h5", "abc", 0.03,
    )  # fmt: skip
    curves = [curve(features=name) for name in ("s1", "s2", "fused")] + [curve(aoi=area) for area in AREAS]
    curves += [curve("biomass", at=200), curve(source="statistics"), curve("biomass", source="statistics")]
    comparisons = [
        comparison("compared", 0.89, 0.85, source="statistics"),
        comparison("compared", 0.60, 0.75, source="statistics", task="biomass"),
        comparison("split", 0.93, 0.89),
        comparison("transfer", 0.70, 0.90, aoi="there", tested="here <&>"),
        comparison("transfer", 0.80, 0.95, aoi="here <&>", tested="there"),
        comparison("transfer", 0.88, 0.95, aoi="all but there", tested="there"),
        # Sentences are not about other sources.
        comparison("transfer", 0.20, 0.90, aoi="there", tested="here <&>", source="untrained"),
        *(
            comparison("missing", 0.89 - loss, 0.89, tested=name)
            for name, loss in (
                ("without s1", 0.01), ("without s2", 0.2), ("without djf", 0.0),
                ("30 % of channels", 0.05), ("without s2 djf_red", 0.002),
            )
        ),
    ]  # fmt: skip
    values = {"water": np.arange(n) % 2 * 1.0, "biomass": np.where(np.arange(n) < 5, NAN, np.arange(n))}
    xy = random.normal(size=(n, 2)) + 20 * np.arange(n)[:, None] % 40
    maps = (Map("t-SNE", "fused", xy, values, np.array(AREAS)[np.arange(n) // 2 % 2], "Perplexity 30."),)
    picture = Picture("data:image/png;base64,AAAA", "chip 7 of <here>", "asked for")
    return Findings(
        facts, tuple(curves), tuple(comparisons), (trust(),), maps,
        (Gallery("s1 to s2", "By cosine.", ((picture, replace(picture, caption="1. there")),)),),
        (Health("fused", 200, 64, 21.4, -2.5),), (Retrieval("s1", "s2", 200, 0.31, 0.7, 0.9, 0.4),),
        ("No second embeddings file was given.",),
    )  # fmt: skip


@pytest.fixture(scope="module")
def page() -> str:
    return html(findings())


def finding(page: str, question: str) -> str:
    """The sentence below a question, as people read it."""
    found = re.search(re.escape(question) + r"</h2><p class=finding>(.*?)</p>", page)
    assert found, question
    return found[1].replace("&nbsp;", " ")


def test_the_answer_is_a_sentence_for_every_case() -> None:
    assert answer([curve()]).startswith("50 labels reach 95 % of the score of all 1,234 on water (fused")
    both = answer([curve(), curve("crops", at=200)])
    assert both.startswith(
        "50 to 200 labels, depending on the task, reach 95 % of the score of all 1,234 on every task"
    )
    some = answer([curve(), curve("crops", at=999)])
    assert "on 1 of 2 tasks; crops needs them all" in some
    assert answer([curve(at=999)]).startswith("No number of labels tried below all 1,234")
    assert "cannot be told" in answer([curve(full=-1.0)]) and "cannot be told" in answer([])
    assert "at least 95.9 % fewer labels" in answer([curve()]), "1 - 50 / 1234 is 95.95 %: not rounded up"


def test_the_answer_is_about_the_embeddings_of_all_areas() -> None:
    others = [curve(at=10, source="statistics"), curve(at=10, aoi="here"), replace(curve(at=10), metric="f1")]
    assert answer([*others, curve(at=200)]).startswith("200 labels")
    assert answer([curve(aoi="here")]).startswith("50 labels")
    assert answer([curve(features="s2"), curve(features="s1", at=200)]).startswith("200 labels")


def test_the_page_is_whole_and_needs_nothing_else(page: str) -> None:
    loaded = re.findall(r"(?:src|href)=\"([^\"]{5})|url\((.)|(@import)", page.replace('href="#', 'name="#'))
    assert {"".join(one) for one in loaded} == {"data:", "#"}
    assert "http" not in page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "<script" not in page and "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.S)
    assert page.index("<h1>50 to 200 labels") < page.index("<svg") < page.index("<h2>")
    assert "here &lt;&amp;&gt;" in page and "<&>" not in page and 'alt="chip 7 of &lt;here&gt;"' in page


def test_charts_are_read_aloud_and_their_ids_are_unique(page: str) -> None:
    charts = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.S)]
    told = [chart.attrib["aria-label"] for chart in charts]
    assert len(set(told)) == len(charts) == page.count('role="img"') == 13
    assert any(one.startswith("water, learning curves: balanced accuracy") and "s1 0.6 (0.58" in one for one in told)
    assert "water, inputs missing: change (points of balanced accuracy)" in "".join(told) and "s2 -20" in "".join(told)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert ids and len(ids) == len(set(ids))


def test_the_same_findings_give_the_same_bytes(page: str) -> None:
    assert html(findings()) == page


def test_questions_come_in_order_where_asked(page: str) -> None:
    assert re.findall("<h2>(.*?)</h2>", page) == [*QUESTIONS.values(), "How this was measured"]


@pytest.mark.parametrize(("gone", "ask"), list(zip(QUESTIONS, answers.QUESTIONS, strict=True)))
def test_a_question_not_asked_is_left_out(gone: str, ask: Callable[[View], str]) -> None:
    found = replace(findings(), comparisons=tuple(one for one in findings().comparisons if one.question != gone))
    if gone == "compared":
        found = replace(found, curves=tuple(one for one in found.curves if one.source == "embeddings"))
    elif gone in ("curves", "trust", "maps", "health"):
        found = replace(found, curves=(), trust=(), maps=(), neighbours=(), health=(), retrieval=())
    assert ask(View.of(found)) == ""


def test_nothing_found_is_a_page_all_the_same() -> None:
    page = html(Findings(findings().facts, ()))
    assert re.findall("<h2>(.*?)</h2>", page) == ["How this was measured"] and "cannot be told" in page


def test_sentences_tell_what_was_found(page: str) -> None:
    assert finding(page, QUESTIONS["curves"]) == (
        "With fused features, 95 % of the full-label score takes 50 labels on water and 200 labels on biomass;"
        " 99 % of the full-label score takes all labels on water and all labels on biomass."
    )
    assert "95 % takes 50 labels in the median of 6 combinations and saves" in page.replace("&nbsp;", " ")
    assert finding(page, QUESTIONS["compared"]) == (
        "With 200 labels and fused features, the embeddings are, compared with chip statistics, ahead on 1 of 2 tasks"
        " (water by 4.0 points) and behind on 1 of 2 tasks (biomass by 0.15 of R²)."
    )
    assert "higher on water by 4.0 points; the mean difference is +4.0 points" in finding(page, QUESTIONS["split"])
    assert "change by \u221217.5 points on average where labels come from one other area" in finding(
        page, QUESTIONS["transfer"]
    )
    assert "worst: water, from there to here &lt;&amp;&gt;, \u221220.0 points" in finding(page, QUESTIONS["transfer"])
    assert "by \u22127.0 points on average where they come from all other areas" in finding(page, QUESTIONS["transfer"])
    assert "of single modalities, s2 is missed most (\u221220.0 points)" in finding(page, QUESTIONS["missing"])
    assert "\u22125.0 points without 30 %" in finding(page, QUESTIONS["missing"])
    assert "differ from how often they come true by 4.2 points on water, on average over chips" in finding(
        page, QUESTIONS["trust"]
    )
    assert "Probabilities above one half are too high by 10.0 points on water." in finding(page, QUESTIONS["trust"])
    assert "97 % on water (on all chips 90 %, by always saying the most frequent class 60 %)" in finding(
        page, QUESTIONS["trust"]
    )
    assert "agree on water for" in finding(page, QUESTIONS["maps"])
    assert "21 of 64 by fused" in finding(page, QUESTIONS["health"])
    assert "31 % for s1 and s2 (by chance 0.5 %)" in finding(page, QUESTIONS["health"])
    for said in ("No second embeddings file was given.", "3 chips without coh", "3&nbsp;% of neighbouring chips"):
        assert said in page


def test_what_the_answer_leaves_out_stands_below_it(page: str) -> None:
    lead = re.sub("<.*?>", "", page[page.index("</h1>") : page.index("<svg")]).replace("&nbsp;", " ")
    assert lead.startswith("95 % of the score above guessing takes 50 labels on water. With 200 labels and fused")


@pytest.mark.parametrize(
    ("observed", "wanted"),
    [(0.8, "too high by 10.0 points"), (0.95, "too low by 5.0 points"), (0.9, "neither too high nor too low")],
)
def test_probabilities_are_too_high_or_too_low(observed: float, wanted: str) -> None:
    told = finding(
        html(replace(findings(), trust=(replace(trust(), observed=(0.1, NAN, observed)),))), QUESTIONS["trust"]
    )
    assert f"Probabilities above one half are {wanted} on water." in told


@pytest.mark.parametrize(
    ("half", "draws", "wanted"),
    [
        (0.01, 5, "behind on water by 3.0 points"),
        (0.05, 5, "level on water"),
        (NAN, 1, "without a verdict (one draw) on water"),
    ],
)
def test_a_baseline_that_wins_is_told(half: float, draws: int, wanted: str) -> None:
    one = comparison("compared", 0.80, 0.83, half, source="mosaiks")
    told = finding(html(replace(findings(), comparisons=(one,))), QUESTIONS["compared"])
    assert (
        told == f"With 200 labels and fused features, the embeddings are, compared with random convolutions, {wanted}."
    )


def test_the_matrix_has_its_home_on_the_diagonal(page: str) -> None:
    rows = re.findall(r"<tr>(.*?)</tr>", page[page.index('class="matrix"') :].split("</table>")[0])
    cells = [[re.sub("<.*?>", " ", cell).split() for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]
    assert cells[1:] == [
        [["here", "&lt;&amp;&gt;"], ["0.90"], ["0.80", "\u221215.0"]],
        [["there"], ["0.70", "\u221220.0"], ["0.95"]],
        [["all", "but", "it"], [], ["0.88", "\u22127.0"]],
    ]


def test_text_on_a_shade_can_be_read() -> None:
    def luminance(colour: tuple[int, ...]) -> float:
        linear = [(c / 255 + 0.055) ** 2.4 / 1.055**2.4 if c > 10 else c / 255 / 12.92 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    table = matrix("", [""] * 101, [("", [(i / 100, "") for i in range(101)])])
    shades = re.findall(r"rgb\((\d+),(\d+),(\d+)\);color:#(\w+)", table)
    assert len(shades) == 101
    for *shade, ink in shades:
        light, dark = sorted((luminance(tuple(map(int, shade))), float(ink == "fff")), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (shade, ink)


def test_two_classifiers_have_charts_and_rows_of_their_own() -> None:
    found = findings()
    both = tuple(replace(one, classifier=kind) for kind in ("logistic", "ridge") for one in found.curves)
    page = html(replace(found, curves=both))
    assert "<figcaption>water (logistic)</figcaption>" in page and "<figcaption>water (ridge)</figcaption>" in page
    assert "<th class=name>classifier</th>" in page and "<th class=name>classifier</th>" not in html(found)


def test_odd_findings_are_told_too() -> None:
    found = replace(findings(), comparisons=(), trust=(), maps=(), neighbours=(), health=(), retrieval=())
    perfect = replace(
        curve(aoi="here", features="s2"), points=(Point(10, 1, 1.0, NAN, NAN),), full=point(20, 1.0, 0, 1)
    )
    page = html(replace(found, curves=(perfect,)))
    assert "<h1>10 labels reach 95&nbsp;% of the score of all 20 on water (s2" in page and "By area" not in page
    empty = replace(perfect, points=(Point(10, 0, NAN, NAN, NAN),), full=None)
    page = html(replace(found, curves=(empty,)))
    assert "<svg" not in page and "cannot be told" in finding(page, QUESTIONS["curves"])
    negative = replace(curve("biomass", full=-0.4), points=(point(10, -3.0),))
    page = html(replace(found, curves=(negative,)))
    assert page.count("<svg") == 1 and "\u22123.000 ±0.020" in page and "\u22120.400" in page


def test_a_dense_map_stays_small() -> None:
    found = replace(findings(n=3000), comparisons=(), trust=(), curves=())
    assert len(html(found)) < 500_000
