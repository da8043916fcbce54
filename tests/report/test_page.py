import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from geoembed.evaluation.atlas import Atlas, Panel
from geoembed.evaluation.findings import Assessed, Facts, Findings
from geoembed.evaluation.made import Made
from geoembed.evaluation.pictures import Gallery, Picture
from geoembed.evaluation.space import Health, Map, Retrieval
from geoembed.fits.accuracy import assess
from geoembed.fits.assessment import NO_SAMPLE, Assessment
from geoembed.fits.calibration import Trust
from geoembed.fits.comparisons import Comparison
from geoembed.fits.curves import Curve, Point
from geoembed.fits.heldout import BY_SPLIT, HeldOut
from geoembed.labels.targets import Targets
from geoembed.outputs.styles import Category
from geoembed.report import answers
from geoembed.report.answers.advice import promise
from geoembed.report.answers.view import View
from geoembed.report.markup import grid, matrix
from geoembed.report.page import answer, html

NAN = math.nan
AREAS = ("here <&>", "there")
QUESTIONS = {
    "advice": "What would raise the scores most?",
    "atlases": "What do the maps look like, and where are they wrong?",
    "assessed": "How accurate are the maps?",
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


def assessed() -> Assessed:
    """Two classes on 100 km2, of which 30 are mapped as water: of 10 labels there 8 are right, of 20 elsewhere 19."""
    targets = Targets("water", "label", np.array([0.0, 1.0, NAN]), (0, 1))
    counts = np.array([[19.0, 1.0], [2.0, 8.0]])
    truth = np.repeat([0.0, 1.0, 0.0, 1.0], [19, 1, 2, 8])
    decided = np.repeat([[0, 0, 1, 1]], [19, 1, 2, 8], axis=1)
    held = HeldOut(BY_SPLIT, 1, np.arange(30), truth, np.full((1, 30, 2), 0.5), decided, ("0", "1"))
    accuracy = assess(("0", "1"), counts, np.array([70.0, 30.0]))
    fitted: Any = None
    nothing = np.empty((0, 2)), np.empty(0, np.int64)
    found = Assessment(np.arange(3), fitted, *nothing, held, accuracy, ("few labels of <water>", NO_SAMPLE))
    return Assessed(targets, found, np.array(AREAS), np.ones(3, dtype=bool))


def atlas() -> Atlas:
    panels = tuple(
        Panel(
            Picture("data:image/webp;base64,AA", f"map of {area}", area),
            Picture("data:image/webp;base64,BB", f"errors in {area}", f"{wrong} of 20 wrong"),
            20,
            wrong,
        )
        for area, wrong in zip(AREAS, (1, 4), strict=True)
    )
    legend = (Category("0", "not water", None), Category("1", "water", "#0064C8"))
    return Atlas("water", legend, panels, 7, "s2: red jja_red")


MADE = Made(
    "2026-11-25",
    "0.2.0",
    "geoembed evaluate e.h5 --labels 'my water.gpkg'",
    ("there",),
    2,
    {"map of water": "../probe/my water/predictions.gpkg"},
)


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
        assessed=(assessed(),), atlases=(atlas(),), made=MADE,
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
    inside = re.sub(r'<a href="[^"]*">', "", page).replace('href="#', 'name="#')
    loaded = re.findall(r"(?:src|href)=\"([^\"]{5})|url\((.)|(@import)", inside)
    assert {"".join(one) for one in loaded} <= {"data:", "#"}
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
    headings = [*QUESTIONS.values(), "How this was measured"]
    assert re.findall("<h2>(.*?)</h2>", page) == headings
    links = dict(re.findall(r'<li><a href="#(.*?)">(.*?)</a>', page))
    assert list(links.values()) == headings
    assert list(links) == re.findall('<section id="(.*?)">', page)


@pytest.mark.parametrize(("gone", "ask"), list(zip(QUESTIONS, answers.QUESTIONS, strict=True)))
def test_a_question_not_asked_is_left_out(gone: str, ask: Callable[[View], str]) -> None:
    found = replace(findings(), comparisons=tuple(one for one in findings().comparisons if one.question != gone))
    if gone in ("atlases", "assessed"):
        found = replace(found, atlases=()) if gone == "atlases" else replace(found, assessed=())
    elif gone == "advice":
        found = Findings(found.facts, ())
    elif gone == "compared":
        found = replace(found, curves=tuple(one for one in found.curves if one.source == "embeddings"))
    elif gone in ("curves", "trust", "maps", "health"):
        found = replace(found, curves=(), trust=(), maps=(), neighbours=(), health=(), retrieval=())
    assert ask(View.of(found)) == ""


def test_nothing_found_is_a_page_all_the_same() -> None:
    page = html(Findings(findings().facts, ()))
    assert re.findall("<h2>(.*?)</h2>", page) == ["How this was measured"] and "cannot be told" in page


def test_sentences_tell_what_was_found(page: str) -> None:
    assert finding(page, QUESTIONS["curves"]) == (
        "With fused features, 95 % of the score that all labels give takes 50 labels on water and 200 labels on"
        " biomass; 99 % of the score that all labels give takes all labels on water and all labels on biomass."
    )
    assert "half of 6 need no more than 50 labels, and together they save" in page.replace("&nbsp;", " ")
    assert finding(page, QUESTIONS["compared"]) == (
        "With 200 labels and fused features, the embeddings are, compared with chip statistics, better on 1 of 2 tasks"
        " (water by 4.0 points) and worse on 1 of 2 tasks (biomass by 0.15 of R²)."
    )
    assert "changes scores by +4.0 points on average: higher on water by 4.0 points. All" in finding(
        page, QUESTIONS["split"]
    )
    assert "change by \u221217.5 points on average where labels come from one other area" in finding(
        page, QUESTIONS["transfer"]
    )
    assert "worst: water, from there to here &lt;&amp;&gt;, \u221220.0 points" in finding(page, QUESTIONS["transfer"])
    assert "by \u22127.0 points on average where they come from all other areas" in finding(page, QUESTIONS["transfer"])
    assert finding(page, QUESTIONS["missing"]) == (
        "With 200 labels and fused features, balanced accuracy changes on water: without one modality, by \u221220.0"
        " points at worst (s2); without one season, by 0.0 points at worst (djf); without one channel, by \u22120.2"
        " points at worst (s2 djf_red); without some of all channels, drawn at random, by \u22125.0 points (30 %)."
    )
    assert finding(page, QUESTIONS["trust"]) == (
        "With 200 labels and fused features, probabilities differ from how often they come true by 4.2 points on water,"
        " on average over all chips. Probabilities above 50 % are 10.0 points too high on water. Both are true: most"
        " chips are surely not of the class, and rightly so, and in the average they outweigh the few above 50 %. Of"
        " the more confident half of the chips, 97 % are right on water (of all chips 90 %; always naming the most"
        " frequent class: 60 %)."
    )
    assert "agree on water for" in finding(page, QUESTIONS["maps"])
    assert "21 of 64 in fused" in finding(page, QUESTIONS["health"])
    assert "finds it first: for 31 % of chips between s1 and s2 (by chance 0.5 %)" in finding(page, QUESTIONS["health"])
    for said in ("No second embeddings file was given.", "3 chips without coh", "3&nbsp;% of neighbouring chips"):
        assert said in page


def test_what_the_answer_leaves_out_stands_below_it(page: str) -> None:
    lead = re.sub("<.*?>", "", page[page.index("</h1>") : page.index("<svg")]).replace("&nbsp;", " ")
    assert lead.startswith("The promise held on both tasks: few labels (at most 308) do what all do. Water reached 95")
    assert "With 200 labels and fused features, the embeddings are, compared with" in lead


@pytest.mark.parametrize(
    ("observed", "wanted"),
    [(0.8, "10.0 points too high"), (0.95, "5.0 points too low"), (0.9, "neither too high nor too low")],
)
def test_probabilities_are_too_high_or_too_low(observed: float, wanted: str) -> None:
    told = finding(
        html(replace(findings(), trust=(replace(trust(), observed=(0.1, NAN, observed)),))), QUESTIONS["trust"]
    )
    assert f"Probabilities above 50 % are {wanted} on water." in told


@pytest.mark.parametrize(
    ("half", "draws", "wanted"),
    [
        (0.01, 5, "worse on water by 3.0 points"),
        (0.05, 5, "without a clear difference on water"),
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
    matrices = page[page.index(QUESTIONS["transfer"] + "</h2>") :]
    rows = re.findall(r"<tr>(.*?)</tr>", matrices[matrices.index('class="matrix"') :].split("</table>")[0])
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


def test_the_page_says_how_it_was_made(page: str) -> None:
    assert "geoembed 0.2.0, 2026-11-25" in page
    assert '<a href="../probe/my%20water/predictions.gpkg">map of water</a>' in page
    assert "<code>geoembed evaluate e.h5 --labels &#x27;my water.gpkg&#x27;</code>" in page
    assert re.search("SIMULATED.</b> there and their imagery were made by geoembed sample", page)
    every = html(replace(findings(), made=replace(MADE, simulated=AREAS)))
    assert "SIMULATED.</b> All areas and their imagery" in every
    assert "SIMULATED" not in html(replace(findings(), made=replace(MADE, simulated=())))


def test_maps_stand_above_their_errors(page: str) -> None:
    assert finding(page, QUESTIONS["atlases"]).startswith("Errors are most frequent on water in there: 4 of 20 tested")
    assert page.index('alt="map of there"') < page.index('alt="errors in there"')
    assert "7 chips lie in areas that are not shown" in page and "The background is s2: red jja_red" in page


def test_accuracies_and_areas_are_told_with_what_they_rest_on(page: str) -> None:
    told = re.sub("<.*?>", " ", page[page.index("How accurate are the maps?</h2>") :].replace("&nbsp;", " "))
    # 0.7 x 19/20 + 0.3 x 8/10 of the area is right; of water 0.3 x 8/10 / (0.3 x 8/10 + 0.7 x 1/20) is found
    assert "mapped right: 90.5 % (" in told and "87.3 % (" in told
    assert "27.5 (" in told, "km2 of water on the ground: 30 x 8/10 + 70 x 1/20"
    assert re.search(r"not water\s+19\s+95 %\s+1\s+5 %\s+20", told)
    loud = re.search("<p class=loud>(.*?)</p>", page)
    assert loud and loud[1].startswith("Few labels of &lt;water&gt;. Accuracies and areas")


def test_advice_comes_from_the_numbers(page: str) -> None:
    start = page.index(QUESTIONS["advice"] + "</h2>")
    advice = re.sub("<.*?>", "", page[start : page.index("</ul>", start)]).replace("&nbsp;", " ")
    assert "More labels of water. The map finds 87 % of its area, less than of any other class; 9 labels" in advice
    assert "Imagery of s2 everywhere. Without it, balanced accuracy changes by \u221220.0 points on average" in advice
    assert "Features" not in advice, "no other features do better"
    better = findings()
    better = replace(better, curves=(*better.curves, curve(features="coh", full=0.95)))
    assert "<b>Features coh for water.</b> With all labels, coh alone score 0.950, 5.0 points more" in html(better)
    worse = replace(better, curves=(*(one for one in better.curves if one.aoi == "all"), curve(aoi="a", full=0.6),
                                    curve(aoi="b", full=0.8)))  # fmt: skip
    assert "<b>More labels in a.</b> With all labels of its own it scores 0.600 on water, 20.0 points" in html(worse)


def test_the_promise_is_told_task_by_task() -> None:
    def told(*curves: Curve) -> str:
        return promise(View.of(replace(findings(), curves=curves)))

    few = "few labels (at most 308)"
    gain = "95 % of what all 1,234 labels gain over guessing"
    note = "(The headline counts whole scores, this only what they gain over guessing.)"
    held = f"{few} do what all do. Water reached {gain} with 50."
    assert told(curve()) == f"The promise held: {held} {note}"
    assert told(curve(), curve("crops", at=999)) == (
        f"The promise held on 1 of 2 tasks: {held} It did not hold on crops. For {gain}, crops needs them all. {note}"
    )
    assert told(curve(at=999)) == (
        f"The promise did not hold on water: {few} do not do what all do. For {gain}, water needs them all. {note}"
    )
    assert told(curve(full=0.52)) == ("It cannot be judged on water, where all labels score about what guessing does.")


def test_features_that_guess_save_nothing() -> None:
    guessing = replace(curve(features="coh", full=0.52), points=(point(10, 0.5),))
    page = html(replace(findings(), curves=(curve(), guessing)))
    row = re.search(r"<td class=name>coh</td>(.*?)</tr>", page)
    assert row and re.findall("<td>(.*?)</td>", row[1]) == ["1,234", "0.520"]
    assert "cannot be told" in answer([replace(curve(), points=(point(10, 0.5),), full=point(1234, 0.51, draws=1))])


@pytest.mark.parametrize(
    ("figures", "wide", "middle"), [(1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 2, 2), (5, 3, 3), (7, 4, 1), (10, 2, 2)]
)
def test_no_chart_is_alone_in_the_last_of_several_rows(figures: int, wide: int, middle: int) -> None:
    shown = grid(["<figure></figure>"] * figures)
    assert f"--wide:{wide};--middle:{middle};" in shown
    assert all(columns == 1 or figures == 1 or figures % columns != 1 for columns in (wide, middle))


def test_a_dark_page_sets_every_colour_that_text_and_lines_have(page: str) -> None:
    dark = set(re.findall(r"--x([0-9a-f]{6}):", page))
    drawn = {name for svg in re.findall("<svg.*?</svg>", page, re.S) for name in re.findall(r"var\(--x(\w{6})", svg)}
    assert drawn - dark <= {"e69f00", "f0e442"}, "these are bright enough"
    assert not re.search(r"(fill|stroke): #", "".join(re.findall("<svg.*?</svg>", page, re.S)))


def test_a_cross_validation_is_told(page: str) -> None:
    found = findings()
    folds = html(replace(found, facts=replace(found.facts, folds=5, repetitions=3)))
    assert (
        "3 times they are dealt into 5 folds" in folds and "test split" not in folds.split("How this was measured")[-1]
    )
    assert "Means over 3 x 5 folds of labels" in folds
    assert "Scores are those of the test split." in page


def test_a_dense_map_stays_small() -> None:
    found = replace(findings(n=3000), comparisons=(), trust=(), curves=())
    assert len(html(found)) < 500_000
