"""Small pictures: their channels, their brightness, and the pixels of the PNG as read back."""

import base64

import numpy as np
import pytest
from rasterio.io import MemoryFile

from geoembed.chips import thumbnails
from geoembed.chips.thumbnails import Stretch
from geoembed.imagery import modalities

PLAIN = Stretch(np.zeros(3), np.ones(3))


def pixels(uri: str) -> np.ndarray:
    """Decode a data URI to (3, H, W)."""
    head, _, data = uri.partition(",")
    assert head == "data:image/png;base64"
    with MemoryFile(base64.b64decode(data)) as memory, memory.open() as file:
        assert file.driver == "PNG" and file.dtypes == ("uint8",) * 3
        return np.asarray(file.read())


@pytest.mark.parametrize(
    ("channels", "wanted"),
    [
        (("jja_blue", "jja_nir", "jja_green", "jja_red"), ("jja_red", "jja_green", "jja_blue")),
        (("djf_vv", "djf_vh", "jja_vv", "jja_vh"), ("djf_vv", "djf_vh")),
        (("mam_coh12", "mam_coh24", "mam_coh36", "mam_coh48"), ("mam_coh12", "mam_coh24", "mam_coh36")),
        (("elevation",), ("elevation",)),
        (("red", "green", "blue", "nir"), ("red", "green", "blue")),
        (("son_red", "jja_red", "jja_green", "jja_blue"), ("son_red",)),
    ],
)
def test_what_is_shown_comes_from_the_names(channels: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    assert thumbnails.shown(channels) == wanted


def test_built_in_modalities_are_shown_in_their_first_season() -> None:
    found = {one.name: thumbnails.shown(one.channels) for one in modalities.BUILT_IN}
    assert found["s2"] == ("djf_red", "djf_green", "djf_blue") and found["s1"] == ("djf_vv", "djf_vh")


def test_a_small_chip_is_repeated() -> None:
    values = np.random.default_rng(0).random((3, 32, 32)).astype(np.float32)
    found = pixels(thumbnails.uri(values, PLAIN))
    assert found.shape == (3, 96, 96)
    np.testing.assert_array_equal(found[:, 1::3, 1::3], np.round(values.astype(float) * 255))
    np.testing.assert_array_equal(found[:, ::3, 2::3], found[:, 1::3, ::3])


def test_a_chip_of_fitting_size_is_kept() -> None:
    assert pixels(thumbnails.uri(np.zeros((3, 100, 100), np.float32), PLAIN)).shape == (3, 100, 100)


def test_a_large_chip_is_averaged_over_valid_pixels() -> None:
    values = np.random.default_rng(1).random((3, 448, 448)).astype(np.float32)
    values[:, 0, :2] = np.nan
    found = pixels(thumbnails.uri(values, PLAIN))
    wanted = np.nanmean(values.astype(float).reshape(3, 112, 4, 112, 4), axis=(2, 4))
    assert np.abs(found - wanted * 255).max() <= 0.5 + 1e-3


def test_where_pixels_do_not_fit_each_is_averaged_with_those_of_its_place() -> None:
    values = np.random.default_rng(2).random((1, 128, 128)).astype(np.float32)
    values[0, 40:60, 40:60] = np.nan
    found = pixels(thumbnails.uri(values, Stretch(np.zeros(1), np.ones(1))))
    assert found.shape == (3, 112, 112)
    at = ((np.arange(128) + 0.5) / 128 * 112).astype(int)  # the picture's pixel that a pixel's centre lies in
    sums, counts = np.zeros((2, 112, 112))
    valid = ~np.isnan(values[0])
    np.add.at(sums, np.ix_(at, at), np.nan_to_num(values[0]))
    np.add.at(counts, np.ix_(at, at), valid)
    wanted = np.where(counts > 0, 255 * sums / np.maximum(counts, 1), 128)
    assert np.abs(found - wanted).max() <= 0.5 + 1e-3 and (counts == 0).any()


def test_invalid_is_mid_grey_in_all_bands() -> None:
    values = np.zeros((3, 112, 112), np.float32)
    values[1, :50] = np.nan
    found = pixels(thumbnails.uri(values, PLAIN))
    assert (found[:, :50] == 128).all() and (found[:, 50:] == 0).all()


def test_one_channel_is_grey_and_of_two_the_third_is_their_difference() -> None:
    one = np.full((1, 112, 112), 0.25, np.float32)
    assert (pixels(thumbnails.uri(one, Stretch(np.zeros(1), np.ones(1)))) == 64).all()
    two = np.stack([np.full((112, 112), -9.0), np.full((112, 112), -15.0)]).astype(np.float32)
    stretch = Stretch(np.array([-20.0, -25.0, 0.0]), np.array([0.0, -5.0, 8.0]))
    assert pixels(thumbnails.uri(two, stretch))[:, 0, 0].tolist() == [140, 128, 191]


def test_stretch_is_between_percentiles() -> None:
    rng = np.random.default_rng(3)
    found = [rng.normal(size=(2, 16, 16)).astype(np.float32) for _ in range(5)]
    found[0][:, :3] = np.nan
    stretch = thumbnails.stretch(found)
    every = np.concatenate([chip.reshape(2, -1) for chip in found], axis=1)
    every = np.concatenate([every, every[:1] - every[1:]])
    np.testing.assert_allclose(stretch.low, np.nanpercentile(every, 2, axis=1), rtol=1e-5)
    np.testing.assert_allclose(stretch.high, np.nanpercentile(every, 98, axis=1), rtol=1e-5)
    assert stretch.exponent == 1.0, "what spreads evenly stays linear"


def test_dark_places_beside_snow_are_brightened() -> None:
    dark = np.random.default_rng(4).uniform(0.0, 0.1, (3, 64, 64)).astype(np.float32)
    dark[:, :8] = 0.9
    stretch = thumbnails.stretch([dark])
    shares = stretch(np.median(dark, axis=(1, 2))[:, None, None].astype(float))
    np.testing.assert_allclose(shares, thumbnails.MIDDLE, atol=0.05)
    edges = stretch(np.array([-1.0, 2.0])[None, :, None].repeat(3, axis=0))
    assert (edges[:, 0] == 0).all() and (edges[:, 1] == 1).all()


def test_what_does_not_vary_is_grey_and_nothing_at_all_does_not_crash() -> None:
    flat = np.full((3, 112, 112), 0.3, np.float32)
    found = pixels(thumbnails.uri(flat, thumbnails.stretch([flat])))
    assert (found == 128).all()
    nothing = np.full((2, 20, 20), np.nan, np.float32)
    assert (pixels(thumbnails.uri(nothing, thumbnails.stretch([nothing]))) == 128).all()
