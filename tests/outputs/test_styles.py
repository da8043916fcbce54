import xml.etree.ElementTree as ET
from pathlib import Path

from geoembed.outputs import styles


def test_styles_are_xml_with_a_symbol_per_category(tmp_path: Path) -> None:
    path = styles.write(
        tmp_path / "a.gpkg", styles.categorised("crop", [styles.Category('a "b" & <c>', "A", "#0072B2")])
    )
    assert path == tmp_path / "a.qml"
    root = ET.parse(path).getroot()
    category = root.find(".//category")
    assert category is not None and category.get("value") == 'a "b" & <c>'
    symbols = {symbol.get("name") for symbol in root.iter("symbol")}
    assert symbols == {category.get("symbol")}
    colour = root.find(".//Option[@name='color']")
    assert colour is not None and colour.get("value") == "0,114,178,255"


def test_ranges_cover_all_values() -> None:
    root = ET.fromstring(styles.graduated("value", -1.0, 4.0).split("\n", 1)[1])
    ranges = [(float(one.get("lower", "")), float(one.get("upper", ""))) for one in root.iter("range")]
    assert ranges == [(-1, 0), (0, 1), (1, 2), (2, 3), (3, 4)]


def test_ready_made_styles_name_their_classes() -> None:
    assert 'attr="split"' in styles.splits() and 'value="validation"' in styles.splits()
    assert 'label="not water"' in styles.two_classes("label", "water")


def test_a_users_own_style_stays(tmp_path: Path) -> None:
    layer = tmp_path / "water.gpkg"
    styles.write(layer, styles.splits())
    styles.write(layer, styles.two_classes("label", "water"))
    assert "water" in styles.beside(layer).read_text()
    styles.beside(layer).write_text("<qgis>mine</qgis>")
    styles.write(layer, styles.splits())
    assert styles.beside(layer).read_text() == "<qgis>mine</qgis>"
