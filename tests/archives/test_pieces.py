"""Pieces hold the blocks that some ground needs, once each and no others, and one name stands for one composite."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geoembed.archives import pieces
from geoembed.archives.pieces import Piece
from geoembed.archives.scenes import Asset, Scene
from geoembed.errors import AbsentError
from geoembed.ground import antimeridian, crs
from geoembed.ground.lattice import GeoBox
from geoembed.imagery.catalogues import Stac

SUMMER = Stac(seasons=("jja",))
FOLDER = Path("cache/s2")
TILE = GeoBox("EPSG:32633", Affine(10, 0, 499_980, 0, -10, 4_600_020), 10_980, 10_980)


def asset(name: str, box: GeoBox = TILE, pixel: int = 10) -> Asset:
    number = pixel // 10
    place = {"crs": box.crs, "transform": box.transform @ Affine.scale(number), "height": box.height // number,
             "width": box.width // number}  # fmt: skip
    return Asset(f"https://data.test/{name}.tif", 1e-4, -0.1, **place)  # type: ignore[arg-type]


def scene(id: str = "S2A_1", tile: str = "33TVM", box: GeoBox = TILE) -> Scene:
    bands = {name: asset(name, box) for name in ("red", "green", "blue")}
    time = datetime(2020, 6, 3, 10, tzinfo=UTC)
    return Scene(id, tile, time, "sentinel-2a", time, 5.0, "05.00", "", (15.0, 40.5, 16.3, 41.6), bands,
                 asset("scl", box, 20))  # fmt: skip


def unsaid(id: str) -> Scene:
    known = scene(id)
    bands = {name: Asset(each.href, each.scale, each.offset) for name, each in known.bands.items()}
    return replace(known, bands=bands)


def outline(rows: tuple[int, int], columns: tuple[int, int], box: GeoBox = TILE) -> Any:
    """Some pixels of a tile, in degrees, cut at 180."""
    across, down = np.array(columns)[[0, 1, 1, 0]], np.array(rows)[[0, 0, 1, 1]]
    x, y = box.transform.c + box.transform.a * across, box.transform.f + box.transform.e * down
    lon, lat = crs.transformer(box.crs, crs.LONLAT).transform(x, y)
    lon = np.where(lon - lon[0] > 180, lon - 360, np.where(lon - lon[0] < -180, lon + 360, lon))
    return antimeridian.cut(shapely.polygons(np.stack([lon, lat], axis=1)))


def asks(scene: Scene) -> GeoBox:
    raise AssertionError(f"{scene.id} says where its pixels lie")


def plan(*outlines: Any, scenes: list[Scene] | None = None, settings: Stac = SUMMER) -> list[Piece]:
    found, left_out = pieces.plan({"jja": scenes or [scene()]}, np.array(outlines), settings, FOLDER, asks)
    assert not left_out
    return found


def blocks(piece: Piece) -> set[tuple[int, int]]:
    """Rows and columns in the tile of the blocks that a piece has."""
    return {
        (piece.row // 1024 + r, piece.column // 1024 + c)
        for r, row in enumerate(piece.blocks)
        for c, is_needed in enumerate(row)
        if is_needed
    }


@given(st.lists(st.tuples(st.integers(-300, 11_000), st.integers(-300, 11_000), st.integers(20, 900)), min_size=1,
                max_size=12))  # fmt: skip
def test_blocks_under_some_ground_are_in_one_piece_and_no_others(squares: list[tuple[int, int, int]]) -> None:
    found = plan(*(outline((row, row + side), (column, column + side)) for row, column, side in squares))
    of_pieces = [block for piece in found for block in blocks(piece)]
    assert len(set(of_pieces)) == len(of_pieces)

    def under(margin: int) -> set[tuple[int, int]]:
        return {
            (r, c)
            for row, column, side in squares
            for r in range(max(0, (row - margin) // 1024), min(10, (row + side + margin - 1) // 1024) + 1)
            for c in range(max(0, (column - margin) // 1024), min(10, (column + side + margin - 1) // 1024) + 1)
            if row - margin < 10_980 and column - margin < 10_980 and min(row, column) + side + margin > 0
        }

    assert under(0) <= set(of_pieces) <= under(pieces.MARGIN + 2)
    for piece in found:
        assert piece.row // 2048 == (piece.row + piece.box.height - 1) // 2048
        assert piece.column // 4096 == (piece.column + piece.box.width - 1) // 4096
        assert piece.row + piece.box.height <= 10_980 >= piece.column + piece.box.width
        assert piece.box.lattice.offset(TILE) == (-piece.row, -piece.column)
        assert piece.needed <= piece.box.height * piece.box.width


def test_a_piece_at_the_tiles_edge_ends_there() -> None:
    (piece,) = plan(outline((10_500, 10_900), (9000, 10_900)))
    assert (piece.row, piece.column, piece.box.height, piece.box.width) == (10_240, 8192, 740, 2788)
    assert piece.needed == 740 * 2788


def test_little_more_is_read_than_a_large_area_needs() -> None:
    cells = [outline((row, row + 448), (column, column + 448)) for row in range(354, 4500, 448)
             for column in range(178, 4600, 448)]  # fmt: skip
    needed = sum(piece.needed for piece in plan(*cells))
    assert needed <= 1.5 * len(cells) * 448**2


@pytest.mark.parametrize(("tile", "epsg"), [("01WCP", 32601), ("60WWU", 32660), ("01KAB", 32701)])
def test_ground_over_180_degrees_is_found_in_tiles_of_either_side(tile: str, epsg: int) -> None:
    lat = 66.0 if epsg < 32700 else -17.5
    x, y = crs.transformer(crs.LONLAT, f"EPSG:{epsg}").transform(180.0, lat)
    north = 10 * round(y / 10) + 54_900
    box = GeoBox(f"EPSG:{epsg}", Affine(10, 0, 10 * round(x / 10) - 54_900, 0, -10, north), 10_980, 10_980)
    crossing = outline((5400, 5600), (5390, 5590), box)
    assert crossing.geom_type == "MultiPolygon"
    sides = [outline((100, 200), (100, 200), box), outline((100, 200), (10_800, 10_900), box)]
    found = plan(crossing, *sides, scenes=[scene(tile=tile, box=box)])
    assert set().union(*map(blocks, found)) == {(5, 5), (0, 0), (0, 10)}


def test_ground_elsewhere_needs_nothing() -> None:
    far = shapely.box(-60, -10, -59, -9)
    beside = shapely.box(17.0, 41.0, 17.1, 41.1)
    assert plan(far, beside, shapely.Polygon()) == []


def test_tiles_of_two_zones_have_pieces_of_their_own() -> None:
    west = GeoBox("EPSG:32632", Affine(10, 0, 930_000, 0, -10, 4_650_020), 10_980, 10_980)
    found = plan(outline((500, 900), (500, 900)), scenes=[scene(), scene("S2A_2", "32TRM", west)])
    assert sorted({piece.tile for piece in found}) == ["32TRM", "33TVM"]
    assert {piece.box.crs for piece in found} == {"EPSG:32632", "EPSG:32633"}


Change = Callable[[Scene], Scene]

SAME: list[Change] = [
    lambda scene: scene,
    lambda scene: replace(scene, cloud=50.0),
    lambda scene: replace(scene, bands={name: replace(each, href=each.href + "?sig=secret", size=7)
                                        for name, each in scene.bands.items()}),
]  # fmt: skip

OTHER: list[Change] = [
    lambda scene: replace(scene, id="S2B_1"),
    lambda scene: replace(scene, baseline="05.10"),
    lambda scene: replace(scene, bands={**scene.bands, "red": replace(scene.bands["red"], offset=0.0)}),
    lambda scene: replace(
        scene, bands={**scene.bands, "red": replace(scene.bands["red"], href="https://b.test/r.tif")}
    ),
    lambda scene: replace(scene, classification=asset("other-scl", pixel=20)),
]


def test_one_recipe_stands_for_one_composite() -> None:
    ground = outline((500, 900), (500, 900))
    first, second = scene(), replace(scene("S2A_2"), time=datetime(2020, 7, 3, tzinfo=UTC))
    (piece,) = plan(ground, scenes=[first, second])
    for change in SAME:
        (same,) = plan(ground, scenes=[second, change(first)])
        assert (same.recipe, same.path) == (piece.recipe, piece.path)
    recipes = [piece.recipe]
    recipes += [plan(ground, scenes=[change(first), second])[0].recipe for change in OTHER]
    for settings in (replace(SUMMER, scenes=3), replace(SUMMER, mask=(0, 11))):
        recipes.append(plan(ground, scenes=[first, second], settings=settings)[0].recipe)
    recipes.append(plan(ground, outline((3000, 3100), (500, 900)), scenes=[first, second])[1].recipe)
    recipes.append(plan(outline((500, 1900), (500, 900)), scenes=[first, second])[0].recipe)
    assert len(set(recipes)) == len(recipes)


def test_a_piece_is_a_raster_of_the_cache() -> None:
    (piece,) = plan(outline((500, 900), (4200, 4900)))
    raster = piece.raster
    assert piece.path == FOLDER / "33TVM" / "2020-jja" / f"00-04-{piece.recipe[:12]}.tif"
    assert raster.channels == ("jja_red", "jja_green", "jja_blue")
    assert {(each.dtype, each.scale, each.offset, each.nodata) for each in raster.encodings} == {
        ("uint16", 1e-4, -0.1, 0.0)
    }
    assert (raster.height, raster.width) == (piece.box.height, piece.box.width)
    assert raster.transform @ (0, 0) == (499_980 + 40_960, 4_600_020)


def test_a_scene_whose_files_are_gone_is_not_asked_for_the_tiles_pixels() -> None:
    asked = []

    def box_of(scene: Scene) -> GeoBox:
        asked.append(scene.id)
        if scene.id < "S2A_3":
            raise AbsentError("data.test/red.tif: is not there (404); check its address", 404)
        return TILE

    scenes = [unsaid(f"S2A_{number}") for number in (1, 2, 3, 4)]
    ground = np.array([outline((500, 900), (500, 900))])
    (piece,), left_out = pieces.plan({"jja": scenes}, ground, SUMMER, FOLDER, box_of)
    assert (asked, left_out) == (["S2A_1", "S2A_2", "S2A_3"], [])
    assert len(piece.scenes) == 4
    with pytest.raises(AbsentError, match="red"):
        pieces.plan({"jja": scenes[:2]}, ground, SUMMER, FOLDER, box_of)


@pytest.mark.parametrize(
    "nonsense",
    [
        {"transform": Affine(0, 0, 499_980, 0, 0, 4_600_020)},
        {"transform": Affine(-10, 0, 499_980, 0, 10, 4_600_020)},
        {"transform": Affine(10, 1, 499_980, 1, -10, 4_600_020)},
        {"transform": Affine(10, 0, 1e300, 0, -10, 4_600_020)},
        {"transform": Affine(10, 0, math.nan, 0, -10, 4_600_020)},
        {"crs": "EPSG:0"},
        {"crs": "EPSG:32634"},
        {"crs": "EPSG:4326"},
        {"crs": None},
        {"height": None},
    ],
)
def test_nonsense_about_pixels_is_not_believed(nonsense: dict[str, Any]) -> None:
    bands = {name: replace(each, **nonsense) for name, each in scene().bands.items()}
    assert pieces.said(scene()) == TILE
    assert pieces.said(replace(scene(), bands=bands)) is None


def test_the_finest_of_a_scenes_files_gives_its_pixels() -> None:
    coarse = {"swir": asset("swir", pixel=20), "coastal": asset("coastal", pixel=60)}
    fine = {**coarse, "nir": asset("nir")}
    assert pieces.said(replace(scene(), bands=fine)) == TILE
    of_classes = pieces.said(replace(scene(), bands={"coastal": coarse["coastal"]}))
    assert of_classes is not None
    assert of_classes.transform.a == 20
    moved = replace(coarse["swir"], transform=TILE.transform @ Affine.translation(0.5, 0) @ Affine.scale(2))
    assert pieces.said(replace(scene(), bands={"nir": asset("nir"), "swir": moved})) is None
