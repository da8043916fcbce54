"""What a VRT may name, and what nothing may fetch; damaged and absurd rasters are a line each."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from conftest import WriteRaster, require
from loopback import Server

from geoembed.errors import ImageryError
from geoembed.imagery import hdf5, modalities, rasters, samples, sources
from geoembed.imagery.drivers import WARY, Trust
from geoembed.imagery.windows import Readers

ONE = np.ones((1, 16, 16), "uint8")
HEAD = (
    '<VRTDataset rasterXSize="16" rasterYSize="16"><SRS>EPSG:32632</SRS>'
    "<GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform>"
)


def vrt(name: str, *, relative: int = 1, more: str = "", tag: str = "SourceFilename") -> str:
    source = f'<SimpleSource><{tag} relativeToVRT="{relative}">{name}</{tag}><SourceBand>1</SourceBand></SimpleSource>'
    return f'{HEAD}{more}<VRTRasterBand dataType="Byte" band="1">{source}</VRTRasterBand></VRTDataset>'


def read(path: Any, trust: Trust = WARY) -> float:
    (raster,) = sources.first_bands([str(path)], scaled=True, trust=trust)
    return float(samples.values(raster, Readers())["value"].sum())


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def folder(write_raster: WriteRaster, tmp_path: Path) -> Path:
    """A folder with a raster in it and one below; another lies outside."""
    for name in ("in/a.tif", "in/below/b.tif", "out.tif"):
        write_raster(name, ONE)
    return tmp_path / "in"


@pytest.mark.parametrize(
    "text",
    [
        vrt("a.tif"), vrt("below/b.tif"), vrt("below/../a.tif"), vrt("{0}/a.tif", relative=0),
        vrt("a.tif", more="<Metadata><MDI key='u'>https://a.b/c</MDI></Metadata>"),
    ],
)  # fmt: skip
def test_files_beside_and_below_are_read(folder: Path, text: str) -> None:
    (folder / "v.vrt").write_text(text.replace("{0}", str(folder)))
    assert read(folder / "v.vrt") == 256
    (folder / "v.vrt").rename(folder / "v.tif")  # by its content, whatever its name
    assert read(folder / "v.tif") == 256
    (folder.parent / "link.vrt").symlink_to(folder / "v.tif")
    assert read(folder.parent / "link.vrt") == 256


@pytest.mark.parametrize(
    "text",
    [
        vrt("../out.tif"), vrt("{0}/out.tif"), vrt("{0}/out.tif", relative=0), vrt("&#46;&#46;/out.tif"),
        vrt("below/../../out.tif"), vrt("../out.tif", tag="sourcefilename"), vrt("<![CDATA[../out.tif]]>"),
        vrt("a.tif<!-- -->/../../out.tif"), vrt("/vsizip/{0}/a.zip/b.tif"), vrt("vrt://{0}/out.tif"),
        vrt('GTIFF_DIR:1:{0}/out.tif', relative=0), vrt("DERIVED_SUBDATASET:AMPLITUDE:a.tif", relative=0),
        vrt("&lt;VRTDataset&gt;"), vrt("link.tif/../../out.tif"),
        f'{HEAD[:-1]} subClass="VRTWarpedDataset"><GDALWarpOptions><SourceDataset>{{0}}/out.tif</SourceDataset>'
        "</GDALWarpOptions></VRTDataset>",
        f'{HEAD}<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand"><SourceFilename>../out.tif'
        "</SourceFilename></VRTRasterBand></VRTDataset>",
        vrt("a.tif", more="<Metadata domain='OVERVIEWS'><MDI key='OVERVIEW_FILE'>{0}/out.tif</MDI></Metadata>"),
        vrt("a.tif").replace("<SourceBand>", "<OpenOptions><OOI key='ROOT_PATH'>/x</OOI></OpenOptions><SourceBand>"),
        vrt("a.tif", more="<PixelFunctionCode>import os</PixelFunctionCode>"),
    ],
)  # fmt: skip
def test_files_elsewhere_are_refused(folder: Path, text: str) -> None:
    path = folder / "v.vrt"
    path.write_text(text.replace("{0}", str(folder.parent)))
    with pytest.raises(ImageryError, match=r"^.*v\.vrt: is (a VRT that names|no VRT that can be read)"):
        sources.first_bands([str(path)], scaled=True)


def test_the_user_may_allow_what_lies_elsewhere(folder: Path, tmp_path: Path) -> None:
    path = folder / "v.vrt"
    path.write_text(vrt("../out.tif"))
    with pytest.raises(ImageryError, match="write outside = true beside source"):
        read(path)
    assert read(path, Trust(outside=("/",))) == 256
    assert read(path, Trust(outside=(f"{tmp_path}{os.sep}",))) == 256
    with pytest.raises(ImageryError, match="names"):
        read(path, Trust(outside=("/elsewhere/",)))
    for value in ("true", '[".."]'):
        (folder / "g.toml").write_text(f'[modalities.x]\nsource = "v.vrt"\nnames = ["a"]\noutside = {value}\n')
        (modality,) = modalities.read(folder / "g.toml")
        assert sources.find(modality)[0].driver == "VRT"


def test_a_vrt_may_hold_others_but_not_itself(folder: Path) -> None:
    (folder / "below/v.vrt").write_text(vrt("b.tif"))
    (folder / "v.vrt").write_text(vrt("below/v.vrt"))
    assert read(folder / "v.vrt") == 256
    (folder / "below/v.vrt").write_text(vrt("../../out.tif"))
    with pytest.raises(ImageryError, match=r"below/v.vrt: is a VRT that names"):
        read(folder / "v.vrt")
    (folder / "below/v.vrt").write_text(vrt("../w.vrt"))
    (folder / "w.vrt").write_text(vrt("w.vrt"))
    with pytest.raises(ImageryError, match="holds itself"):
        read(folder / "w.vrt")
    laughs = '<!DOCTYPE a [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>' + vrt("a.tif")
    for text in (laughs, "<a>" * 100 + vrt("a.tif"), vrt("a.tif")[:200]):
        (folder / "w.vrt").write_text(text)
        with pytest.raises(ImageryError, match=r"w.vrt: is no VRT that can be read"):
            read(folder / "w.vrt")


def test_a_vrt_in_an_archive_names_what_is_in_it(folder: Path) -> None:
    archive = folder / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(folder / "a.tif", "deep/a.tif")
        file.writestr("deep/v.vrt", vrt("a.tif"))
        file.writestr("deep/w.vrt", vrt("../../in/a.tif"))
    assert read(f"/vsizip/{archive}/deep/v.vrt") == 256
    with pytest.raises(ImageryError, match=r"w.vrt: is a VRT that names"):
        read(f"/vsizip/{archive}/deep/w.vrt")


def test_rasters_call_nobody(folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"/vsicurl/{server.address}/a.tif"
    wms = f"<GDAL_WMS><Service name='TMS'><ServerUrl>{server.address}/${{z}}</ServerUrl></Service></GDAL_WMS>"
    (folder / "wms.xml").write_text(wms)
    texts = {"net.vrt": vrt(address), "wms.vrt": vrt("wms.xml"), "srs.vrt": vrt(address).replace("EPSG:32632", address)}
    for name, text in texts.items():
        (folder / name).write_text(text)
    content = (folder / "a.tif").read_bytes()
    for name, ending, text in (("m", ".msk", vrt(address)), ("o", ".ovr", wms), ("n", ".msk", wms)):
        (folder / f"{name}.tif").write_bytes(content)
        (folder / f"{name}.tif{ending}").write_text(text)
    (folder / "t.tif").write_bytes(content)
    with rasterio.open(folder / "t.tif", "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=address)
    before = server.calls
    names = [*texts, "wms.xml", "m.tif", "o.tif", "n.tif", "t.tif"]
    for location in (*(str(folder / name) for name in names), vrt(address), f"vrt://{folder}/wms.xml"):
        with pytest.raises(ImageryError) as told:
            read(location)
        assert "\n" not in str(told.value)
    monkeypatch.setattr("geoembed.imagery.vrt.check", lambda *_: None)  # the belt alone
    monkeypatch.setattr("geoembed.imagery.drivers.require_sidecars", lambda *_: None)
    for name in names:
        try:
            read(folder / name)
        except ImageryError:
            continue
    assert server.calls == before
    with pytest.raises(ImageryError):  # the user wrote this one
        read(f"{server.address}/a.tif")
    assert server.calls > before


def test_other_drivers_are_named_by_the_user(folder: Path) -> None:
    require("AAIGrid")
    require("GSAG")
    (folder / "a.asc").write_text("ncols 2\nnrows 2\nxllcorner 9\nyllcorner 45\ncellsize 1\n1 2\n3 4\n")
    (folder / "a.prj").write_text(rasterio.CRS.from_epsg(4326).to_wkt())
    assert read(folder / "a.asc") == 10
    (folder / "a.grd").write_text("DSAA\n2 2\n9.5 10.5\n45.5 46.5\n1 4\n3 4\n1 2\n")
    with pytest.raises(ImageryError, match=r"convert it to GeoTIFF, or name its driver"):
        read(folder / "a.grd")
    with rasters.dataset(str(folder / "a.grd"), Trust(("GSAG",))) as file:
        assert file.driver == "GSAG"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scale": 1e300}, "has a scale of 1e.300"),
        ({"offset": np.nan}, "an offset of nan"),
        ({"x": np.inf}, "coordinates that are not finite"),
        ({"crs": 'LOCAL_CS["site",UNIT["metre",1]]'}, "leads to no place on the Earth"),
    ],
)
def test_absurd_numbers_in_a_header(write_raster: WriteRaster, change: dict[str, Any], words: str) -> None:
    path = write_raster("a.tif", ONE, **change)
    with pytest.raises(ImageryError, match=f"a.tif: .*{words}"):
        read(path)


def test_absurd_sizes_end_at_once(tmp_path: Path) -> None:
    size = 2_000_000_000
    huge = HEAD.replace('"16"', f'"{size}"')
    (tmp_path / "a.vrt").write_text(vrt("none.tif").replace(HEAD, huge))
    with pytest.raises(ImageryError, match=r"a.vrt: "):
        read(tmp_path / "a.vrt")
    band = '<VRTRasterBand dataType="Byte" band="{}"/>'
    (tmp_path / "b.vrt").write_text(HEAD + "".join(map(band.format, range(1, 20_001))) + "</VRTDataset>")
    with pytest.raises(ImageryError, match="has 20,000 bands, more than 10,000"):
        read(tmp_path / "b.vrt")
    (tmp_path / "c.dat").write_bytes(b"\0" * 100)
    header = f"ENVI\nsamples = {size}\nlines = {size}\nbands = 1\ndata type = 1\ninterleave = bsq\nbyte order = 0\n"
    (tmp_path / "c.hdr").write_text(header)
    with pytest.raises(ImageryError, match=r"c.dat: cannot be read as a raster"):
        read(tmp_path / "c.dat")
    (tmp_path / "d.tif").write_bytes(_one_block(2**15, 10))
    with pytest.raises(ImageryError, match=r"d.tif: is stored in blocks of 11 GB"):
        read(tmp_path / "d.tif")


def _one_block(side: int, bands: int) -> bytes:
    """A GeoTIFF of `side` x `side` pixels in one deflated tile of all bands, of which there are only some bytes."""
    longs = {256: side, 257: side, 258: 8, 259: 8, 262: 1, 277: bands, 322: side, 323: side, 324: 8, 325: 4}
    tags = [(tag, 4, 1, value) for tag, value in longs.items()]
    doubles = np.array([1e-4, 1e-4, 0, 0, 0, 0, 9, 45, 0], "<f8").tobytes()
    keys = np.array([1, 1, 0, 2, 1024, 0, 1, 2, 2048, 0, 1, 4326], "<u2").tobytes()
    end = 16 + 2 + 12 * (len(tags) + 3) + 4
    tags += [(33550, 12, 3, end), (33922, 12, 6, end + 24), (34735, 3, 12, end + 72)]
    directory = b"".join(np.array(tag[:2], "<u2").tobytes() + np.array(tag[2:], "<u4").tobytes() for tag in tags)
    first = b"II*\0" + np.array([16], "<u4").tobytes() + b"x" * 8
    return first + np.array([len(tags)], "<u2").tobytes() + directory + b"\0" * 4 + doubles + keys


def test_a_heap_of_hdf5_without_an_end_is_told(folder: Path) -> None:
    require("netCDF")
    (folder / "a.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + b"GCOL\1\0\0\0" + (4096).to_bytes(8, "little") + b"\0" * 4080)
    with pytest.raises(ImageryError, match=r"a.nc: its HDF5 is damaged"):
        read(folder / "a.nc")


@pytest.mark.parametrize("kind", ["own", "linked", "outside", "virtual", "looped"])
def test_netcdf_takes_nothing_from_other_files(folder: Path, kind: str) -> None:
    """Else a file of imagery, sent by a stranger, could read any other on this machine."""
    require("netCDF")
    import h5py

    rasterio.shutil.copy(folder / "a.tif", folder / "a.nc", driver="netCDF", FORMAT="NC4")
    (folder / "secret").write_bytes(bytes(2**16))
    with h5py.File(folder / "a.nc", "r+") as file:
        name = next(name for name in file if name.startswith("Band1"))
        shape, dtype = file[name].shape, file[name].dtype
        size = file[name].size * dtype.itemsize
        if kind not in ("own", "looped"):
            del file[name]
        if kind == "linked":
            file["group/x"] = h5py.ExternalLink("b.nc", "/Band1")
        elif kind == "outside":
            file.create_dataset(name, shape, dtype, external=[(str(folder / "secret"), 0, size)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape, dtype)
            layout[:] = h5py.VirtualSource(folder / "b.nc", "Band1", shape)
            file.create_virtual_dataset(name, layout)
        elif kind == "looped":
            file.create_group("group")["again"] = file["/"]
            file["nowhere"] = h5py.SoftLink("/gone")
    if kind == "looped":
        assert hdf5.leading_out(str(folder / "a.nc")) is None
    elif kind == "own":
        assert read(folder / "a.nc") == 256
    else:
        with pytest.raises(ImageryError, match=r"a.nc: takes '/\S+' from another file.*; copy it into one file"):
            read(folder / "a.nc")


def test_boxes_of_jpeg_2000_that_lead_nowhere_are_not_walked_through(folder: Path) -> None:
    require("JP2OpenJPEG")
    rasterio.shutil.copy(folder / "a.tif", folder / "a.jp2", driver="JP2OpenJPEG")
    content = (folder / "a.jp2").read_bytes()
    for place in (40, 64, 68, 85):
        (folder / "b.jp2").write_bytes(content[:place] + bytes(4) + content[place + 4 :])
        try:
            assert read(folder / "b.jp2") == 256
        except ImageryError as error:
            assert "\n" not in str(error)
