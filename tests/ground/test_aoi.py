from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from conftest import WriteArea, square

from geoembed.errors import AoiError
from geoembed.ground import aoi


def test_rows_with_one_name_are_one_area(write_area: WriteArea) -> None:
    path = write_area("a.gpkg", square(0, 0, 10), square(50, 0, 10), square(99, 0, 10), names=("x", "y", "x"))
    areas, made_from = aoi.read((path,))
    assert [area.name for area in areas] == ["x", "y"]
    assert areas[0].polygon.area == 200
    assert [name for name, _ in made_from] == ["a.gpkg"]


def test_without_names_the_file_names_the_area(write_area: WriteArea) -> None:
    areas, _ = aoi.read((write_area("valley.geojson", square(10, 50, 1), crs="EPSG:4326"),))
    assert [area.name for area in areas] == ["valley"]


def test_the_record_holds_rows_and_geometry_not_bytes(write_area: WriteArea, tmp_path: Path) -> None:
    path = write_area("a.gpkg", square(0, 0, 10))
    before = aoi.read((path,))[1]
    path.rename(tmp_path / "b.gpkg")
    geopandas.read_file(tmp_path / "b.gpkg").to_file(path)
    assert aoi.read((path,))[1] == before
    write_area("a.gpkg", square(0, 0, 11))
    assert aoi.read((path,))[1] != before


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("nothing.gpkg", None, "no such file"),
        ("text.gpkg", b"no vector", "cannot be read as a vector file"),
        ("points.geojson", b'{"type": "Point", "coordinates": [1, 2]}', "no polygon"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes | None, fault: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(AoiError, match=f"{name}: .*{fault}"):
        aoi.read((tmp_path / name,))


def test_points_on_the_edge_are_held() -> None:
    area = aoi.Area("a", square(10, 50, 1), "EPSG:4326")
    points = np.array([[10.0, 50.5], [10.5, 50.5], [11.5, 50.5]])
    assert aoi.holds(area, points).tolist() == [True, True, False]


def test_longitudes_may_run_past_180() -> None:
    area = aoi.Area("a", shapely.box(179.0, 10.0, 181.0, 11.0), "EPSG:4326")
    points = np.array([[179.5, 10.5], [-179.5, 10.5], [-178.5, 10.5]])
    assert aoi.holds(area, points).tolist() == [True, True, False]


def test_numbers_are_names_and_order_counts(write_area: WriteArea, tmp_path: Path) -> None:
    path = write_area("a.gpkg", square(0, 0, 10), square(50, 0, 10), names=(1, 2))
    areas, _ = aoi.read((path,))
    assert [area.name for area in areas] == ["1", "2"]
    (tmp_path / "below").mkdir()
    second = write_area("below/a.gpkg", square(0, 0, 20), names=("x",))
    assert aoi.read((path, second))[1] != aoi.read((second, path))[1]
    assert len(aoi.read((path, second))[1]) == 2


def test_no_area_is_called_all(write_area: WriteArea) -> None:
    with pytest.raises(AoiError, match=r"a.gpkg: an area cannot be called 'all'"):
        aoi.read((write_area("a.gpkg", square(0, 0, 10), names=("all",)),))
