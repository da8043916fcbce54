import re

import numpy as np
import pytest
import shapely
from affine import Affine
from conftest import square

from geoembed.chips import layout
from geoembed.chips.cutting import Imagery
from geoembed.chips.layout import Layout
from geoembed.errors import ChipError, ConfigError
from geoembed.ground.aoi import Area
from geoembed.imagery.index import RasterIndex
from geoembed.imagery.modalities import BUILT_IN
from geoembed.imagery.rasters import Encoding, Raster
from geoembed.imagery.storage import Storage

LEFT, TOP = 448_000.0, 5_017_600.0
"""A corner of cells of all the sizes."""


def imagery(
    *sides: float, crs: str = "EPSG:32632", left: float = LEFT, top: float = TOP, pixel: float = 10.0
) -> Imagery:
    """Squares in a row, with nothing between them, as the rasters of a modality; there are no files."""
    rasters = []
    for number, side in enumerate(sides):
        transform = Affine(pixel, 0.0, left, 0.0, -pixel, top if crs != "EPSG:4326" else 10.0)
        pixels = round(side / pixel)
        rasters.append(Raster(crs, transform, pixels, pixels, str(number), (1,), ("a",), (Encoding("uint8"),)))
        left += side
    return Imagery(BUILT_IN[0], RasterIndex(rasters), Storage("uint8", 0, {}))


def area(side: float, left: float = LEFT) -> Area:
    return Area("a", square(left, TOP - side, side), "EPSG:32632")


def laid(side: float, *sides: float, min_valid: float = 0.5) -> Layout:
    return Layout("aoi.gpkg", [area(side)], [imagery(*sides)], None, None, min_valid)


@pytest.mark.parametrize(
    ("cells", "size"), [(32, 448), (31, 224), (16, 224), (15, 112), (6, 64), (4, 32), (2, 16), (0.3, 16)]
)
def test_the_largest_size_with_a_thousand_chips_is_chosen(cells: float, size: int) -> None:
    """An area of cells x cells of the reference's size: 32 x 32 are more than a thousand."""
    side = cells * 4480.0
    assert laid(side, side).choose() == size
    assert laid(1e6, side).choose() == size, "of the area, what has imagery counts"
    if size > 16:
        assert (side / 10.0 / size) ** 2 >= 1000


def test_cells_are_counted_by_how_much_of_them_imagery_covers() -> None:
    side = 4480.0 * 3 + 1500.0  # three cells and a third of the fourth
    assert [laid(1e5, side, min_valid=share).count(448) for share in (1.0, 0.5, 0.2, 0.0)] == [9, 9, 15, 16]
    both = Layout("a", [area(1e5)], [imagery(side), imagery(4480.0 * 4)], None, None, 1.0)
    assert both.count(448) == 16, "one modality is enough"


def test_cells_of_one_raster_are_those_of_its_halves() -> None:
    whole, halves = laid(5e4, 22_400.0), Layout("a", [area(5e4)], [imagery(11_200.0, 11_200.0)], None, None, 0.5)
    assert whole.count(32) == 70 * 70
    assert halves.count(32) == 2 * 35 * 35


def test_imagery_over_180_degrees_is_found_from_both_sides() -> None:
    east = imagery(1.0, crs="EPSG:4326", left=179.5, pixel=1e-3)
    for west in (179.4, -180.6):
        polygon = shapely.box(west, 9.4, west + 1.2, 9.6)
        over = Layout("a", [Area("a", polygon, "EPSG:4326")], [east], None, None, 0.5)
        # Within the raster lie 1 x 0.2 degrees; cells at the edge of a zone may overlap the neighbour's.
        expected = 111.32 * np.cos(np.radians(9.5)) * 0.2 * 110.6 / 3.2**2
        assert over.count(320) == pytest.approx(expected, rel=0.05)


def test_shares_of_ground() -> None:
    assert laid(2e4, 1e4).share() == pytest.approx(0.25, rel=1e-3)
    assert laid(1e4, 2e4).share() == pytest.approx(1.0, rel=1e-3)


def test_messages_tell_widths_places_and_sizes() -> None:
    small = laid(2e4, 2240.0)
    text = small.too_little_at(448, 0.25)
    assert text.startswith(
        "aoi.gpkg: the fullest cell has 25 % valid pixels, less than --min-valid 0.5: a cell is 448 "
    )
    widths = r"4.48 km wide, the imagery 2.2\d x 2.2\d km, the area (20|20.1) x (20|20.1) km; "
    assert re.search(widths + "pass --size 224 for about 1 chips", text)
    assert "--size 16 for about 196 chips, or --min-valid 0.25" in text
    assert "no pixel of the imagery there is valid" in small.too_little_at(448, 0.0)
    away = Layout("aoi.gpkg", [area(1e4, LEFT + 1e5)], [imagery(2240.0)], None, None, 0.5)
    assert "lies at 9.611 E to 9.74 E, 45.22 N to 45.31 N, where there is no imagery (s2: 8.33" in away.nothing_at(448)
    tiny = Layout("aoi.gpkg", [area(20.0)], [imagery(2240.0)], None, None, 0.5)
    assert "holds the centre of no cell with imagery: a cell is 16 pixels or 0.16 km" in tiny.nothing_at(16)
    assert tiny.nothing_at(16).endswith("choose a larger area, or add imagery")


def test_the_width_of_an_aligned_cell_is_the_imagerys() -> None:
    coarse = Layout("a", [area(2e4)], [imagery(2400.0, pixel=30.0)], None, "s2", 0.5)
    assert "a cell is 448 pixels or 13.4 km wide" in coarse.nothing_at(448)
    for keys in ({"align": "coh", "resolution": None}, {"align": "s2", "resolution": 10.0}):
        with pytest.raises(ConfigError):
            Layout("a", [area(2e4)], [imagery(2400.0)], min_valid=0.5, **keys)


def test_the_sizes_are_those_that_the_page_names() -> None:
    assert (layout.SIZES, layout.ENOUGH) == ((448, 224, 112, 64, 32, 16), 1000)


def earth(*sides: float, align: str | None = None) -> Layout:
    """The whole Earth as an area, with squares of imagery, of which each is this many degrees wide."""
    polygon = shapely.box(-180.0, -90.0, 180.0, 90.0)
    squares = imagery(*sides, crs="EPSG:4326", left=-180.0, pixel=0.001)
    return Layout("aoi.gpkg", [Area("a", polygon, "EPSG:4326")], [squares], None, align, 0.5)


def test_the_whole_earth_with_little_imagery_has_few_cells() -> None:
    assert 0 < sum(map(len, earth(0.05).cells(16)[0])) < 3_000
    places = [part for _ in range(1_200) for part in (0.05, 0.2)]
    scattered = earth(*places)
    rasters = scattered.imagery[0].index.rasters[::2]
    apart = Imagery(BUILT_IN[0], RasterIndex(rasters), Storage("uint8", 0, {}))
    cells, _ = Layout("a", scattered.areas, [apart], None, None, 0.5).cells(64)
    assert sum(map(len, cells)) < 1.5 * len(rasters) * len(earth(0.05).cells(64)[0][0])


@pytest.mark.parametrize("align", [None, "s2"])
def test_very_many_cells_are_confirmed_by_their_number(align: str | None) -> None:
    layout_of_earth = earth(20.0, align=align)
    layout_of_earth.require_consent(448, None)
    with pytest.raises(ChipError, match=r"aoi.gpkg: .* about ([\d,]+) cells of 2 pixels.*--cells \d+$") as told:
        layout_of_earth.require_consent(2, None)
    number = int(str(told.value).rpartition(" ")[2])
    pixels = 20.0 / 0.001 if align else 20.0 * 111_195.0 / 10.0
    assert number == pytest.approx((pixels / 2) ** 2, rel=0.03)
    layout_of_earth.require_consent(2, number)
    with pytest.raises(ChipError):
        layout_of_earth.require_consent(2, number // 2)


def test_cells_on_a_map_that_stretches_are_reckoned_by_its_own_metres(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 60 degrees north a metre of Mercator's is half a metre of ground, so as many cells as if it were none."""
    x, y = 1_000_000.0, 8_400_000.0  # metres of Mercator's
    squares = imagery(40_960.0, crs="EPSG:3857", left=x, top=y + 40_960.0)
    polygon = shapely.box(x, y, x + 40_960.0, y + 40_960.0)
    mapped = Layout("aoi.gpkg", [Area("a", polygon, "EPSG:3857")], [squares], None, "s2", 0.5)
    counted = mapped.count(64)
    assert counted == 64 * 64
    monkeypatch.setattr(layout, "MANY_CELLS", 100)
    assert mapped.count(64) == pytest.approx(counted, rel=0.02)


def test_many_cells_are_reckoned_about_as_they_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = laid(4480.0 * 40, 4480.0 * 40).count(64)
    monkeypatch.setattr(layout, "MANY_CELLS", 100)
    assert laid(4480.0 * 40, 4480.0 * 40).count(64) == pytest.approx(counted, rel=0.02)
