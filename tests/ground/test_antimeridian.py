"""Shapes over 180 degrees."""

from __future__ import annotations

import pytest
import shapely

from geoembed.ground import antimeridian


@pytest.mark.parametrize("turn", [-360.0, 0.0, 360.0])
def test_a_shape_is_cut_where_longitudes_begin_anew(turn: float) -> None:
    cut = antimeridian.cut(shapely.box(178.0 + turn, 10.0, 183.0 + turn, 20.0))
    assert cut.equals(shapely.union(shapely.box(178, 10, 180, 20), shapely.box(-180, 10, -177, 20)))


def test_a_shape_that_ends_at_180_degrees_has_no_line_there() -> None:
    assert antimeridian.cut(shapely.box(-184.0, 10.0, -180.0, 20.0)).equals(shapely.box(176.0, 10.0, 180.0, 20.0))
    assert antimeridian.cut(shapely.box(180.0, 10.0, 184.0, 20.0)).geom_type == "Polygon"


def test_other_shapes_stay_as_they_are() -> None:
    box = shapely.box(-180.0, -90.0, 180.0, 90.0)
    assert antimeridian.cut(box) is box


def test_parts_are_joined() -> None:
    parts = antimeridian.cut(shapely.box(178.0, 10.0, 183.0, 20.0))
    assert antimeridian.joined(parts).bounds == (178.0, 10.0, 183.0, 20.0)
