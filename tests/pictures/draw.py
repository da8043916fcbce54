"""The two pictures of the README, drawn from the folder in which `make demo` has run.

Run: python tests/pictures/draw.py FOLDER. Writes map.png and report.png beside this file; needs Chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import geopandas
import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from PIL import Image

HERE = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
COLOURS = 128
"""In a picture's palette: enough for flat colours, and small files."""

PALE = "#e4e4e4"
"""The colour of cells that are transparent in QGIS."""

SIDE = 11_000
"""Metres along a panel: one scale for all areas."""


def categories(style: Path) -> dict[str, tuple[str, str]]:
    """Return label and colour (#RRGGBB) by value from a .qml style of classes; transparent ones are PALE."""
    document = ElementTree.parse(style)
    colours = {}
    for symbol in document.iter("symbol"):
        options = {
            option.attrib["name"]: option.attrib["value"]
            for option in symbol.iter("Option")
            if option.attrib.get("name")
        }
        red, green, blue, _ = map(int, options["color"].split(","))
        colours[symbol.attrib["name"]] = PALE if options["style"] == "no" else f"#{red:02x}{green:02x}{blue:02x}"
    found = (category.attrib for category in document.iter("category"))
    return {category["value"]: (category["label"], colours[category["symbol"]]) for category in found}


def draw_area(axes: Axes, cells: geopandas.GeoDataFrame, colours: dict[str, str]) -> None:
    """Draw the predictions of one area in its own UTM zone, and a dot on every chip that a label was drawn from."""
    cells = cells.to_crs(cells.estimate_utm_crs())
    cells.plot(ax=axes, color=cells["prediction"].map(str).map(colours), edgecolor="white", linewidth=0.15)
    drawn = cells[cells["drawn"] == 1].centroid
    axes.scatter(drawn.x, drawn.y, s=2.5, color="black", linewidths=0)
    west, south, east, north = cells.total_bounds
    axes.set_xlim((west + east - SIDE) / 2, (west + east + SIDE) / 2)
    axes.set_ylim((south + north - SIDE) / 2, (south + north + SIDE) / 2)
    axes.set_axis_off()


def draw_map(predictions: Path, picture: Path) -> None:
    """Draw a map of two or more classes, an area beside the other, in the colours of its own style."""
    table = geopandas.read_file(predictions)
    style = categories(predictions.with_suffix(".qml"))
    areas = sorted(table["aoi"].unique())
    figure, axes = pyplot.subplots(1, len(areas), figsize=(10, 2.75), dpi=120)
    for area, panel in zip(areas, axes, strict=True):
        draw_area(panel, table[table["aoi"] == area], {value: colour for value, (_, colour) in style.items()})
        panel.set_title(area, fontsize=9)
    keys: list[Patch | Line2D] = [Patch(color=colour, label=label) for label, colour in style.values()]
    dot = f"one of the {table['drawn'].sum():,} labels learned from"
    keys.append(Line2D([], [], color="black", marker="o", markersize=2.5, linestyle="", label=dot))
    figure.legend(handles=keys, loc="lower center", ncols=len(keys), frameon=False, fontsize=9)
    figure.text(0.99, 0.045, "SIMULATED", ha="right", fontsize=9, weight="bold")
    figure.subplots_adjust(left=0.005, right=0.995, top=0.9, bottom=0.13, wspace=0.03)
    figure.savefig(picture)
    shrink(picture)


def photograph(page: Path, picture: Path) -> None:
    """Photograph the top of an HTML page."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"{page}: to photograph it, install one of {', '.join(BROWSERS)}")
    with tempfile.TemporaryDirectory() as profile:
        words = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}")
        size = ("--window-size=1100,640", "--force-device-scale-factor=1.25")
        subprocess.run([browser, *words, *size, f"--screenshot={picture}", page.resolve().as_uri()], check=True)
    shrink(picture)


def shrink(picture: Path) -> None:
    """Write a picture again with a palette of few colours."""
    with Image.open(picture) as file:
        few = file.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(picture, optimize=True)
    print(f"{picture}: {few.width} x {few.height} pixels, {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    demo = Path(sys.argv[1])
    draw_map(demo / "probe" / "water" / "predictions.gpkg", HERE / "map.png")
    photograph(demo / "report" / "report.html", HERE / "report.png")
