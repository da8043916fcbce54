import os
from pathlib import Path

import geopandas
import pytest
import shapely

from geoembed.errors import StaleError
from geoembed.outputs import record


def test_a_file_is_told_by_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"12345")
    before = record.of_file(path)
    assert (before["name"], before["bytes"]) == ("a.tif", 5)
    os.utime(path, (1, 1))
    assert record.of_file(path) != before


def test_a_table_is_told_by_rows_geometry_and_crs() -> None:
    table = geopandas.GeoDataFrame({"a": [1, 2]}, geometry=shapely.points([[0, 0], [1, 1]]), crs="EPSG:4326")
    seen = {record.of_table(table)}
    assert record.of_table(table.copy()) in seen
    seen.add(record.of_table(table.assign(a=[1, 3])))
    seen.add(record.of_table(table.rename(columns={"a": "b"})))
    seen.add(record.of_table(table.set_geometry(table.translate(1))))
    seen.add(record.of_table(table.set_crs("EPSG:32632", allow_override=True)))
    assert len(seen) == 5


def test_what_differs_is_named() -> None:
    record.require_same(Path("x"), {"a": (1, 2)}, {"a": [1, 2]})
    with pytest.raises(StaleError, match=r"x: .*a was 1, now 2, b differs.*--overwrite"):
        record.require_same(Path("x"), {"a": 1, "b": {"c": 1}}, {"a": 2, "b": {}})
