from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import WriteRaster

from geoembed.errors import ImageryError
from geoembed.imagery import sources
from geoembed.imagery.modalities import BUILT_IN, Modality, Source

S2, S1, COH = BUILT_IN
ONE = np.ones((1, 4, 4), dtype="uint16")


def placed(modality: Modality, *paths: str | Path, **keys: object) -> Modality:
    return replace(modality, sources=(Source(tuple(map(str, paths)), **keys),))  # type: ignore[arg-type]


def test_folders_globs_and_lists_come_in_name_order(write_raster: WriteRaster, tmp_path: Path) -> None:
    for name in ("f/b.tif", "f/a.tif", "f/c.tiff", "g.tif"):
        write_raster(name, ONE, names=("jja_red",))
    (tmp_path / "f" / "notes.txt").write_text("no raster")
    for path in ("f", "f/*"):
        assert [one.path.name for one in sources.find(placed(S2, tmp_path / path))] == ["a.tif", "b.tif", "c.tiff"]
    both = sources.find(placed(S2, tmp_path / "g.tif", tmp_path / "f"))
    assert [one.path.name for one in both] == ["g.tif", "a.tif", "b.tif", "c.tiff"]


def test_bands_are_chosen_by_number_or_description(write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", np.ones((3, 4, 4), "int16"), names=("x", "jja_red", "jja_green"))
    (raster,) = sources.find(placed(S2, path, bands=("jja_green", 2)))
    assert (raster.bands, raster.channels) == ((3, 2), ("jja_green", "jja_red"))
    (raster,) = sources.find(placed(S2, path, bands=(1,), names=("djf_red",), scale=0.1, nodata=0.0))
    assert (raster.channels, raster.encodings[0].scale, raster.encodings[0].nodata) == (("djf_red",), 0.1, 0.0)


def test_scale_and_nodata_come_from_the_files_own_tags(write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", ONE, names=("jja_red",), scale=0.01, offset=-1.0, nodata=7)
    (raster,) = sources.find(placed(S2, path))
    assert (raster.encodings[0].scale, raster.encodings[0].offset, raster.encodings[0].nodata) == (0.01, -1.0, 7)


def test_seasonal_tiles_are_read_from_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "N48W090"
    folder.mkdir()
    for name in (
        "summer_vv_COH12",
        "winter_vv_COH48",
        "summer_vv_AMP",
        "summer_hh_AMP",
        "fall_vh_AMP",
        "summer_vv_rho",
    ):
        (folder / f"N48W090_{name}.tif").touch()
    for place in (tmp_path, folder, tmp_path / "*" / "*.tif"):
        found = sources.find(placed(COH, place))
        assert [one.channels for one in found] == [("jja_coh12",), ("djf_coh48",)]
        assert np.allclose(found[0].bounds, (-90.0, 47.0, -89.0, 48.0))
        assert found[0].encodings[0].scale == 0.01
    amplitude = sources.find(placed(S1, tmp_path))
    assert [one.channels for one in amplitude] == [("son_vh",), ("jja_vv",)]
    scale = amplitude[0].encodings[0].scale
    # The data set's manual: gamma0 dB = 20 log10(DN) - 83.
    assert 20 * np.log10(5000 * scale) == pytest.approx(20 * np.log10(5000) - 83)
    assert sources.find(placed(COH, tmp_path, resampling="nearest"))[0].resampling == "nearest"
    with pytest.raises(ImageryError, match="scale is known for the seasonal tiles"):
        sources.find(placed(COH, tmp_path, scale=0.5))
    with pytest.raises(ImageryError, match="no seasonal tiles for s2"):
        sources.find(placed(S2, tmp_path))


@pytest.mark.parametrize("what", ["missing", "text", "no crs", "no names", "twice", "bands", "too many names"])
def test_bad_rasters_are_named(write_raster: WriteRaster, tmp_path: Path, what: str) -> None:
    keys: dict[str, object] = {}
    path = tmp_path / "bad.tif"
    if what == "text":
        path.write_text("no raster")
    elif what == "no crs":
        write_raster("bad.tif", ONE, crs=None, names=("jja_red",))
    elif what == "no names":
        write_raster("bad.tif", ONE)
    elif what == "twice":
        write_raster("bad.tif", np.ones((2, 4, 4), "int16"), names=("jja_red", "jja_red"))
    elif what == "bands":
        write_raster("bad.tif", ONE, names=("jja_red",))
        keys = {"bands": (2,)}
    elif what == "too many names":
        write_raster("bad.tif", ONE)
        keys = {"names": ("a", "b")}
    faults = {
        "missing": "no such raster",
        "text": "cannot be read as a raster",
        "no crs": "has no CRS",
        "no names": "bands without description; name the channels",
        "twice": "two bands have one description",
        "bands": "has 1 bands, no band 2",
        "too many names": "1 bands but 2 names",
    }
    with pytest.raises(ImageryError, match=f"bad.tif.*{faults[what]}"):
        sources.find(placed(S2, path, **keys))
