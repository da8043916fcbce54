from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely

from geoembed.errors import AoiError
from geoembed.ground import vectors


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (8212000.0, "8212000"), (np.float32(7), "7"), (8212001, "8212001"), (0.5, "0.5"), (" a b ", "a b"),
        (None, ""), (np.nan, ""), (pd.NA, ""), ("0012", "0012"), (1e300, str(int(1e300))),
    ],
)  # fmt: skip
def test_names_are_text(value: Any, text: str) -> None:
    assert vectors.text(value) == text


def test_parts_have_the_rows_that_they_are_of() -> None:
    points = shapely.multipoints([[0, 0], [1, 1]])
    deep = shapely.geometrycollections([shapely.geometrycollections([points, shapely.box(0, 0, 1, 1)])])
    parts, rows = vectors.parts(np.array([None, deep, shapely.Point(2, 2), shapely.Polygon()], dtype=object))
    assert [part.geom_type for part in parts] == ["Point", "Point", "Polygon", "Point", "Polygon"]
    assert rows.tolist() == [1, 1, 1, 2, 3]


def test_a_table_without_geometry_has_no_kind(tmp_path: Path) -> None:
    pyogrio.write_dataframe(pd.DataFrame({"a": [1]}), tmp_path / "a.gpkg", layer="notes")
    assert vectors.layers(tmp_path / "a.gpkg", AoiError) == {"notes": None}
    assert vectors.columns(tmp_path / "a.gpkg", "notes", AoiError) == {"a": "int64"}
    with pytest.raises(AoiError, match="cannot be read as a vector file"):
        vectors.read(tmp_path / "a.gpkg", "note", AoiError)
