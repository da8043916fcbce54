import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
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


def join(path: Path, target: str | None = None, **reading: Any) -> targets.Targets:
    return targets.join(files.read(path, files.Reading(target, **reading)), CHIPS, (LATTICE,))


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
    assert classes.counts["chips_disagreeing"] == classes.counts["chips_tied"] == 1
    assert "1 chips with as many labels of one class as of another" in caplog.text


def test_polygons_label_what_they_cover_by_more_than_half(tmp_path: Path) -> None:
    # Two pieces of class 1 cover 0.6 of chip 0 together; 0.4 of class 0 over chip 1 is not enough; all of chip 2.
    shapes = [box(0, 0, 0.3, 1), box(0.7, 0, 1, 1), box(1, 0, 1.4, 1), box(2, 0, 3, 1)]
    joined = join(save(tmp_path / "a.gpkg", {"label": [1, 1, 0, 0]}, shapes), overlap="half")
    assert joined.values[[0, 2]].tolist() == [1, 0] and joined.known.sum() == 2
    assert joined.counts["labels_unmatched"] == 1
    # The same piece twice is not twice the area.
    joined = join(
        save(tmp_path / "b.gpkg", {"label": [1, 1, 0]}, [box(0, 0, 0.4, 1), box(0, 0, 0.4, 1), shapes[3]]),
        overlap="half",
    )
    assert joined.known.sum() == 1
    # Where both classes cover more than half, there is a tie, or more of one.
    joined = join(save(tmp_path / "c.gpkg", {"label": [1, 0, 0]}, [box(0, 0, 0.8, 1), box(0.2, 0, 1, 1), shapes[3]]))
    assert joined.counts["chips_tied"] == 1 and joined.known.sum() == 1
    joined = join(save(tmp_path / "e.gpkg", {"label": [1, 0, 0]}, [box(0, 0, 0.8, 1), box(0.3, 0, 1, 1), shapes[3]]))
    assert (joined.counts["chips_tied"], joined.counts["chips_disagreeing"], joined.values[0]) == (0, 1, 1)
    # Numbers are averaged by area.
    joined = join(save(tmp_path / "d.gpkg", {"value": [1.5, 4.5]}, [box(0, 0, 0.5, 1), box(0.5, 0, 0.75, 1)]))
    assert joined.values[0] == pytest.approx(2.5)


def test_small_polygons_label_the_chip_that_holds_their_middle(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Two ponds in chip 0; a field mostly in chip 1, in part in 2; all of chip 3, in which a pond does not count.
    shapes = [box(0.1, 0.1, 0.2, 0.2), box(0.5, 0.5, 0.6, 0.6), box(1.6, 0, 2.1, 0.4), box(3, 0, 4, 1)]
    path = save(tmp_path / "a.gpkg", {"label": ["a", "a", "b", "c", "a"]}, [*shapes, box(3.1, 0.1, 3.2, 0.2)])
    with caplog.at_level(logging.WARNING, "geoembed"):
        joined = join(path)
    assert [None if np.isnan(v) else joined.classes[int(v)] for v in joined.values[:4]] == ["a", "b", None, "c"]
    assert joined.counts["labels_unmatched"] == 1 and joined.counts["chips_disagreeing"] == 0
    assert "2 chips get the label of polygons smaller than half a chip (median: 0.01 of a chip)" in caplog.text
    # A pond does not stand for a chip of which more is something else, be it less than half.
    path = save(tmp_path / "b.gpkg", {"label": ["a", "c", "b"]}, [shapes[0], box(0.55, 0, 3, 1), shapes[2]])
    joined = join(path)
    assert joined.values[0] != joined.values[0] and joined.known.sum() == 2  # "c" over chips 1 and 2
    # Most of chip 0 that small polygons of several classes cover.
    path = save(tmp_path / "c.gpkg", {"label": ["a", "b", "b"]}, [box(0, 0, 0.3, 0.3), *shapes[:2]])
    joined = join(path)
    assert joined.classes[int(joined.values[0])] == "a" and joined.counts["chips_disagreeing"] == 1


def test_overlap_says_how_much_of_a_chip_polygons_must_cover(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shapes = [box(0.9, 0, 1.3, 1), box(2.5, 0, 2.75, 1), box(2.7, 0.5, 2.9, 1)]
    path = save(tmp_path / "a.gpkg", {"label": ["a", "a", "b"]}, shapes)
    assert join(path, overlap="any").known[:3].tolist() == [True, True, True]
    assert join(path, overlap="any").counts["chips_disagreeing"] == 1
    assert join(path, overlap=0.2).known[:3].tolist() == [False, True, True]
    assert join(path, overlap="0.28").known[:3].tolist() == [False, True, False]
    with pytest.raises(LabelError, match=r"no class covers more than 0\.5 of a chip: the polygons have 0\.0256 km²"
        r" \(median\), a chip has 0\.102 km²; --overlap any labels 3 chips, --overlap 0\.2 2"):  # fmt: skip
        join(path, overlap="half")
    with caplog.at_level(logging.WARNING, "geoembed"):
        join(path, overlap=0.28)
    assert "left out 2 that lie on no chip, or cover too little of one (--overlap any labels 3 chips" in caplog.text
    with pytest.raises(LabelError, match="--overlap most: write any, half, or a share"):
        join(path, overlap="most")
    assert files.Reading(overlap=0.3).options == files.Reading(overlap="0.3").options == {"overlap": "0.3"}


def test_polygons_of_numbers_are_averaged_by_area_wherever_they_are_small(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gpkg", {"value": [1.0, 4.0]}, [box(0.1, 0.1, 0.3, 0.3), box(0.5, 0.5, 0.6, 0.7)])
    assert join(path).values[0] == pytest.approx((1.0 * 0.04 + 4.0 * 0.02) / 0.06)


def test_the_majority_of_a_chips_labels_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shapes = points((0.2, 0.5), (0.3, 0.5), (0.7, 0.5), (1.2, 0.5), (1.4, 0.5), (2.5, 0.5))
    path = save(tmp_path / "a.gpkg", {"label": ["a", "a", "b", "a", "b", "b"], "sure": [1, 1, 5, 2, 1, 0]}, shapes)
    with caplog.at_level(logging.WARNING, "geoembed"):
        joined = join(path)
    assert joined.values[[0, 2]].tolist() == [0, 1] and joined.known.sum() == 2
    assert {name: joined.counts[name] for name in ("chips_of_several_labels", "chips_disagreeing", "chips_tied")} == {
        "chips_of_several_labels": 2, "chips_disagreeing": 2, "chips_tied": 1,
    }  # fmt: skip
    assert "on 1 of 2 chips labels differ" in caplog.text
    # With weights, one label outweighs two; a weight of 0 is no label.
    weighted = join(path, weight="SURE")
    assert weighted.values[:2].tolist() == [1, 0] and weighted.known.sum() == 2
    assert weighted.counts["labels_without_weight"] == 1


def test_weights_count_in_means_and_by_chip_id(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save(tmp_path / "v.csv", {"chip_id": CHIPS[[0, 0, 1]], "value": [1.0, 4.0, 2.0], "w": [2.0, 1.0, 1.0]})
    assert join(path, weight="w").values[:2].tolist() == [2.0, 2.0]
    assert join(path).values[:2].tolist() == [2.5, 2.0]
    alone = save(tmp_path / "l.csv", {"chip_id": CHIPS[:2], "label": [0, 1], "w": [2.0, 1.0]})
    with caplog.at_level(logging.WARNING, "geoembed"):
        join(alone, weight="w")
    assert "no chip has several labels, so column w changes nothing" in caplog.text
    for weight, words in (("x", "it has label, w; name another with --weight"), ("chip_id", "no weights")):
        with pytest.raises(LabelError, match=words):
            join(alone, weight=weight)


def test_labels_beside_the_chips_say_where_they_lie(tmp_path: Path) -> None:
    there = geopandas.GeoSeries(points((0.5, 0.5), (1.5, 0.5)), crs=LATTICE.crs).to_crs("EPSG:4326")
    swapped = {"label": [0, 1], "lon": there.y, "lat": there.x}
    with pytest.raises(LabelError, match="but 2 do with x and y exchanged"):
        join(save(tmp_path / "a.csv", swapped))
    with pytest.raises(LabelError, match=r"at 1 to 2 degrees east and 3 to 4 north, the chips at 8\.7"):
        join(save(tmp_path / "b.csv", {"label": [0, 1], "lon": [1.0, 2.0], "lat": [3.0, 4.0]}))


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
        (save(tmp_path / "a.gpkg", {"lable": [0, 1]}, two_points), "it has lable; did you mean lable"),
        (save(tmp_path / "b.gpkg", {"label": [0.5, 1]}, two_points), "holds fractions"),
        (save(tmp_path / "c.gpkg", {"value": ["x", "y"]}, two_points), "not numbers"),
        (save(tmp_path / "d.csv", {"label": [0, 1]}), "neither a column chip_id nor geometry nor coordinates"),
        (save(tmp_path / "f.gpkg", {"label": [0, 1]}, points((50, 50), (51, 51))), "no label lies on a chip"),
        (save(tmp_path / "g.csv", {"chip_id": ["q"], "label": [1]}), "none of its chip_id"),
        (tmp_path / "none.gpkg", "no such label file"),
    ]
    for path, words in cases:
        with pytest.raises(LabelError, match=words):
            join(path)
    (tmp_path / "text.gpkg").write_text("no")
    with pytest.raises(LabelError, match="cannot be read as a vector file"):
        join(tmp_path / "text.gpkg")
    with pytest.warns(UserWarning, match="crs"):
        geopandas.GeoDataFrame({"label": [0, 1]}, geometry=two_points).to_file(tmp_path / "h.fgb", driver="FlatGeobuf")
    with pytest.raises(LabelError, match="no CRS; name it with --crs"):
        join(tmp_path / "h.fgb")


def test_polygons_agree_with_an_overlay_of_geopandas(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    xy, radius = rng.uniform(0, [4, 3], (80, 2)), rng.uniform(0.05, 0.6, 80)
    circles = shapely.buffer(points(*map(tuple, xy.tolist())), radius * 320)
    path = save(tmp_path / "a.gpkg", {"label": rng.choice(list("abc"), 80)}, circles)
    corners = [(c, r) for r in range(3) for c in range(4)]
    chips = geopandas.GeoDataFrame(
        {"chip": range(12)}, geometry=[box(c, r, c + 1, r + 1) for c, r in corners], crs=LATTICE.crs
    )
    dissolved = geopandas.read_file(path).dissolve("label", as_index=False)
    pieces = chips.overlay(dissolved, keep_geom_type=True)
    areas = pieces.assign(area=pieces.area / 320**2).pivot_table("area", "chip", "label", fill_value=0.0)
    for overlap, share in (("any", 0.0), (0.3, 0.3), ("half", 0.5)):
        joined = join(path, overlap=overlap)
        winners = {chip: str(row.idxmax()) for chip, row in areas.iterrows() if row.max() > share}
        expected = [winners.get(chip) for chip in range(12)]
        assert [None if np.isnan(v) else joined.classes[int(v)] for v in joined.values] == expected
        assert joined.counts["chips_disagreeing"] == int(((areas > share).sum(axis=1) > 1).sum())


def test_collections_are_their_parts(tmp_path: Path) -> None:
    inner = shapely.geometrycollections([shapely.multipoints(points((1.5, 0.5), (2.5, 0.5))), box(3, 0, 4, 1)])
    line = shapely.linestrings(shapely.get_coordinates(points((0, 2), (4, 2))))
    collection = shapely.geometrycollections([inner, line, *points((0.5, 0.5))])
    joined = join(save(tmp_path / "a.gpkg", {"label": ["a", "b"]}, [collection, *points((0.5, 1.5))]))
    assert joined.classes == ("a", "b")
    assert joined.values[:5].tolist() == [0, 0, 0, 0, 1] and joined.known.sum() == 5


UNDEFINED = "UPDATE {} SET srs_id = -1"
LOCAL = 'LOCAL_CS["site",LOCAL_DATUM["site",0],UNIT["metre",1],AXIS["X",EAST],AXIS["Y",NORTH]]'


@pytest.mark.parametrize(
    ("crs", "words"),
    [
        (LOCAL, "its CRS, site, leads to no place on the Earth; name it with --crs"),
        ("ESRI:104905", "leads to no place on the Earth"),
        ("EPSG:4326", "coordinates from 480160 .* cannot be degrees as its CRS"),
        (None, "has no CRS; name it with --crs"),
    ],
)
@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_a_crs_that_leads_nowhere_is_told(tmp_path: Path, crs: str | None, words: str) -> None:
    path = save(tmp_path / "a.gpkg", {"label": ["a", "b"]}, points((0.5, 0.5), (1.5, 0.5)), crs)
    with pytest.raises(LabelError, match=words):
        join(path)
    if crs != "EPSG:4326" and crs != "ESRI:104905":  # what is given is the CRS of what has none
        assert join(path, crs=LATTICE.crs).values[:2].tolist() == [0, 1]


def test_a_geopackage_of_undefined_crs_takes_the_one_given(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gpkg", {"label": ["a", "b"]}, points((0.5, 0.5), (1.5, 0.5)))
    with closing(sqlite3.connect(path)) as base, base:
        for table in ("gpkg_geometry_columns", "gpkg_contents"):
            base.execute(UNDEFINED.format(table))
    with pytest.raises(LabelError, match="Undefined Cartesian SRS, leads to no place on the Earth; name it with --crs"):
        join(path)
    assert join(path, crs=LATTICE.crs).values[:2].tolist() == [0, 1]


def test_heights_do_not_matter(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gpkg", {"label": ["a", "b"]}, points((0.5, 0.5), (1.5, 0.5)), "EPSG:32632+5773")
    assert join(path).values[:2].tolist() == [0, 1]


def test_a_point_at_infinity_is_on_no_chip(tmp_path: Path) -> None:
    shapes = [*points((0.5, 0.5), (1.5, 0.5)), shapely.Point(np.inf, 0)]
    joined = join(save(tmp_path / "a.gpkg", {"label": ["a", "b", "a"]}, shapes))
    assert joined.values[:2].tolist() == [0, 1] and joined.counts["labels_unmatched"] == 1


def test_lines_label_nothing(tmp_path: Path) -> None:
    line = shapely.linestrings(shapely.get_coordinates(points((0, 2), (4, 2))))
    with pytest.raises(LabelError, match="has no points or polygons"):
        join(save(tmp_path / "a.gpkg", {"label": ["a", "b"]}, [line, None]))


def test_codes_that_are_floats_because_of_null_are_whole(tmp_path: Path) -> None:
    shapes = points((0.5, 0.5), (1.5, 0.5), (2.5, 0.5))
    codes = pd.array([8212000, 8212001, None], dtype="Int64")
    joined = join(save(tmp_path / "a.gpkg", {"label": codes}, shapes))
    assert joined.classes == (8212000, 8212001) and joined.values[:2].tolist() == [0, 1]


@pytest.mark.parametrize("number", [2**63, 2**64 - 2, 10**25])
def test_classes_that_no_column_of_integers_holds_are_texts(tmp_path: Path, number: int) -> None:
    chip_ids = ids(LATTICE, 6, 5)
    labels = [str(number + i % 2) for i in range(len(chip_ids))]
    pd.DataFrame({"chip_id": chip_ids, "label": labels}).to_csv(tmp_path / "a.csv", index=False)
    joined = targets.join(files.read(tmp_path / "a.csv"), chip_ids, (LATTICE,))
    assert joined.classes == (str(number), str(number + 1))
    assert joined.values.tolist() == [i % 2 for i in range(len(chip_ids))]


def test_ids_of_chips_that_are_numbers(tmp_path: Path) -> None:
    ids_of_chips = np.array(["8212000", "8212001"], dtype=object)
    table = pd.DataFrame({"chip_id": [8212001.0, 8212000.0, np.nan], "label": ["a", "b", "a"]})
    pyogrio.write_dataframe(table, tmp_path / "a.gpkg", layer="mine")
    joined = targets.join(files.read(tmp_path / "a.gpkg"), ids_of_chips, (LATTICE,))
    assert joined.values.tolist() == [1, 0] and joined.counts["labels_unmatched"] == 1


def test_classes_that_may_be_a_mistake_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chip_ids = ids(LATTICE, 6, 5)
    for labels, words in (
        (["Water", "water", "crops"] * 10, "Water, water are different classes; rename them if they are one"),
        ([f"parcel {i}" for i in range(30)], "column label holds 30 classes in 30 rows; name another with --target"),
        (["water", "crops", "trees"] * 10, ""),
    ):
        caplog.clear()
        pd.DataFrame({"chip_id": chip_ids, "label": labels}).to_csv(tmp_path / "a.csv", index=False)
        targets.join(files.read(tmp_path / "a.csv"), chip_ids, (LATTICE,))
        assert words in caplog.text and bool(words) == ("class" in caplog.text)
