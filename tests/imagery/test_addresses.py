import glob
from pathlib import Path

import pytest

from geoembed.imagery import addresses

FOREIGN = (
    "https://host/a/b.tif",
    "s3://bucket/a/b.tif",
    "/vsicurl/https://host/a.tif",
    "/vsis3/bucket/a.tif",
)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        *((address, address) for address in FOREIGN),
        ("s2/*.tif", "below/s2/*.tif"),
        ("/data/s2.tif", "/data/s2.tif"),
        ("netcdf:s2.nc:red", "netcdf:below/s2.nc:red"),
        ("netcdf:/data/s2.nc:red", "netcdf:/data/s2.nc:red"),
        ('HDF5:"s2.h5"://group/red', 'HDF5:"below/s2.h5"://group/red'),
        ("GTIFF_DIR:2:s2.tif", "GTIFF_DIR:2:below/s2.tif"),
        ("/vsizip/s2.zip/a.tif", "/vsizip/below/s2.zip/a.tif"),
        ("/vsizip//data/s2.zip/a.tif", "/vsizip//data/s2.zip/a.tif"),
        ("/vsitar/{s2.tar.gz}/a.tif", "/vsitar/{below/s2.tar.gz}/a.tif"),
    ],
)
def test_relative_paths_are_relative_to_the_settings_file(address: str, expected: str) -> None:
    assert addresses.resolve(Path("below"), address) == expected


def test_a_file_with_a_colon_in_its_name_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "scene:2020.tif"
    path.touch()
    assert addresses.resolve(tmp_path, "scene:2020.tif") == str(path)
    assert addresses.is_path(str(path))
    assert addresses.stem(str(path)) == "scene:2020"


def test_what_only_gdal_understands_is_no_path() -> None:
    for address in (*FOREIGN, "netcdf:a.nc:b", "/vsizip/a.zip/b.tif", "GTIFF_DIR:1:a.tif"):
        assert not addresses.is_path(address)
    for address in ("a.tif", "/data/*.tif", "C:/data/a.tif", "./a"):
        assert addresses.is_path(address)


def test_the_local_file_behind_an_address(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.touch()
    assert addresses.local_file(str(archive)) == str(archive)
    assert addresses.local_file(f"/vsizip/{archive}/deep/b.tif") == str(archive)
    assert addresses.local_file(f"/vsizip/{{{archive}}}/b.tif") == str(archive)
    for address in (*FOREIGN, str(tmp_path / "none.tif"), "/vsizip/none.zip/b.tif"):
        assert addresses.local_file(address) is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("data/cover.tif", "cover"),
        ("netcdf:data/climate.nc:height", "height"),
        ('HDF5:"a.h5"://group/height', "height"),
        ("GTIFF_DIR:2:cover.tif", "cover"),
        ("/vsizip/data/a.zip/cover.tif", "cover"),
        ("https://host:8080/a/cover.tif?token=x", "cover"),
    ],
)
def test_the_name_of_an_address(address: str, expected: str) -> None:
    assert addresses.stem(address) == expected


@pytest.mark.parametrize("name", ["run [1]", "a*b", "what?", "plain"])
def test_globs_in_a_folder_whose_name_looks_like_one(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    (folder / "s2").mkdir(parents=True)
    for file in ("s2/1.tif", "s2/2 [b].tif", "s2/x.txt"):
        (folder / file).write_bytes(b"")
    found = glob.glob(addresses.resolve(folder, "s2/*.tif"))  # noqa: PTH207 (absolute patterns)
    assert sorted(found) == [str(folder / "s2/1.tif"), str(folder / "s2/2 [b].tif")]
    assert addresses.resolve(folder, "s2/2 [b].tif") == str(folder / "s2/2 [b].tif")
    assert addresses.resolve(folder, "s2") == str(folder / "s2")
