import math
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from conftest import WriteRaster, drivers, require

from geoembed.errors import ImageryError
from geoembed.ground import crs
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


def test_folders_and_globs_list_all_that_is_a_raster_by_its_suffix(write_raster: WriteRaster, tmp_path: Path) -> None:
    path = write_raster("f/a.tif", ONE, names=("jja_red",))
    (tmp_path / "f" / "._a.tif").write_bytes(b"of macOS")
    (tmp_path / "f" / "a.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    names = ["a.tif"]
    for driver, name in (("HFA", "b.img"), ("VRT", "c.vrt"), ("netCDF", "d.nc"), ("JP2OpenJPEG", "e.jp2")):
        if driver in drivers():
            rasterio.shutil.copy(path, tmp_path / "f" / name, driver=driver)
            names.append(name)
    with zipfile.ZipFile(tmp_path / "f" / "z.zip", "w") as archive:
        archive.write(path, "deep/a.tif")
    names.append("a.tif")
    for address in ("f", "f/*"):
        opened = sources.find(placed(S2, tmp_path / address, names=("jja_red",)))
        assert [Path(one.address).name for one in opened] == names
        assert all(one.path.is_file() for one in opened)
    rasterio.shutil.copy(path, tmp_path / "f" / "odd.bil", driver="EHdr")
    assert [one.path.name for one in sources.find(placed(S2, tmp_path / "f/*.bil", names=("jja_red",)))] == ["odd.bil"]


def test_an_archive_is_the_one_raster_in_it(write_raster: WriteRaster, tmp_path: Path) -> None:
    path = write_raster("a.tif", ONE, names=("jja_red",))
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        archive.write(path, "d/a.tif")
        archive.writestr("__MACOSX/d/._a.tif", "of macOS")
        archive.writestr("d/readme.txt", "text")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.write(path, "a.tif")
        archive.write(path, "b.tif")
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("readme.txt", "text")
    (tmp_path / "bad.zip").write_text("text")
    (raster,) = sources.find(placed(S2, tmp_path / "one.zip"))
    assert raster.address == f"/vsizip/{tmp_path}/one.zip/d/a.tif"
    assert raster.files == (str(tmp_path / "one.zip"),)
    for name, fault in (
        ("two.zip", r"holds 2 rasters; name one, such as /vsizip/.*/two.zip/a.tif"),
        ("none.zip", "holds no raster"),
        ("bad.zip", "cannot be read as a zip archive"),
    ):
        with pytest.raises(ImageryError, match=f"{name}: {fault}"):
            sources.find(placed(S2, tmp_path / name))


def test_a_file_of_several_data_sets_names_one(write_raster: WriteRaster, tmp_path: Path) -> None:
    require("netCDF")
    path = write_raster("a.tif", np.ones((2, 4, 4), "int16"), nodata=-1)
    rasterio.shutil.copy(path, tmp_path / "a.nc", driver="netCDF")
    with pytest.raises(ImageryError, match=r"a.nc: holds no bands of its own; name .* such as netcdf:.*a.nc:Band1"):
        sources.find(placed(S2, tmp_path / "a.nc"))
    (raster,) = sources.find(placed(S2, f"netcdf:{tmp_path}/a.nc:Band2", names=("jja_red",)))
    assert (raster.count, raster.encodings[0].nodata, raster.path) == (1, -1, tmp_path / "a.nc")


def test_all_files_that_a_data_set_reads_are_told(write_raster: WriteRaster, tmp_path: Path) -> None:
    path = write_raster("below/a.tif", ONE, names=("jja_red",))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(np.ones((4, 4), bool))
    Path(f"{path}.aux.xml").write_text('<PAMDataset><Metadata><MDI key="A">b</MDI></Metadata></PAMDataset>')
    rasterio.shutil.copy(path, tmp_path / "inner.vrt", driver="VRT")
    text = (tmp_path / "inner.vrt").read_text()
    (tmp_path / "outer.vrt").write_text(text.replace("below/a.tif", "inner.vrt"))
    (raster,) = sources.find(placed(S2, tmp_path / "outer.vrt"))
    names = [Path(file).name for file in raster.files]
    assert names[0] == "outer.vrt"
    assert set(names[1:]) == {"inner.vrt", "a.tif", "a.tif.msk", "a.tif.aux.xml"}
    (raster,) = sources.find(placed(S2, path))
    assert [Path(file).name for file in raster.files] == ["a.tif", "a.tif.msk", "a.tif.aux.xml"]


def test_an_infinite_tag_of_doubles_is_the_largest_number(write_raster: WriteRaster, tmp_path: Path) -> None:
    path = write_raster("a.tif", ONE.astype("float64"), names=("jja_red",))
    with rasterio.open(path, "r+") as file:
        file.nodata = -math.inf  # as -1.797693134862316e+308 is read
    (raster,) = sources.find(placed(S2, path))
    assert raster.encodings[0].nodata == -np.finfo("float64").max


def test_an_address_on_the_net_stays_whole(tmp_path: Path) -> None:
    for address in ("https://127.0.0.1:1/s2/a.tif", "/vsicurl/https://127.0.0.1:1/s2/a.tif", "netcdf:none.nc:red"):
        with pytest.raises(ImageryError, match=f"^{address}: cannot be read as a raster"):
            sources.find(placed(S2, address))


def test_first_bands_of_several_are_in_name_order_and_each_once(write_raster: WriteRaster, tmp_path: Path) -> None:
    for name in ("a-b/c.tif", "a/b.tif", "a/z.tif"):
        write_raster(name, np.ones((2, 4, 4), "uint8"), scale=0.1)
    locations = [str(tmp_path / "a-b/c.tif"), str(tmp_path / "a"), str(tmp_path / "a" / "." / "b.tif")]
    opened = sources.first_bands(locations, scaled=True)
    assert [str(one.path.relative_to(tmp_path)) for one in opened] == ["a/b.tif", "a/z.tif", "a-b/c.tif"]
    assert {(one.bands, one.count, one.encodings[0].scale) for one in opened} == {((1,), 2, 0.1)}
    assert sources.first_bands(locations, scaled=False)[0].encodings[0].scale == 1.0


def test_heights_are_left_out_of_a_crs(write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", ONE, crs="EPSG:32632+5773", names=("jja_red",))
    (raster,) = sources.find(placed(S2, path))
    assert crs.same(raster.crs, "EPSG:32632")


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
        opened = sources.find(placed(COH, place))
        assert [one.channels for one in opened] == [("jja_coh12",), ("djf_coh48",)]
        assert np.allclose(opened[0].bounds, (-90.0, 47.0, -89.0, 48.0))
        assert opened[0].encodings[0].scale == 0.01
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


@pytest.mark.parametrize(
    "what", ["missing", "text", "no crs", "no names", "twice", "bands", "too many names", "complex", "upside down"]
)
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
    elif what == "complex":
        write_raster("bad.tif", ONE.astype("complex64"), names=("jja_red",))
    elif what == "upside down":
        write_raster("bad.tif", ONE, names=("jja_red",))
        with rasterio.open(path, "r+") as file:
            file.transform = rasterio.Affine(10.0, 0.0, 500_000.0, 0.0, 10.0, 5_000_000.0)
    faults = {
        "missing": "no such raster",
        "text": "cannot be read as a raster",
        "no crs": "has no CRS",
        "no names": "bands without description; write names",
        "twice": "two bands have one description",
        "bands": "has 1 bands, no band 2",
        "too many names": "1 bands but 2 names",
        "complex": "band 1 is complex; give its amplitude",
        "upside down": "is not north up; warp it first",
    }
    with pytest.raises(ImageryError, match=f"bad.tif.*{faults[what]}"):
        sources.find(placed(S2, path, **keys))
    if what in ("missing", "text", "no crs", "complex", "upside down"):
        with pytest.raises(ImageryError, match=f"bad.tif.*{faults[what]}"):
            sources.first_bands([str(path)], scaled=True)
