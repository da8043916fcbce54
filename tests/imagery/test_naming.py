import numpy as np
import pydantic
import pytest
from conftest import WriteRaster

from geoembed.errors import ImageryError
from geoembed.imagery import naming, rasters
from geoembed.imagery.modalities import BUILT_IN, Modality, Source

CHANNELS = {modality.name: modality.channels for modality in BUILT_IN}
S2 = 'names = ["jja_red", "jja_green", "jja_blue"]'


@pytest.mark.parametrize(
    ("modality", "count", "lines"),
    [
        ("s2", 3, S2),
        ("s2", 10, f"bands = [3, 2, 1] and {S2}"),
        ("s2", 12, f"bands = [4, 3, 2] and {S2}"),
        ("s2", 13, f"bands = [4, 3, 2] and {S2}"),
        ("s1", 1, 'names = ["jja_vv"]'),
        ("s1", 2, 'names = ["jja_vv", "jja_vh"]'),
        ("s1", 8, 'names = ["djf_vv", "djf_vh", "mam_vv", "mam_vh", "jja_vv", "jja_vh", "son_vv", "son_vh"]'),
        ("coh", 1, 'names = ["jja_coh12"]'),
        ("coh", 4, 'names = ["jja_coh12", "jja_coh24", "jja_coh36", "jja_coh48"]'),
        ("dem", 1, 'names = ["dem"]'),
        ("dem", 2, 'names = ["dem_1", "dem_2"]'),
    ],
)
def test_the_lines_fit_the_number_of_bands(modality: str, count: int, lines: str) -> None:
    remedy = naming.remedy(modality, CHANNELS.get(modality, ()), count)
    assert remedy.startswith(f"write {lines} under [modalities.{modality}] in geoembed.toml, ")


def test_what_is_assumed_is_said() -> None:
    assert "Sentinel-2's B01 B02 B03 B04 ... in this order (check it)" in naming.remedy("s2", CHANNELS["s2"], 12)
    assert "jja is an example of the season" in naming.remedy("s2", CHANNELS["s2"], 12)


@pytest.mark.parametrize(("modality", "count"), [("s2", 1), ("s2", 4), ("s2", 40), ("s1", 3), ("coh", 5)])
def test_where_nothing_can_be_known_no_list_is_proposed(modality: str, count: int) -> None:
    remedy = naming.remedy(modality, CHANNELS[modality], count)
    assert ("bands = [...], the numbers of those to use" in remedy) == (count > 1)
    assert "names = [...]" in remedy and '["' not in remedy


def test_twelve_bands_that_were_chosen_are_four_seasons() -> None:
    assert naming.remedy("s2", CHANNELS["s2"], 12, chosen=True).count("_red") == 4


@pytest.mark.parametrize("description", ["../red", "/vsimem/red", "red\u202e", "r" * 201])
def test_descriptions_that_cannot_be_names_are_refused(write_raster: WriteRaster, description: str) -> None:
    path = write_raster("s2.tif", np.ones((2, 4, 4), "uint8"), names=("jja_red", description))
    with pytest.raises(ImageryError, match=r"its description .* cannot be a name, .*; write names = "):
        rasters.read(Modality("s2"), Source(), str(path))
    with pytest.raises(pydantic.ValidationError, match="cannot be a name"):
        pydantic.TypeAdapter(Source).validate_python({"source": str(path), "names": ["jja_red", description]})
