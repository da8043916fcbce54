"""Composites equal numpy's median of the same stack to the bit, and nothing that fails becomes a gap."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from archives import catalogue
from archives import earth_catalogue as earth
from archives.conftest import Server
from archives.earth_catalogue import Date
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from geoembed.archives import client as clients
from geoembed.archives import composites, pieces, stac
from geoembed.archives.client import Client
from geoembed.archives.pieces import Piece
from geoembed.archives.scenes import Asset, Scene
from geoembed.archives.stac import Found
from geoembed.errors import FetchError
from geoembed.ground import crs
from geoembed.ground.lattice import GeoBox
from geoembed.imagery.catalogues import Season, Stac
from geoembed.outputs import documents

ALL = Stac(seasons=("jja",), scenes=12)


@pytest.fixture
def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(clients, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(clients, "READ", 0.5)
    monkeypatch.setattr(pieces, "BLOCK", 128)
    monkeypatch.setattr(pieces, "HEIGHT", 256)
    monkeypatch.setattr(pieces, "WIDTH", 256)
    made = Client([server.address], tries=2)
    yield made
    made.close()


@pytest.fixture
def dates(server: Server) -> list[Date]:
    return earth.dates(server.folder, server.url("").rstrip("/"))


def ground(rows: tuple[int, int] = (0, 600), columns: tuple[int, int] = (0, 500)) -> np.ndarray:
    """Outline of some pixels of the tile, in degrees."""
    x, y = (500_000.0 + 10.0 * np.array(columns), 4_600_000.0 - 10.0 * np.array(rows))
    lon, lat = crs.transformer("EPSG:32633", crs.LONLAT).transform(x[[0, 1, 1, 0]], y[[0, 0, 1, 1]])
    return np.array([shapely.polygons(np.stack([lon, lat], axis=1))])


def planned(
    dates: Sequence[Date], folder: Path, outlines: np.ndarray | None = None, settings: Stac = ALL
) -> list[Piece]:
    found, left_out = pieces.plan(
        {"jja": [date.scene for date in dates]},
        ground() if outlines is None else outlines,
        settings,
        folder / "cache",
        lambda scene: pytest.fail("the catalogue says where the pixels lie"),
    )
    assert not left_out
    return found


def read(piece: Piece) -> np.ndarray:
    with rasterio.open(piece.path) as file:
        assert file.descriptions == piece.raster.channels
        assert (file.scales[0], file.offsets[0], file.nodata) == (1e-4, -0.1, 0)
        assert file.transform == piece.box.transform
        return np.asarray(file.read())


def assert_equal_to(piece: Piece, expected: np.ndarray) -> None:
    part = expected[:, piece.row : piece.row + piece.box.height, piece.column : piece.column + piece.box.width]
    needed = np.array(piece.blocks).repeat(128, axis=0).repeat(128, axis=1)[: piece.box.height, : piece.box.width]
    wanted = np.where(np.isnan(part) | ~needed, 0, np.floor(part + 0.5)).astype(np.uint16)
    np.testing.assert_array_equal(read(piece), wanted)


@pytest.mark.parametrize("scenes", [12, 3, 1])
def test_a_composite_is_numpys_median_of_the_clearest_scenes_of_each_block(
    client: Client, dates: list[Date], tmp_path: Path, scenes: int
) -> None:
    settings = replace(ALL, scenes=scenes)
    expected = earth.expected(dates, scenes=scenes)
    for piece in planned(dates, tmp_path, settings=settings)[:: 5 if scenes == 12 else 6]:
        provenance = composites.make(piece, client, settings)
        assert_equal_to(piece, expected)
        window = np.s_[piece.row : piece.row + piece.box.height, piece.column : piece.column + piece.box.width]
        shares = {date.scene.id: float((~np.isin(date.classes[window], earth.MASK)).mean()) for date in dates}
        assert {used.id: used.clear for used in provenance.scenes}.items() <= {
            name: round(share, 4) for name, share in shares.items()
        }.items()
        assert [used.clear for used in provenance.scenes] == sorted(
            (used.clear for used in provenance.scenes), reverse=True
        )
        assert composites.made(piece) == provenance
        assert len(provenance.scenes) + provenance.others == len(dates)


def test_a_pixel_does_not_depend_on_what_else_is_fetched(client: Client, dates: list[Date], tmp_path: Path) -> None:
    settings = replace(ALL, scenes=2)
    (small,) = planned(dates, tmp_path, ground((150, 200), (150, 200)), settings)
    large = planned(dates, tmp_path, ground((20, 200), (20, 200)), settings)[0]
    assert (small.row, large.row, large.box.height) == (128, 0, 256)
    composites.make(small, client, settings)
    composites.make(large, client, settings)
    np.testing.assert_array_equal(read(small), read(large)[:, 128:, 128:])


def test_snow_counts_unless_it_is_masked(client: Client, dates: list[Date], tmp_path: Path) -> None:
    settings = replace(ALL, mask=(*earth.MASK, 11))
    plain, snowless = planned(dates, tmp_path)[0], planned(dates, tmp_path, settings=settings)[0]
    assert plain.recipe != snowless.recipe
    composites.make(snowless, client, settings)
    clear = [date for date in dates if date.scene.id != dates[2].scene.id]
    assert_equal_to(snowless, earth.expected(clear, settings.mask))


def test_only_what_some_ground_needs_is_read(client: Client, dates: list[Date], server: Server, tmp_path: Path) -> None:
    (piece,) = planned(dates, tmp_path, ground((140, 240), (270, 370)))
    assert (piece.row, piece.column, piece.box.height, piece.box.width) == (128, 256, 128, 128)
    composites.make(piece, client, ALL)
    assert_equal_to(piece, earth.expected([date for date in dates if date is not dates[2]]))
    of_clouds = [path for _, path, _ in server.asked if dates[2].scene.id in path]
    assert [path.rpartition("/")[2] for path in of_clouds] == ["scl.tif", "scl.tif"], "header and block, no band"


def test_blocks_between_pieces_of_ground_are_left_out(client: Client, dates: list[Date], tmp_path: Path) -> None:
    corners = np.concatenate([ground((10, 100), (10, 100)), ground((150, 240), (150, 240))])
    (piece,) = planned(dates, tmp_path, corners)
    assert piece.blocks == ((True, False), (False, True))
    assert piece.needed == 2 * 128 * 128
    provenance = composites.make(piece, client, ALL)
    assert_equal_to(piece, earth.expected([date for date in dates if date is not dates[2]]))
    assert provenance.valid["jja_red"] > 0.9


def test_without_a_clear_pixel_there_is_a_piece_without_values(
    client: Client, dates: list[Date], tmp_path: Path
) -> None:
    piece = planned([dates[2]], tmp_path)[0]
    provenance = composites.make(piece, client, ALL)
    assert not read(piece).any()
    assert provenance.valid == {"jja_red": 0.0, "jja_green": 0.0, "jja_blue": 0.0}
    assert (provenance.scenes, provenance.others) == ((), 1)


@pytest.mark.parametrize("name", ["scl.tif", "green.tif"])
def test_a_scene_that_is_not_there_is_dropped_and_told(
    client: Client, dates: list[Date], server: Server, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    gone = dates[0].scene.id
    (server.folder / gone / name).unlink()
    piece = planned(dates, tmp_path)[0]
    provenance = composites.make(piece, client, ALL)
    assert list(provenance.dropped) == [gone]
    assert f"{gone}: is left out: " in caplog.text
    assert_equal_to(piece, earth.expected([date for date in dates[1:] if date is not dates[2]]))


@pytest.mark.parametrize("fault", ["503", "trunc", "norange", "403"])
@pytest.mark.parametrize("band", ["scl", "green"])
def test_a_request_that_fails_is_no_gap(
    client: Client, dates: list[Date], server: Server, tmp_path: Path, fault: str, band: str
) -> None:
    scene = dates[0].scene
    bad = f"{scene.id}/{band}.tif"
    if band == "scl":
        scene = replace(scene, classification=Asset(server.url(bad, fault)))
    else:
        bands = {**scene.bands, band: replace(scene.bands[band], href=server.url(bad, fault))}
        scene = replace(scene, bands=bands)
    piece = planned([replace(dates[0], scene=scene), *dates[1:]], tmp_path)[-1]
    with pytest.raises(FetchError, match=bad):
        composites.make(piece, client, ALL)
    assert not piece.path.exists()
    assert composites.made(piece) is None


def test_a_piece_is_made_again_where_it_is_not_whole(client: Client, dates: list[Date], tmp_path: Path) -> None:
    piece = planned(dates, tmp_path)[0]
    composites.make(piece, client, ALL)
    data, sidecar = piece.path.read_bytes(), composites.sidecar(piece.path)
    for damage in (
        lambda: sidecar.unlink(),
        lambda: sidecar.write_text("{"),
        lambda: piece.path.write_bytes(data[:-1]),
        lambda: piece.path.write_bytes(b""),
        lambda: piece.path.unlink(),
    ):
        damage()
        assert composites.made(piece) is None
        composites.make(piece, client, ALL)
        assert piece.path.read_bytes() == data
    assert {path.name for path in piece.path.parent.iterdir()} == {piece.path.name, sidecar.name}


def test_scenes_on_other_pixels_are_left_out_aloud(client: Client, dates: list[Date], tmp_path: Path) -> None:
    asset = dates[1].scene.bands["red"]
    assert asset.transform is not None
    moved = {name: replace(each, transform=asset.transform.translation(5, 0) @ asset.transform)
             for name, each in dates[1].scene.bands.items()}  # fmt: skip
    scenes = [dates[0].scene, replace(dates[1].scene, bands=moved), dates[4].scene]
    found, left_out = pieces.plan({"jja": scenes}, ground(), ALL, tmp_path, lambda scene: pytest.fail("said"))
    assert [scene.id for scene in found[0].scenes] == [scenes[0].id, scenes[2].id]
    assert left_out == [f"33TVM: 1 scenes lie on other pixels than the others, such as {scenes[1].id}"]


def test_a_file_is_asked_where_no_item_says_it(dates: list[Date], tmp_path: Path) -> None:
    box = pieces.said(dates[0].scene)
    assert box is not None
    assert pieces.said(dates[3].scene) is None
    found, _ = pieces.plan({"jja": [dates[3].scene]}, ground(), ALL, tmp_path, lambda scene: box)
    assert found[0].box.lattice == box.lattice


STORED = arrays.arrays(
    np.uint16, st.tuples(st.integers(1, 13), st.integers(1, 3), st.integers(1, 4)),
    elements=st.one_of(st.just(composites.INVALID), st.integers(1, 9), st.integers(1, composites.INVALID - 1)),
)  # fmt: skip


@given(STORED)
def test_the_median_is_numpys(stack: np.ndarray) -> None:
    valid = np.ma.masked_equal(stack.astype(float), composites.INVALID)
    middle = np.ma.median(valid, axis=0)  # type: ignore[no-untyped-call]
    expected = np.floor(middle.filled(-0.5) + 0.5)
    np.testing.assert_array_equal(composites.median(stack.copy()), expected)


@pytest.mark.parametrize(
    ("number", "scale", "offset", "stored"),
    [
        (1234, 1e-4, 0.0, 2234),
        (1234, 1e-4, -0.1, 1234),
        (1, 1e-4, -0.1, 1),
        (500, 1e-4, -0.2, 1),
        (65535, 1e-4, 0.0, 65534),
        (0, 1e-4, 0.0, composites.INVALID),
        (100, 2e-4, 0.0, 1200),
        (3, 5e-5, 0.0, 1002),
        (-3, 1e-4, 0.0, 997),
        (-2000, 1e-4, 0.0, 1),
        (-9999, 1e-4, 0.0, composites.INVALID),
        (1234, 1e-4, 0.05, 2734),
    ],
)
def test_reflectance_is_kept_whatever_a_scene_stores(number: int, scale: float, offset: float, stored: int) -> None:
    dtype = "int16" if number < 0 else "uint16"
    packed = composites.packing(dtype, -9999 if number < 0 else None, scale, offset)
    assert packed[number] == stored


def items(dates: Sequence[Date]) -> list[Any]:
    """Items of dates in the manners of three archives, by turns: offsets declared, applied already, and not said."""
    found = []
    for number, date in enumerate(dates):
        item = earth.item(date)
        for name in ("red", "green", "blue"):
            bands = item["assets"][name].pop("raster:bands")
            if number % 3 == 0:
                item["assets"][name]["raster:bands"] = [{**bands[0], "offset": date.scene.bands[name].offset}]
            elif number % 3 == 1 and date.scene.baseline == "02.14":
                item["assets"][name]["raster:bands"] = [{"scale": 1e-4, "offset": -0.1}]
                item["properties"]["earthsearch:boa_offset_applied"] = True
        found.append(item)
    return found


def searched(found: list[Any], seasons: tuple[Season, ...] = ("jja",)) -> tuple[Found, Stac]:
    with catalogue.serving() as serve:
        settings = Stac(api=serve(found).url, collection=catalogue.COLLECTION, seasons=seasons, max_cloud=100.0)
        return stac.search(catalogue.Asker(["*"]), settings, shapely.box(11, 40, 17, 43)), settings


def test_what_three_archives_say_of_two_zones_gives_numpys_medians(
    client: Client, server: Server, tmp_path: Path
) -> None:
    base = server.url("").rstrip("/")
    east = earth.dates(server.folder, base, count=6, tile="33TUG", corner=(260_000.0, 4_600_000.0))
    west = earth.dates(server.folder, base, count=5, tile="32TQM", epsg=32632, corner=(758_000.0, 4_601_000.0), seed=1)
    offered = items(east) + items(west)
    again = {**offered[0], "id": "S2A_33TUG_early", "properties": {**offered[0]["properties"]}}
    again["properties"]["s2:processing_baseline"] = "02.00"
    found, settings = searched([*offered, again])
    assert (len(found.scenes), found.duplicates, found.unusable) == (11, 1, 0)
    ground = np.array([shapely.box(12.0, 41.0, 12.3, 41.6)])
    sources = {"33TUG": east, "32TQM": west}

    def box_of(scene: Scene) -> GeoBox:
        raise AssertionError(scene.id)

    planned, left_out = pieces.plan({"jja": found.scenes}, ground, settings, tmp_path, box_of)
    assert not left_out
    assert {piece.tile for piece in planned} == set(sources)
    for tile, dates in sources.items():
        piece = next(piece for piece in planned if piece.tile == tile)
        composites.make(piece, client, settings)
        assert_equal_to(piece, earth.expected(dates))


def test_bands_of_other_resolutions_lie_on_the_finest_pixels(
    client: Client, dates: list[Date], server: Server, tmp_path: Path
) -> None:
    chosen, coarse = [], []
    for number, date in enumerate(dates[:3]):
        transform = Affine(20, 0, 500_000, 0, -20, 4_600_000)
        swir = np.random.default_rng(number).integers(1, 3000, (300, 250)).astype(np.uint16)
        earth.write(server.folder / date.scene.id / "swir.tif", swir, transform, 32633)
        asset = Asset(server.url(f"{date.scene.id}/swir.tif"), 1e-4, date.scene.bands["red"].offset,
                      "EPSG:32633", transform, 300, 250)  # fmt: skip
        bands = {"red": date.scene.bands["red"], "swir": asset}
        chosen.append(replace(date, scene=replace(date.scene, bands=bands)))
        fine = swir.repeat(2, axis=0).repeat(2, axis=1)
        coarse.append(replace(chosen[-1], numbers=np.stack([date.numbers[0], fine])))
    settings = replace(ALL, assets={"red": "red", "swir": "swir16"})
    piece = planned(chosen, tmp_path, settings=settings)[-1]
    composites.make(piece, client, settings)
    assert_equal_to(piece, earth.expected(coarse))


def test_without_a_mask_no_classification_is_read(
    client: Client, dates: list[Date], server: Server, tmp_path: Path
) -> None:
    settings = replace(ALL, mask=())
    bare = [replace(date, scene=replace(date.scene, classification=None)) for date in dates]
    piece = planned(bare, tmp_path, settings=settings)[0]
    composites.make(piece, client, settings)
    assert_equal_to(piece, earth.expected(dates, mask=()))
    assert not [path for _, path, _ in server.asked if path.endswith("scl.tif")]


def test_where_no_scene_is_there_nothing_is_made(
    client: Client, dates: list[Date], server: Server, tmp_path: Path
) -> None:
    for date in dates[:2]:
        (server.folder / date.scene.id / "blue.tif").unlink()
    piece = planned(dates[:2], tmp_path)[0]
    with pytest.raises(FetchError, match="33TVM, 2020-jja: none of its 2 scenes is there, such as S2A_33TVM_0"):
        composites.make(piece, client, ALL)
    assert not piece.path.exists()


def test_numbers_of_another_kind_are_refused(client: Client, dates: list[Date], server: Server, tmp_path: Path) -> None:
    earth.write(server.folder / dates[0].scene.id / "red.tif", np.ones((600, 500), dtype=np.uint32),
                Affine(10, 0, 500_000, 0, -10, 4_600_000), 32633)  # fmt: skip
    with pytest.raises(FetchError, match=r"red\.tif: holds uint32, no numbers of 8 or 16 bits"):
        composites.make(planned(dates, tmp_path)[0], client, ALL)


def test_a_file_on_other_pixels_drops_its_scene(
    client: Client, dates: list[Date], server: Server, tmp_path: Path
) -> None:
    shifted = Affine(10, 0, 500_005, 0, -10, 4_600_000)
    earth.write(server.folder / dates[0].scene.id / "red.tif", dates[0].numbers[0], shifted, 32633)
    piece = planned(dates, tmp_path)[0]
    provenance = composites.make(piece, client, ALL)
    assert list(provenance.dropped) == [dates[0].scene.id]
    assert "lies on other pixels" in provenance.dropped[dates[0].scene.id]
    assert_equal_to(piece, earth.expected(dates[1:]))


def test_killed_before_its_provenance_a_piece_is_made_again(
    client: Client, dates: list[Date], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piece = planned(dates[:3], tmp_path)[0]

    def killed(path: Path, value: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(documents, "write", killed)
        with pytest.raises(SystemExit):
            composites.make(piece, client, ALL)
    data = piece.path.read_bytes()
    assert composites.made(piece) is None
    composites.make(piece, client, ALL)
    assert composites.made(piece) is not None
    assert piece.path.read_bytes() == data


def test_two_runs_make_a_piece_at_once(client: Client, dates: list[Date], tmp_path: Path) -> None:
    piece = planned(dates[:3], tmp_path)[0]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: composites.make(piece, client, ALL), range(2))
    assert first == second == composites.made(piece)


@pytest.mark.parametrize("band", ["scl", "green"])
def test_an_interrupt_ends_a_stalled_piece_within_two_seconds(
    client: Client, dates: list[Date], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, band: str
) -> None:
    monkeypatch.setattr(clients, "READ", 30.0)
    scene = dates[0].scene
    stalled = server.url(f"{scene.id}/{band}.tif", "stall")
    if band == "scl":
        scene = replace(scene, classification=Asset(stalled))
    else:
        scene = replace(scene, bands={**scene.bands, band: replace(scene.bands[band], href=stalled)})
    piece = planned([replace(dates[0], scene=scene)], tmp_path)[-1]

    def interrupt() -> None:
        while not [fault for fault, _, span in server.asked if fault == "stall" and not span.startswith("bytes=0-")]:
            time.sleep(0.01)
        time.sleep(0.1)
        times.append(time.monotonic())
        signal.pthread_kill(main, signal.SIGINT)

    main, times = threading.main_thread().ident or 0, list[float]()
    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        composites.make(piece, client, ALL)
    assert time.monotonic() - times[0] < 2.0
    thread.join()
    assert not list(piece.path.parent.iterdir())
