"""Vectors are matched to chips by their middles, or by the area in common."""

import numpy as np
import shapely

from geoembed.exchange import matching
from geoembed.ground.grid import Cells, utm

LATTICE = utm(32, south=False, size=10, resolution=10)  # 100 m
CELLS = Cells(
    (LATTICE,), np.zeros(4, np.int64), np.array([5000, 5001, 5000, 5001]), np.array([50000, 50000, 50001, 50001])
)
X, Y = 500_000.0, 5_000_000.0


def test_by_middles() -> None:
    shapes = np.array([shapely.Point(X + 50, Y + 50), shapely.box(X + 110, Y + 10, X + 130, Y + 30), None,
                       shapely.Point(X - 50, Y), shapely.Point(X + 20, Y + 20)], object)  # fmt: skip
    pairs = matching.match(shapes, "EPSG:32632", CELLS)
    assert pairs.vectors.tolist() == [0, 1, 4] and pairs.chips.tolist() == [0, 1, 0] and set(pairs.weights) == {1.0}
    assert pairs.within(slice(1, 4)) == slice(1, 2)


def test_by_area_where_footprints_are_larger() -> None:
    shapes = np.array([shapely.box(X, Y, X + 150, Y + 150), shapely.box(X + 150, Y, X + 400, Y + 200)], object)
    pairs = matching.match(shapes, "EPSG:32632", CELLS)
    found = dict(zip(zip(pairs.vectors.tolist(), pairs.chips.tolist(), strict=True), pairs.weights, strict=True))
    assert set(found) == {(0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 3)}
    np.testing.assert_allclose(
        np.array([found[0, 1], found[0, 3], found[1, 1]]) / found[0, 0], [0.5, 0.25, 0.5], atol=1e-3
    )
    assert matching.match(shapes, "EPSG:32632", CELLS, "centre").vectors.tolist() == [0]


def test_nothing_in_common_says_where_both_lie() -> None:
    text = matching.nowhere(np.array([shapely.Point(20.0, 10.0)], object), "EPSG:4326", CELLS)
    assert text == (
        "no vector lies on a chip: they lie at 20 to 20 degrees east and 10 to 10 north,"
        " the chips at 9.001 to 9.002 degrees east and 45.15 to 45.15 north"
    )
