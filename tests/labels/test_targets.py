import logging
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from synthetic import LATTICE, ids

from geoembed.errors import LabelError
from geoembed.ground import grid
from geoembed.labels import files, targets

LEFT, BOTTOM = 480_000.0, 5_120_000.0
CHIPS = ids(LATTICE, 4, 3)  # by rows from the south, cells of 320 m


def save(path: Path, columns: dict[str, Any], shapes: Any = None, crs: str | None = LATTICE.crs) -> Path:
    if shapes is None:
        pd.DataFrame(columns).to_csv(path, index=False)
    else:
        geopandas.GeoDataFrame(columns, geometry=shapes, crs=crs).to_file(path, driver="GPKG", layer="mine")
    return path


def join(path: Path, target: str | None = None) -> targets.Targets:
    return targets.join(files.read(path, files.Reading(target)), CHIPS, (LATTICE,))


def points(*cells: tuple[float, float]) -> Any:
    return shapely.points([(LEFT + 320 * x, BOTTOM + 320 * y) for x, y in cells])


def box(x0: float, y0: float, x1: float, y1: float) -> Any:
    return shapely.box(LEFT + 320 * x0, BOTTOM + 320 * y0, LEFT + 320 * x1, BOTTOM + 320 * y1)


def test_by_chip_id_in_any_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save(tmp_path / "water.csv", {"chip_id": [CHIPS[5], "other", CHIPS[0], CHIPS[1]], "label": [1, 1, 0, None]})
    with caplog.at_level(logging.WARNING, "geoembed"):
        joined = join(path)
    assert joined.name == "water" and joined.classes == (0, 1)
    assert joined.values[[5, 0]].tolist() == [1, 0] and joined.known.sum() == 2
    assert joined.counts["labels_unmatched"] == 1 and joined.counts["labels_empty"] == 1
    assert "1 without a label, 1 on no chip" in caplog.text


def test_points_label_the_chip_that_holds_them_in_any_crs(tmp_path: Path) -> None:
    shapes = geopandas.GeoSeries(points((0.5, 0.5), (0, 1), (3.9, 2.9), (9, 9)), crs=LATTICE.crs)
    for crs in (LATTICE.crs, "EPSG:4326", "EPSG:3857"):
        path = save(tmp_path / f"p{crs[5:]}.gpkg", {"label": ["a", "b", "b", "a"]}, shapes.to_crs(crs), crs)
        joined = join(path)
        assert joined.classes == ("a", "b")
        assert joined.values[[0, 11]].tolist() == [0, 1]
        assert joined.known.sum() in (2, 3)  # a point on a cell's corner may move by a nanometre
    # in the grid's own CRS a border belongs to the cell to the right and above
    assert join(tmp_path / "p32632.gpkg").values[4] == 1


def test_numbers_of_points_are_averaged_and_classes_must_agree(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shapes = points((0.2, 0.5), (0.7, 0.5), (1.5, 0.5), (2.2, 0.5), (2.4, 0.5))
    numbers = join(save(tmp_path / "v.gpkg", {"value": [1.0, 3.0, 7.5, 0.0, 0.0]}, shapes))
    assert numbers.numeric and numbers.values[:3].tolist() == [2.0, 7.5, 0.0]
    with caplog.at_level(logging.WARNING, "geoembed"):
        classes = join(save(tmp_path / "l.gpkg", {"label": [1, 0, 1, 0, 0]}, shapes))
    assert np.isnan(classes.values[0]) and classes.values[1:3].tolist() == [1, 0]
    assert classes.counts["chips_contradicting"] == 1
    assert "1 chips with labels that contradict" in caplog.text


def test_polygons_label_what_they_cover_by_more_than_half(tmp_path: Path) -> None:
    # Two pieces of class 1 cover 0.6 of chip 0 together; 0.4 of class 0 over chip 1 is not enough; all of chip 2.
    shapes = [box(0, 0, 0.3, 1), box(0.7, 0, 1, 1), box(1, 0, 1.4, 1), box(2, 0, 3, 1)]
    joined = join(save(tmp_path / "a.gpkg", {"label": [1, 1, 0, 0]}, shapes))
    assert joined.values[[0, 2]].tolist() == [1, 0] and joined.known.sum() == 2
    assert joined.counts["labels_unmatched"] == 1
    # The same piece twice is not twice the area.
    joined = join(save(tmp_path / "b.gpkg", {"label": [1, 1, 0]}, [box(0, 0, 0.4, 1), box(0, 0, 0.4, 1), shapes[3]]))
    assert joined.known.sum() == 1
    # Both classes over more than half contradict.
    joined = join(save(tmp_path / "c.gpkg", {"label": [1, 0, 0]}, [box(0, 0, 0.8, 1), box(0.2, 0, 1, 1), shapes[3]]))
    assert joined.counts["chips_contradicting"] == 1 and joined.known.sum() == 1
    # Numbers are averaged by area.
    joined = join(save(tmp_path / "d.gpkg", {"value": [1.5, 4.5]}, [box(0, 0, 0.5, 1), box(0.5, 0, 0.75, 1)]))
    assert joined.values[0] == pytest.approx(2.5)


def test_polygons_in_degrees_over_180(tmp_path: Path) -> None:
    lattice = grid.utm(1, south=True, size=32, resolution=1000.0)
    column = int(lattice.column_at(np.array([240_000.0]))[0])
    chip_ids = np.array([lattice.chip_id(c, 280) for c in range(column - 3, column + 4)])
    shapes = [shapely.box(-180, -60, -170, 0), shapely.box(170, -60, 180, 0)]
    path = save(tmp_path / "halves.gpkg", {"label": ["east", "west"]}, shapes, "EPSG:4326")
    joined = targets.join(files.read(path), chip_ids, (lattice,))
    outlines = grid.cells([lattice], chip_ids).outlines
    east = shapely.area(shapely.intersection(outlines, shapes[0])) > shapely.area(outlines) / 2
    assert [joined.classes[int(v)] == "east" for v in joined.values] == east.tolist()
    assert 0 < east.mean() < 1


def test_the_target_decides_between_classes_and_numbers(tmp_path: Path) -> None:
    columns = {
        "chip_id": CHIPS[:3], "label": [1, 0, 1], "value": [1.0, 2.0, 3.0], "crop": ["a", "b", "a"],
        "yield": [0.5, 0.25, 1.0], "age": [3, 4, 5],
    }  # fmt: skip
    path = save(tmp_path / "x.gpkg", columns, points((0, 0), (1, 0), (2, 0)))
    assert files.read(path).column == "label" and not files.read(path).numeric
    assert files.read(path, files.Reading("value")).numeric and files.read(path, files.Reading("yield")).numeric
    assert not files.read(path, files.Reading("crop")).numeric and not files.read(path, files.Reading("age")).numeric
    assert files.read(path, files.Reading("crop")).name == "x:crop"
    assert join(path, "crop").classes == ("a", "b")
    only = save(tmp_path / "y.gpkg", {"chip_id": CHIPS[:2], "value": [1, 2]}, points((0, 0), (1, 0)))
    assert files.read(only).numeric


def test_true_and_false_are_classes(tmp_path: Path) -> None:
    path = save(
        tmp_path / "b.gpkg", {"chip_id": CHIPS[:3], "label": [True, False, True]}, points((0, 0), (1, 0), (2, 0))
    )
    assert join(path).classes == (False, True)


def test_what_cannot_be_used_says_the_remedy(tmp_path: Path) -> None:
    two_points = points((0.5, 0.5), (1.5, 0.5))
    cases = [
        (save(tmp_path / "a.gpkg", {"lable": [0, 1]}, two_points), "it has lable; name another with --target"),
        (save(tmp_path / "b.gpkg", {"label": [0.5, 1]}, two_points), "holds fractions"),
        (save(tmp_path / "c.gpkg", {"value": ["x", "y"]}, two_points), "not numbers"),
        (save(tmp_path / "d.csv", {"label": [0, 1]}), "neither a column chip_id nor geometry"),
        (save(tmp_path / "f.gpkg", {"label": [0, 1]}, points((50, 50), (51, 51))), "no label lies on a chip"),
        (save(tmp_path / "g.csv", {"chip_id": ["q"], "label": [1]}), "none of its chip_id"),
        (tmp_path / "none.gpkg", "no such label file"),
    ]
    for path, words in cases:
        with pytest.raises(LabelError, match=words):
            join(path)
    (tmp_path / "text.gpkg").write_text("no")
    with pytest.raises(LabelError, match="not a vector file"):
        join(tmp_path / "text.gpkg")
    with pytest.warns(UserWarning, match="crs"):
        geopandas.GeoDataFrame({"label": [0, 1]}, geometry=two_points).to_file(tmp_path / "h.fgb", driver="FlatGeobuf")
    with pytest.raises(LabelError, match="no CRS"):
        join(tmp_path / "h.fgb")
