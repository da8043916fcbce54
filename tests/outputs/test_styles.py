import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from geoembed.outputs import styles


def document(style: str) -> ET.Element:
    return ET.fromstring(style.split("\n", 1)[1])


def categories(style: str) -> dict[str, tuple[str, str, str]]:
    """Label, fill style and colour by value."""
    root = document(style)
    options = {
        symbol.get("name"): {one.get("name"): one.get("value", "") for one in symbol.iter("Option")}
        for symbol in root.iter("symbol")
    }
    of_symbol = {name: (told["style"], told["color"]) for name, told in options.items()}
    return {
        one.get("value", ""): (one.get("label", ""), *of_symbol[one.get("symbol")]) for one in root.iter("category")
    }


def test_styles_are_xml_with_a_symbol_per_category(tmp_path: Path) -> None:
    path = styles.write(
        tmp_path / "a.gpkg", styles.categorised("crop", [styles.Category('a "b" & <c>', "A", "#0072B2")])
    )
    assert path == tmp_path / "a.qml"
    assert ET.parse(path).getroot().find("renderer-v2") is not None
    assert categories(path.read_text()) == {'a "b" & <c>': ("A", "solid", "0,114,178,255")}


@pytest.mark.parametrize("names", [(0, 1), (False, True), ("0", "1"), ("no", "yes")])
def test_water_is_blue_and_what_is_not_is_transparent(names: tuple[object, ...]) -> None:
    negative, positive = categories(styles.classes("label", names, "water")).values()
    assert negative[:2] == ("not water", "no") and positive == ("water", "solid", "0,100,200,255")


def test_classes_are_categories_by_the_values_of_the_file() -> None:
    shown = categories(styles.classes("prediction", ("crops", "other", "water"), "cover"))
    assert list(shown) == ["crops", "other", "water"]
    assert [fill for _, fill, _ in shown.values()] == ["solid", "no", "solid"]
    numbers = categories(styles.classes("prediction", (10, 80, 95), "cover"))
    assert [label for label, _, _ in numbers.values()] == ["10", "80", "95"] and numbers["80"][2] == "0,100,200,255"


def ranges(lowest: float, highest: float) -> list[tuple[float, float]]:
    found = document(styles.ramp("value", lowest, highest)).iter("range")
    return [(float(one.get("lower", "")), float(one.get("upper", ""))) for one in found]


def test_ranges_cover_all_values() -> None:
    assert ranges(-1.0, 4.0) == [(-1, 0), (0, 1), (1, 2), (2, 3), (3, 4)]
    lowest, highest = 0.1234567890123, 7.1234567890123
    assert (ranges(lowest, highest)[0][0], ranges(lowest, highest)[-1][1]) == (lowest, highest), "to the last digit"
    assert ranges(3.0, 3.0) == [(3, 3)] and ranges(float("nan"), float("nan")) == [(0, 0)]


def test_a_second_style_lies_beside_the_first(tmp_path: Path) -> None:
    vector = tmp_path / "predictions.gpkg"
    style = styles.ramp("confidence", 0.5, 1.0)
    assert styles.write(vector, style, styles.CONFIDENCE) == tmp_path / "predictions-confidence.qml"
    assert not styles.beside(vector).exists()


def test_splits_have_a_category_each() -> None:
    assert list(categories(styles.splits())) == ["train", "validation", "test"]


def test_a_users_own_style_stays(tmp_path: Path) -> None:
    layer = tmp_path / "water.gpkg"
    styles.write(layer, styles.splits())
    styles.write(layer, styles.classes("label", (0, 1), "water"))
    assert "water" in styles.beside(layer).read_text()
    styles.beside(layer).write_text("<qgis>mine</qgis>")
    styles.write(layer, styles.splits())
    assert styles.beside(layer).read_text() == "<qgis>mine</qgis>"


def test_letters_that_xml_cannot_have_are_left_out() -> None:
    style = styles.classes("la\x01bel", ["wa\x00ter\x1b", "tree\ufffes", "føø 🌲\n"], "task")
    assert list(categories(style)) == ["water", "trees", "føø 🌲\n"]


def test_a_style_that_was_emptied_or_cut_off_is_written_again_and_an_edited_one_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layer = tmp_path / "water.gpkg"
    path = styles.write(layer, styles.classes("label", ("føø", "b"), "x"))
    whole = path.read_bytes()
    assert styles.is_settled(layer)
    for broken in (b"", bytes(len(whole)), whole[:-9], whole[: len(whole) // 2]):
        path.write_bytes(broken)
        assert not styles.is_settled(layer)
        styles.write(layer, styles.classes("label", ("føø", "b"), "x"))
        assert path.read_bytes() == whole
    assert not caplog.messages
    for mine in (whole.replace(b"0.7", b"0.5"), b"<qgis/>", b"<qgis", b"\xff"):
        path.write_bytes(mine)
        assert styles.is_settled(layer)
        styles.write(layer, styles.splits())
        assert path.read_bytes() == mine and "delete it to have a new one" in caplog.text
