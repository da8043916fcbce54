import os
from pathlib import Path

import geopandas
import pandas as pd
import pytest
import shapely

from geoembed.outputs import digests
from geoembed.outputs.digests import Files


def test_a_file_is_told_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"12345")
    digest = Files().digest(path)
    os.utime(path, (1, 1))
    assert Files().digest(path) == digest
    path.write_bytes(b"12346")
    assert Files().digest(path) != digest


def test_a_file_of_known_stamp_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"12345")
    first = Files()
    digest = first.digest(path)
    monkeypatch.setattr(digests, "_of_content", lambda *_: pytest.fail("was read"))
    again = Files(first.stamps)
    assert (again.digest(path), again.stamps) == (digest, first.stamps)


@pytest.mark.parametrize("at", [0, 700, 5000, 9999], ids=["start", "edge", "block", "end"])
def test_of_a_large_file_edges_and_spread_blocks_are_read(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "WHOLE", 5000)
    monkeypatch.setattr(digests, "EDGE", 1000)
    monkeypatch.setattr(digests, "BLOCKS", 4)
    monkeypatch.setattr(digests, "BLOCK", 100)
    path = tmp_path / "large.tif"
    path.write_bytes(bytes(10_000))
    before = Files().digest(path)
    changed = bytearray(10_000)
    changed[at] = 1
    path.write_bytes(changed)
    assert Files().digest(path) != before
    unseen = bytearray(10_000)
    unseen[3000] = 1  # between the blocks, as the module says
    path.write_bytes(unseen)
    assert Files().digest(path) == before


def test_a_table_is_told_by_rows_geometry_and_crs() -> None:
    table = geopandas.GeoDataFrame({"a": [1, 2]}, geometry=shapely.points([[0, 0], [1, 1]]), crs="EPSG:4326")
    seen = {digests.of_table(table)}
    assert digests.of_table(table.copy()) in seen
    seen.add(digests.of_table(table.assign(a=[1, 3])))
    seen.add(digests.of_table(table.rename(columns={"a": "b"})))
    seen.add(digests.of_table(table.set_geometry(table.translate(1))))
    seen.add(digests.of_table(table.set_geometry(table.geometry.iloc[::-1].set_axis(table.index))))
    seen.add(digests.of_table(table.set_crs("EPSG:32632", allow_override=True)))
    assert len(seen) == 6


def test_tables_that_read_alike_differ() -> None:
    tables = [["", "a"], [None, "a"], ["a", ""], ["a,", ""], ["a", ","], ["1", "2"], ["12", ""]]
    seen = {digests.of_table(pd.DataFrame({"label": pd.Series(values, dtype=object)})) for values in tables}
    assert len(seen) == len(tables)


def test_files_that_bear_one_stamp_are_both_read(tmp_path: Path) -> None:
    paths = [tmp_path / year / "s2" / "x.tif" for year in ("2020", "2021")]
    for path, content in zip(paths, (b"12345", b"54321"), strict=True):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        os.utime(path, (1, 1))
    files = Files()
    assert files.digest(paths[0]) != files.digest(paths[1])
    assert files.stamps == {}, "the stamp tells nothing, so that the next run reads again"
