"""WorldCover from a server on loopback: which blocks chips need, what is fetched of them, and faults."""

from __future__ import annotations

from pathlib import Path

import landcover
import numpy as np
import pytest
import rasterio
import shapely
from canned import Canned
from rasterio.io import MemoryFile
from rasterio.windows import from_bounds
from synthetic import LATTICE, ids

from geoembed.archives import worldcover
from geoembed.archives.client import Beginning, Client
from geoembed.archives.worldcover import Tile
from geoembed.errors import FetchError
from geoembed.ground import grid
from geoembed.labels import legend

HERE = "N45E006"
PATH = f"/{landcover.KEY.format(HERE)}"


def client(server: Canned, *, offline: bool = False) -> Client:
    return Client([server.host], tries=1, connections=2, offline=offline)


def place(zone: int, x: float, y: float, *, south: bool = False, columns: int = 1) -> grid.Cells:
    """Cells of 4,480 m from one that holds a place in metres, side by side."""
    lattice = grid.utm(zone, south=south, size=448, resolution=10.0)
    column, row = int(lattice.column_at(np.array([x]))[0]), int(lattice.row_at(np.array([y]))[0])
    return grid.cells([lattice], ids(lattice, columns, 1, column, row))


def covered(tiles: list[Tile], cells: grid.Cells) -> bool:
    """Whether all of some cells lies on blocks of tiles, by the corners of the blocks in degrees."""
    blocks = []
    for tile in tiles:
        for column, row in tile.blocks:
            west, north, side = tile.transform.c, tile.transform.f, 1024 / 12000
            right, bottom = min((column + 1) * side, 3.0), min((row + 1) * side, 3.0)
            blocks.append(shapely.box(west + column * side, north - bottom, west + right, north - row * side))
    return bool(shapely.covers(shapely.union_all(blocks).buffer(1e-9), cells.outlines).all())


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        (place(32, 480_000, 5_120_000), ["N45E006"]),
        (place(32, 500_000, 5_316_000), ["N48E009", "N48E006", "N45E009", "N45E006"]),  # at 48 north, 9 east
        (place(31, 500_000, 2_000), ["N00E003", "N00E000", "S03E003", "S03E000"]),
        (place(31, 500_000, 9_990_000, south=True), ["S03E003", "S03E000"]),
        (place(31, 170_000, 1_000_000), ["N09E000", "N09W003"]),
        (place(1, 167_000, 1_000_000, columns=2), ["N09E177", "N09W180"]),
    ],
)
def test_tiles_are_called_by_their_lower_left_corner(cells: grid.Cells, names: list[str]) -> None:
    tiles = worldcover.tiles(cells)
    assert sorted(tile.name for tile in tiles) == sorted(names)
    assert covered(tiles, cells)
    assert sum(len(tile.blocks) for tile in tiles) <= 9 * len(cells), "no more than lies near"


def test_cells_of_all_zones_lie_on_their_blocks() -> None:
    for zone in range(1, 61, 7):
        for y in (10_000, 3_000_000, 7_000_000, 9_300_000):
            cells = place(zone, 400_000, y, columns=3)
            assert covered(worldcover.tiles(cells), cells)


def fetched(server: Canned, cache: Path, tile: Tile) -> Path | None:
    return worldcover.fetch(tile, cache, server.url, client(server))


def test_the_blocks_of_a_tile_equal_its_pixels(canned: Canned, tmp_path: Path) -> None:
    data = canned.answers[PATH] = landcover.tile(45, 6)
    cells = grid.cells([LATTICE], ids(LATTICE, 40, 30))
    (tile,) = worldcover.tiles(cells)
    path = fetched(canned, tmp_path, tile)
    assert path is not None and path.parent == tmp_path / "worldcover"
    with rasterio.open(path) as found, MemoryFile(data) as memory, memory.open() as whole:
        window = from_bounds(*_bounds(cells), whole.transform).round_offsets().round_lengths()
        assert (found.read(1, window=window) == whole.read(1, window=window)).all()
        assert found.read(1, window=window).any()
        assert found.bounds == whole.bounds
        assert (found.nodata, found.dtypes[0]) == (0, "uint8")
        assert legend.has_colours({value: colour[:3] for value, colour in found.colormap(1).items()})
        apart = found.read(1) != whole.read(1)
        assert (found.read(1)[apart] == 0).all()
        assert apart.any()
    sent = sum(int(asked.split("-")[1]) - int(asked[6:].split("-")[0]) + 1 for _, asked in canned.asked)
    assert sent < 0.2 * len(data)


def _bounds(cells: grid.Cells) -> tuple[float, float, float, float]:
    west, south, east, north = cells.bounds().T
    return float(west.min()), float(south.min()), float(east.max()), float(north.max())


def test_a_full_cache_needs_nobody_and_gives_the_same(canned: Canned, tmp_path: Path) -> None:
    canned.answers[PATH] = landcover.tile(45, 6)
    tile = Tile(HERE, ((30, 20), (31, 20)))
    path = fetched(canned, tmp_path, tile)
    assert path is not None
    content, asked = path.read_bytes(), len(canned.asked)
    offline = client(canned, offline=True)
    assert worldcover.fetch(tile, tmp_path, canned.url, offline) == path
    assert worldcover.fetch(Tile("N45E009", tile.blocks), tmp_path, canned.url, client(canned)) is None
    assert worldcover.fetch(Tile("N45E009", ((1, 1),)), tmp_path, canned.url, offline) is None
    assert len(canned.asked) == asked + 1
    with pytest.raises(FetchError):
        worldcover.fetch(Tile(HERE, ((1, 1),)), tmp_path, canned.url, offline)
    other = fetched(canned, tmp_path / "other", tile)
    assert other is not None and other.read_bytes() == content


@pytest.mark.parametrize("damage", [b"", b"II*\0nothing"])
def test_damage_in_the_cache_is_found_and_mended(canned: Canned, tmp_path: Path, damage: bytes) -> None:
    canned.answers[PATH] = landcover.tile(45, 6)
    tile = Tile(HERE, ((30, 20),))
    path = fetched(canned, tmp_path, tile)
    assert path is not None
    content = path.read_bytes()
    path.write_bytes(damage)
    assert fetched(canned, tmp_path, tile) == path
    assert path.read_bytes() == content
    path.with_suffix(".json").write_text("{}")
    assert fetched(canned, tmp_path, tile) == path
    assert path.read_bytes() == content


def changed(data: bytes, start: int, by: bytes) -> bytes:
    return data[:start] + by + data[start + len(by) :]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (403, "403"),
        (500, "500"),
        (b"<html>sign in</html>" * 10_000, "is a web page, no TIFF"),
        (landcover.tile(48, 6), "lies at 6 east, 48 north"),
        (changed(landcover.tile(45, 6), 40_000, bytes(len(landcover.tile(45, 6)) - 40_000)), "is damaged"),
    ],
)
def test_a_fault_is_an_error_and_no_gap(canned: Canned, tmp_path: Path, answer: bytes | int, fault: str) -> None:
    canned.answers[PATH] = answer
    with pytest.raises(FetchError, match=fault) as error:
        fetched(canned, tmp_path, Tile(HERE, ((30, 20),)))
    assert canned.host in str(error.value)
    assert "\n" not in str(error.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    canned.answers[PATH] = landcover.tile(45, 6)
    assert fetched(canned, tmp_path, Tile(HERE, ((30, 20),)))


def test_a_tile_that_changes_between_its_header_and_its_blocks_is_an_error(canned: Canned, tmp_path: Path) -> None:
    canned.answers[PATH] = landcover.tile(45, 6)
    changing = client(canned)
    beginning = changing.beginning

    def change(url: str, size: int) -> Beginning:
        found = beginning(url, size)
        canned.answers[PATH] = landcover.tile(45, 6, seed=1)
        return found

    changing.beginning = change  # type: ignore[method-assign]
    with pytest.raises(FetchError, match="changed while it was read; run again"):
        worldcover.fetch(Tile(HERE, ((30, 20),)), tmp_path, canned.url, changing)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
