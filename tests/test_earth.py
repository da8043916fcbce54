"""The simulated Earth's parts, without a file."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from geoembed.earth import landscape, noise, optics, places, radar, relief, waters
from geoembed.earth.surfaces import CODES, LEGEND, Surface

SMALL = 384


@cache
def small(number: int) -> landscape.Landscape:
    return landscape.build(places.PLACES[number], np.random.default_rng([5, number]), SMALL)


def test_places_lie_in_five_zones_and_both_hemispheres() -> None:
    zones = {int((place.longitude + 180) // 6) for place in places.PLACES}
    assert len(zones) == 5
    assert {place.south for place in places.PLACES} == {True, False}
    assert all(abs(sum(place.crops) - 1) < 1e-9 for place in places.PLACES)


def test_seasons_are_reversed_in_the_south() -> None:
    north = next(place for place in places.PLACES if not place.south)
    south = next(place for place in places.PLACES if place.south)
    assert [north.phase(k) for k in range(4)] == [0, 1, 2, 3]
    assert [south.phase(k) for k in range(4)] == [2, 3, 0, 1]


def test_fractal_keeps_to_its_wavelengths() -> None:
    field = noise.fractal(np.random.default_rng(0), 256, 2.0, largest=64, smallest=4)
    power = np.abs(np.fft.rfft2(field)) ** 2
    k = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None])
    inside = (k >= 1 / 64) & (k <= 1 / 4)
    assert power[~inside].sum() < 1e-6 * power.sum()
    assert field.std() == pytest.approx(1, abs=1e-3)


def test_magnify_keeps_planes_and_edges() -> None:
    row, column = np.mgrid[0:20, 0:20].astype(float)
    large = noise.magnify(2 * row + column, 100)
    at = (np.arange(100) + 0.5) / 5 - 0.5
    want = 2 * at[:, None] + at[None, :]
    np.testing.assert_allclose(large[10:-10, 10:-10], want[10:-10, 10:-10], atol=1e-4)


def test_ranks_are_quantiles() -> None:
    field = np.random.default_rng(1).normal(size=(200, 200))
    rank = noise.ranks(field)
    assert np.mean(rank > 0.7) == pytest.approx(0.3, abs=0.01)


def test_hash_is_even_and_salted() -> None:
    ids = noise.mixed(np.arange(20_000))
    first, second = noise.uniform(ids, 1), noise.uniform(ids, 2)
    assert np.histogram(first, 10, (0, 1))[0].min() > 1800
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03


def test_water_drains_over_the_lowest_pass() -> None:
    height = np.full((9, 9), 10.0)
    height[4] = np.arange(9) * 0.1  # a valley that falls west
    height[4, 4] = 3.0  # with a bar across it, the lowest way out of its eastern half
    flow = relief.drain(height, outlet=4 * 9, inlet=4 * 9 + 8)
    cell, path = 4 * 9 + 8, []
    while cell != flow.receiver[cell]:
        path.append(cell % 9)
        cell = int(flow.receiver[cell])
    assert 4 * 9 + 4 in (4 * 9 + column for column in path)
    assert flow.cells[4 * 9] == 81
    assert flow.area[4 * 9] == 81 + relief.INFLOW
    at = int(np.flatnonzero(flow.order == 4 * 9 + 4)[0])
    below = flow.order[at : at + flow.cells[4 * 9 + 4]]
    assert 4 * 9 + 8 in below  # the basin of a cell is one run of the order


def test_meanders_lengthen_a_river_and_keep_its_ends() -> None:
    line = np.stack([np.full(1500, 50.0), np.arange(1500) * 0.6], 1)
    bent = waters.meandering(line, 60, 1.4, np.random.default_rng(0))
    length = np.hypot(*np.diff(bent, axis=0).T).sum()
    assert length > 1.2 * 900
    np.testing.assert_allclose(bent[[0, -1]], line[[0, -1]], atol=1e-6)


def test_landscape_is_the_same_for_the_same_seed() -> None:
    again = landscape.build(places.PLACES[0], np.random.default_rng([5, 0]), SMALL)
    other = landscape.build(places.PLACES[0], np.random.default_rng([6, 0]), SMALL)
    assert np.array_equal(again.surface, small(0).surface)
    assert np.array_equal(again.height, small(0).height)
    assert not np.array_equal(other.surface, small(0).surface)


def test_landscape_holds_every_task() -> None:
    for number in range(len(places.PLACES)):
        cover = small(number).worldcover
        assert set(np.unique(cover)) <= set(LEGEND)
        for classes in ([80], [10, 20, 30], [50], [40]):
            assert 0.01 < np.isin(cover, classes).mean() < 0.95, (number, classes)


def test_water_is_level() -> None:
    land = small(0)
    lake = land.depth > 0
    bottom = land.height - land.depth
    assert lake.any()
    assert np.abs(np.gradient(land.height)[0][lake]).max() < np.abs(np.gradient(bottom)[0][lake]).max()


def test_drawdown_dries_the_shore() -> None:
    land = small(2)
    wettest, driest = np.argmin(land.place.drawdown), np.argmax(land.place.drawdown)
    lake = land.depth > 0
    assert land.drowned(int(wettest))[lake].sum() > land.drowned(int(driest))[lake].sum()


def test_sunlight_favours_slopes_that_face_the_sun() -> None:
    rows, columns = np.mgrid[0:100, 0:100].astype(np.float32)
    hill = 300 * np.exp(-((rows - 50) ** 2 + (columns - 50) ** 2) / 200).astype(np.float32)
    light, shade = optics.sunlight(hill, 25, south=False)
    assert light[60, 50] > 1 > light[40, 50]  # northern half: the sun stands in the south
    assert shade[35, 46] > 0.5 > shade[65, 54]  # and shadows fall to the north
    light, shade = optics.sunlight(hill, 25, south=True)
    assert light[60, 50] < 1 < light[40, 50]
    flat, none = optics.sunlight(np.zeros((20, 20), np.float32), 25, south=True)
    assert np.allclose(flat, 1)
    assert not none.any()


def test_optics_give_reflectance_with_a_few_gaps() -> None:
    land = small(3)
    found = optics.observe(land, np.random.default_rng(0))
    assert list(found)[:3] == ["djf_red", "djf_green", "djf_blue"]
    assert len(found) == 12
    stack = np.stack(list(found.values()))
    valid = (stack > 0).all(0)
    assert 0.75 < valid.mean() < 0.99
    assert np.median(stack[:, valid]) / 10000 == pytest.approx(0.1, abs=0.07)
    leaf = land.surface == Surface.BROADLEAF
    bare = land.surface == Surface.SAND
    for season in places.SEASONS:
        red, green = found[f"{season}_red"], found[f"{season}_green"]
        assert np.median(red[leaf & valid]) < np.median(red[bare & valid])
        assert np.array_equal(red == 0, green == 0)


def test_speckle_has_its_stated_looks() -> None:
    level = {"jja_vv": np.full((400, 400), 0.1, np.float32)}
    seen = 10 ** (radar.amplitude(level, np.random.default_rng(0))["jja_vv"] / 1000)
    assert seen.mean() == pytest.approx(0.1 + radar.RESIDUE * radar.NOISE, rel=0.01)
    assert (seen.mean() / seen.std()) ** 2 == pytest.approx(radar.LOOKS, rel=0.05)


def test_coherence_estimate_has_the_bias_of_its_window() -> None:
    """For nought, the mean of the magnitude is B(L, 3/2) (L - 1) ... = Gamma(L) Gamma(3/2) / Gamma(L + 1/2)."""
    from scipy.special import gamma

    rng = np.random.default_rng(0)
    for looks in (4, 10):
        found = radar.estimated(np.zeros((300, 300), np.float32), looks, rng)
        assert found.mean() == pytest.approx(gamma(looks) * gamma(1.5) / gamma(looks + 0.5), rel=0.01)
    high = radar.estimated(np.full((300, 300), 0.9, np.float32), 10, rng)
    assert high.mean() == pytest.approx(0.9, abs=0.01)
    assert high.std() < found.std() / 2
    assert high.max() <= 1


def test_coherence_decays_and_water_has_none() -> None:
    land = small(4)
    rng = np.random.default_rng(0)
    powers = radar.power(land, rng)
    found = radar.coherence(land, powers, rng)
    assert len(found) == 16
    assert {values.shape for values in found.values()} == {(SMALL // 2, SMALL // 2)}
    blocks = land.surface.reshape(SMALL // 2, 2, SMALL // 2, 2)
    water = (blocks == Surface.WATER).all((1, 3)) & (land.depth[::2, ::2] > land.place.drawdown[0])
    rock = (blocks == Surface.ROCK).all((1, 3))
    floor = 0.886 / np.sqrt(radar.WINDOW)
    assert found["jja_coh12"][water].mean() / 100 == pytest.approx(floor, abs=0.02)
    means = [found[f"djf_coh{days}"][rock].mean() for days in radar.BASELINES]
    assert means == sorted(means, reverse=True)
    assert means[-1] / 100 > floor + 0.15


def test_towns_shine_only_when_streets_face_the_radar() -> None:
    land = small(1)
    gain = radar._corners(land)
    off = np.abs((radar.LOOK - (np.pi / 2 - land.street) + np.pi / 4) % (np.pi / 2) - np.pi / 4)
    roofs = land.surface == Surface.TILES
    square, askew = roofs & (off < 0.15), roofs & (off > 0.5)
    assert square.any()
    assert askew.any()
    assert gain[square].mean() > gain[askew].mean() + 4
    assert not gain[land.surface == Surface.WATER].any()


def test_every_surface_has_a_class_and_a_radar_signature() -> None:
    assert len(CODES) == len(Surface)
    assert set(radar.BACKSCATTER) == set(radar.MEMORY) == set(Surface)
