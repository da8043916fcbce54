import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable

import numpy as np
import pytest

from geoembed.fits.curves import Point
from geoembed.outputs import colours
from geoembed.report import charts
from geoembed.report.charts import Dot, Series

NAN = math.nan
SVG = "{http://www.w3.org/2000/svg}"


def point(mean: float, half: float = 0.02) -> Point:
    return Point(10, 5, mean, mean - half, mean + half)


def series(
    name: str = "s2", x: tuple[float, ...] = (10, 100, 2000), means: tuple[float, ...] = (0.6, 0.7, 0.9)
) -> Series:
    return Series(name, charts.looks([name])[name], x, tuple(point(mean) for mean in means), whole=True)


def lines(title: str = "water", one: Series | None = None) -> str:
    return charts.lines(title, [one or series()], x="number of labels", y="balanced accuracy", marks={"guessing": 0.5})


def dots(title: str = "water") -> str:
    look = charts.looks(["s1"])["s1"]
    groups = {"without season": [Dot("djf", look, point(-3.25, 0.5)), Dot("jja", look, Point(10, 1, 0.001, NAN, NAN))]}
    return charts.dots(title, groups, x="change (points)")


def reliability(title: str = "water") -> str:
    return charts.reliability(title, (0.05, NAN, 0.9), (0.1, NAN, 0.8), (0.75, 0.0, 0.25), x="said", y="came true")


def classes(title: str = "water") -> str:
    xy = np.random.default_rng(0).normal(size=(50, 2))
    values = np.where(np.arange(50) < 10, NAN, np.arange(50) % 2)
    return charts.scatter(title, xy, values, ["dry & low", "wet"], axis="PCA")


def numbers(title: str = "water") -> str:
    xy = np.random.default_rng(0).normal(size=(50, 2))
    return charts.scatter(title, xy, np.linspace(-1, 3, 50), axis="t-SNE")


KINDS = (lines, dots, reliability, classes, numbers)


def texts(svg: str) -> list[str]:
    return [one.text or "" for one in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_chart_stands_alone_inside_a_page(kind: Callable[..., str]) -> None:
    svg = kind("water & <b> $x$")
    root = ET.fromstring(svg)
    assert (
        root.attrib["width"] == "100%"
        and root.attrib["viewBox"].startswith("0 0 400 ")
        and root.attrib["role"] == "img"
    )
    assert root.attrib["aria-label"].startswith("water & <b> $x$:")
    assert not list(root.iter(f"{SVG}style")), "would hold for the whole page"
    assert set(re.findall(r'href="(.{1,11})', svg)) <= {*re.findall(r'href="(#.{1,10})', svg), "data:image/"}
    assert "http" not in svg.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert kind("water & <b> $x$") == svg, "the same findings give the same bytes"


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_used_and_are_no_others(kind: Callable[..., str]) -> None:
    one, other = kind("water"), kind("crops")
    ids = re.findall(r'\bid="([^"]+)"', one)
    assert len(ids) == len(set(ids)) and not set(ids) & set(re.findall(r'\bid="([^"]+)"', other))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', one)) <= set(ids)


def test_alternative_texts_tell_the_numbers() -> None:
    label = {kind: ET.fromstring(kind()).attrib["aria-label"] for kind in KINDS}
    assert label[lines] == (
        "water: balanced accuracy against number of labels."
        " s2 0.6 (0.58 to 0.62) at 10 to 0.9 (0.88 to 0.92) at 2,000; guessing is at 0.5."
    )
    assert label[dots] == "water: change (points). without season: djf -3.25 (-3.75 to -2.75), jja 0.001."
    assert label[reliability] == (
        "water: came true against said."
        " predicted 5 %, observed 10 % (75 % of chips); predicted 90 %, observed 80 % (25 % of chips)."
    )
    assert label[classes] == "water: 50 chips, 20 dry & low, 20 wet."
    assert label[numbers] == "water: 50 chips, numbers from -1 to 3."


def test_axes_have_names_and_readable_numbers() -> None:
    shown = texts(lines())
    assert {"number of labels", "balanced accuracy", "s2", "guessing", "10", "100", "1k"} <= set(shown)
    assert {"change (points)", "without season", "djf", "\u22123.2", "+0.0"} <= set(texts(dots()))
    assert {"said (%)", "came true (%)", "as it should be"} <= set(texts(reliability()))
    assert {"PCA 1", "PCA 2", "dry & low", "wet"} <= set(texts(classes()))
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", "".join(kind() for kind in KINDS))]
    assert min(sizes) >= 12, "390 pixels are less wide than the chart's 400 units"


@pytest.mark.parametrize(
    ("at", "ticks"),
    [
        ((10,), ["10"]),
        ((100, 120), ["100"]),
        ((10, 20, 50), ["10", "20", "50"]),
        ((3,), ["3"]),
        ((600, 620), ["500"]),
        ((10, 150_000), ["10", "100", "1k", "10k", "100k"]),
        ((10, 2_000_000), ["10", "100", "1k", "10k", "100k", "1M"]),
    ],
)
def test_numbers_of_labels_are_ticked_at_round_numbers(at: tuple[float, ...], ticks: list[str]) -> None:
    svg = charts.lines("t", [series(x=at, means=(0.5,) * len(at))], x="labels", y="y", ceiling=1)
    shown = texts(svg)
    assert shown[: shown.index("labels")] == ticks


def test_points_without_a_mean_or_an_interval_are_left_out() -> None:
    assert lines(one=series(means=(NAN, NAN, NAN))) == ""
    svg = lines(one=Series("s2", charts.looks(["s2"])["s2"], (10, 20), (point(NAN), Point(20, 1, 1.0, NAN, NAN))))
    assert "s2 1 at 20;" in svg and not re.search(r"\bnan\b", svg)


def test_long_names_are_cut_in_the_chart_and_told_in_full() -> None:
    name = "a task whose name is longer than what a legend has room for"
    svg = lines(one=series(name))
    assert name in ET.fromstring(svg).attrib["aria-label"] and name not in texts(svg)
    assert any(text.startswith(name[:30]) and text.endswith("\u2026") for text in texts(svg))


def test_names_look_the_same_everywhere_and_different_from_each_other() -> None:
    few, many = charts.looks(["s1", "fused"]), charts.looks(["s1", "s2", "coh", "fused", "concat"])
    assert few["fused"] == many["fused"] and few["s1"] == many["s1"]
    assert all(len({getattr(look, part) for look in many.values()}) == 5 for part in ("colour", "dash", "marker"))
    assert charts.looks(["fused"], first=True)["fused"].colour == colours.BLUE


def test_settings_of_the_user_do_not_count() -> None:
    import matplotlib

    plain = lines()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        assert lines() == plain
        assert matplotlib.rcParams["font.size"] == 30


def test_importing_draws_nothing_in() -> None:
    program = (
        "import sys; import geoembed.report.page; sys.exit(bool({'matplotlib', 'scipy', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
