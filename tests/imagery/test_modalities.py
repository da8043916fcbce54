import re
from pathlib import Path

import pytest

from geoembed.errors import ConfigError
from geoembed.imagery import modalities
from geoembed.imagery.catalogues import Seasonal, Stac


def read(tmp_path: Path, text: str, **located: tuple[str, ...]) -> tuple[modalities.Modality, ...]:
    path = tmp_path / "geoembed.toml"
    path.write_text(text)
    return modalities.read(path, located)


def test_the_built_in_three_have_36_channels() -> None:
    assert {one.name: len(one.channels) for one in modalities.BUILT_IN} == {"s2": 12, "s1": 8, "coh": 16}
    assert modalities.BUILT_IN[0].channels[:4] == ("djf_red", "djf_green", "djf_blue", "mam_red")


def test_a_fourth_modality_needs_a_table_not_a_patch(tmp_path: Path) -> None:
    text = '[modalities.dem]\nsource = "dem.tif"\nnames = ["height"]\nunit = "m"\nnodata = -9999\n'
    (dem,) = read(tmp_path, text)
    assert (dem.name, dem.unit, dem.decibel) == ("dem", "m", False)
    assert dem.sources[0].paths == (str(tmp_path / "dem.tif"),)
    assert dem.sources[0].nodata == -9999


def test_several_sources_take_what_they_share_from_the_table(tmp_path: Path) -> None:
    text = """
[modalities.s2]
scale = 0.0001
names = ["jja_red"]
[[modalities.s2.sources]]
source = ["a.tif", "b/*.tif"]
[[modalities.s2.sources]]
source = "c.tif"
offset = -0.1
"""
    (s2,) = read(tmp_path, text)
    assert [source.offset for source in s2.sources] == [None, -0.1]
    assert [source.scale for source in s2.sources] == [0.0001, 0.0001]
    assert s2.sources[0].paths == (str(tmp_path / "a.tif"), str(tmp_path / "b/*.tif"))
    with pytest.raises(ConfigError, match="several sources for s2"):
        read(tmp_path, text, s2=("d.tif",))


def test_source_replaces_only_where_imagery_lies(tmp_path: Path) -> None:
    (s2,) = read(tmp_path, '[modalities.s2]\nsource = "a.tif"\nscale = 0.1\n', s2=("here/b.tif",))
    assert (s2.sources[0].paths, s2.sources[0].scale) == (("here/b.tif",), 0.1)
    (coh,) = modalities.read(None, {"coh": ("tiles",)})
    assert coh.sources[0].paths == ("tiles",)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[modalities.s2]\nsuorce = "a"', "unknown key suorce; did you mean source?"),
        (
            '[modalities.s2]\nsource = "a"\nresampling = "bilinaer"',
            "resampling = 'bilinaer': input should be 'nearest'",
        ),
        ('[modalities.s2]\nsource = "a"\nscale = "x"', "scale = 'x': input should be a valid number"),
        ('[modalities.s2]\nsource = "a"\nscale = true', "scale = True: input should be a valid number"),
        ('[modalities.s2]\nsource = "a"\nbands = [1, 2]\nnames = ["x"]', "2 bands but 1 names"),
        ('[modalities.s2]\nsource = "a"\nnames = ["x", "x"]', "occurs twice"),
        ('[modalities.fused]\nsource = "a"', "cannot be a modality's name"),
        ('[modalities.s1]\nsource = "a"\nstored = "power"', "input should be 'value', 'db', 'linear' or 'amplitude'"),
        ("[modalities.s2.stac]\nyear = 1999", "[modalities.s2.stac]: year = 1999: input should be greater than"),
        ('[modalities.s2.stac]\nseasons = ["winter"]', "seasons = ['winter']: input should be 'djf'"),
        ("[modalities.s2.stac]\nyaer = 2020", "unknown key yaer; did you mean year?"),
        ("[modalities.s2.seasonal]", "holds s1 and coh alone"),
        ("[modalities.s1.seasonal]\n[modalities.s1.stac]", "has both stac and seasonal"),
        ("[modalities.s2]\nstac = 3", "stac = 3: input should be a valid dict"),
        ("modalities = 3", "modalities must be tables"),
        ("[modalities.s2]\nsource = 5", "source = 5: input should be a valid list"),
        ('[modalities.s2]\nsource = "a"\nbands = [1.5]', "bands = [1.5]: input should be a valid integer"),
        ('[modalities.s2]\nsource = "a"\nbands = []', "bands = []: list should have at least 1 item"),
        ('[modalities.s2]\nsource = "a"\nnames = [1, 2]', "names = [1, 2]: input should be a valid string"),
        ('[modalities.s2]\nsource = "a"\nunit = 5', "unit = 5: input should be a valid string"),
        ('[modalities.s2]\nsources = "a"', "sources = 'a': input should be a valid list"),
        ('[[modalities.s2.sources]]\nsource = "a"\nsclae = 1', "unknown key sclae; did you mean scale?"),
        ('[modalities.s2]\npaths = ["a"]', "unknown key paths"),
        ('[modalities.s2]\nsource = "a"\nscale = 0', "scale = 0 makes every value one"),
        ('[modalities.row]\nsource = "a"', "cannot be a modality's name"),
    ],
)
def test_bad_tables_are_told(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(fault)):
        read(tmp_path, text)


def test_an_unknown_modality_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no such modality; did you mean s1"):
        modalities.read(None, {"s11": ("a",)})


def test_with_nothing_said_the_built_in_three_are_fetched(tmp_path: Path) -> None:
    assert [type(modality.archive).__name__ for modality in read(tmp_path, "")] == ["Stac", "Seasonal", "Seasonal"]
    (s2,) = read(tmp_path, '[modalities.s2]\nsource = "a.tif"\n')
    assert s2.archive is None, "what is said is all there is"
    both = modalities.read(tmp_path / "geoembed.toml", wanted=("s2", "coh"))
    assert [(modality.name, modality.archive) for modality in both] == [("s2", None), ("coh", Seasonal())]


def test_files_and_a_catalogue_mix(tmp_path: Path) -> None:
    text = '[modalities.s2]\nsource = "a.tif"\n[modalities.s2.stac]\nyear = 2023\nassets = {nir = "nir"}\n'
    (s2,) = read(tmp_path, text)
    assert s2.sources[0].paths == (str(tmp_path / "a.tif"),)
    assert isinstance(s2.archive, Stac)
    assert (s2.archive.year, s2.archive.assets) == (2023, {"nir": "nir"})


def test_year_and_seasons_are_those_of_archives() -> None:
    s2, s1, _ = modalities.read(None, year=2023, seasons=("jja",))
    assert isinstance(s2.archive, Stac)
    assert (s2.archive.year, s2.archive.seasons) == (2023, ("jja",))
    assert s1.archive == Seasonal(seasons=("jja",))
    with pytest.raises(ConfigError, match="--modalities s22: no such modality; did you mean s2"):
        modalities.read(None, wanted=("s22",))
