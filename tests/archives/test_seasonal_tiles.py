"""Tiles of the seasonal data set, from a server like S3: which an area needs, what they lack, and faults."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from canned import Canned
from rasterio.io import MemoryFile
from s3 import S3

from geoembed.archives import degrees, seasonal
from geoembed.archives.client import Client
from geoembed.errors import AbsentError, FetchError
from geoembed.imagery import seasonal as tiles
from geoembed.imagery import sources
from geoembed.imagery.catalogues import Seasonal
from geoembed.imagery.modalities import BUILT_IN, Source
from geoembed.outputs import documents

HERE = shapely.box(-89.6, 47.2, -89.4, 47.4)
NAME = "N48W090"


def geotiff(number: int) -> bytes:
    """A tile's file, as the data set has it: LZW, in strips."""
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", count=1, height=1200, width=1200, dtype="uint8", crs="EPSG:4326", compress="lzw",
            transform=Affine(1 / 1200, 0, -90, 0, -1 / 1200, 48),
        ) as file:  # fmt: skip
            file.write(np.full((1, 1200, 1200), number, dtype=np.uint8))
        return bytes(memory.getbuffer())


def key(name: str) -> str:
    return f"data/tiles/{name[:7]}/{name}"


def client(server: S3 | Canned, *, offline: bool = False) -> Client:
    return Client([server.host], tries=1, connections=2, offline=offline)


def names(ground: object) -> list[str]:
    return [degrees.name(*corner) for corner in degrees.upper_left(ground)]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((-89.6, 47.2, -89.4, 47.4), ["N48W090"]),
        ((12.2, -1.8, 12.8, -1.2), ["S01E012"]),  # the example of the user guide
        ((12.2, -0.8, 12.8, -0.2), ["N00E012"]),
        ((12.2, 0.2, 12.8, 0.8), ["N01E012"]),
        ((-0.8, -0.1, 0.2, 0.1), ["N01W001", "N01E000", "N00W001", "N00E000"]),
        ((179.2, 70.2, 180.0, 70.8), ["N71W180", "N71E179"]),
        ((-180.0, 70.2, -179.2, 70.8), ["N71W180", "N71E179"]),
        ((179.2, 70.2, 180.8, 70.8), ["N71W180", "N71E179"]),
        ((5.2, 50.2, 5.995, 50.8), ["N51E005", "N51E006"]),  # pixels beyond an edge count in those before it
        ((5.2, 89.2, 5.8, 90.0), ["N90E005"]),
    ],
)
def test_tiles_are_called_by_their_upper_left_corner(
    box: tuple[float, float, float, float], expected: list[str]
) -> None:
    assert names(shapely.box(*box)) == expected
    for name in expected:
        (raster,) = tiles.read("s1", Source(), "", [f"{name}_fall_vv_AMP.tif"])
        grown = raster.bounds[0] - 0.01, raster.bounds[1] - 0.01, raster.bounds[2] + 0.01, raster.bounds[3] + 0.01
        turned = [shapely.box(box[0] + turn, box[1], box[2] + turn, box[3]) for turn in (-360, 0, 360)]
        assert shapely.intersects(shapely.box(*grown), turned).any()


def test_an_area_of_many_outlines_in_both_halves_of_the_world() -> None:
    outlines = np.array([shapely.box(179.5, 0.5, 180, 0.6), shapely.box(-180, 0.5, -179.5, 0.6), HERE])
    assert names(outlines) == ["N48W090", "N01W180", "N01E179"]
    assert names(shapely.MultiPolygon(list(outlines))) == names(outlines)


def test_what_a_tile_has_is_listed_once_and_fetched_whole(s3: S3, tmp_path: Path) -> None:
    contents = {}
    for number, (season, metric) in enumerate([("summer", "COH12"), ("winter", "COH48"), ("fall", "COH06")]):
        name = f"{NAME}_{season}_vv_{metric}.tif"
        contents[name] = geotiff(number + 1)
        s3.put(key(name), contents[name])
    settings, asking = Seasonal(url=s3.url, seasons=("djf", "jja")), client(s3)
    (tile,) = seasonal.tiles(HERE, "coh", settings, tmp_path, asking)
    assert (tile.name, tile.exists, len(tile.missing)) == (NAME, True, 6)
    assert [file.raster.channels for file in tile.files] == [("djf_coh48",), ("jja_coh12",)]
    assert [file.path for file in tile.files] == [
        tmp_path / "sentinel-1-seasonal/N48W090/N48W090_winter_vv_COH48.tif",
        tmp_path / "sentinel-1-seasonal/N48W090/N48W090_summer_vv_COH12.tif",
    ]
    assert not any(map(seasonal.is_here, tile.files))
    for file in tile.files:
        seasonal.fetch(file, asking)
        assert seasonal.is_here(file)
        assert file.path.read_bytes() == contents[file.path.name]
        with rasterio.open(file.path) as source:
            assert source.transform.almost_equals(file.raster.transform)
    requests = asking.traffic.requests
    # With a full cache nobody is asked, and the same is found.
    offline = client(s3, offline=True)
    assert seasonal.tiles(HERE, "coh", settings, tmp_path, offline) == [tile]
    for file in tile.files:
        seasonal.fetch(file, offline)
    assert requests == asking.traffic.requests
    # The folder is a source like any other.
    coherence = next(modality for modality in BUILT_IN if modality.name == "coh")
    found = sources._open(coherence, Source(), str(tmp_path / seasonal.FOLDER))
    assert sorted(raster.address for raster in found) == sorted(str(file.path) for file in tile.files)


def test_no_tile_at_sea_is_no_error_and_is_not_asked_for_again(
    s3: S3, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "geoembed")
    s3.put(key(f"{NAME}_fall_vv_AMP.tif"), geotiff(1))
    both = shapely.box(-90.5, 47.2, -89.4, 47.4)
    found = seasonal.tiles(both, "s1", Seasonal(url=s3.url), tmp_path, client(s3))
    assert [(tile.name, tile.exists, len(tile.files), len(tile.missing)) for tile in found] == [
        ("N48W091", False, 0, 8),
        ("N48W090", True, 1, 7),
    ]
    assert "s1: 1 of 2 degree tiles do not exist, as at sea" in caplog.text
    assert "s1: 1 of 1 degree tiles lack channels, 7 in all, N48W090_winter_vv_AMP.tif the first" in caplog.text
    assert seasonal.tiles(both, "s1", Seasonal(url=s3.url), tmp_path, client(s3, offline=True)) == found


def test_other_polarisations_are_told_and_not_used(s3: S3, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for polarisation in ("hh", "hv"):
        s3.put(key(f"{NAME}_fall_{polarisation}_AMP.tif"), geotiff(1))
    (tile,) = seasonal.tiles(HERE, "s1", Seasonal(url=s3.url), tmp_path, client(s3))
    assert (tile.exists, tile.files, tile.polarisations) == (True, (), ("hh", "hv"))
    assert "s1: 1 tiles have hh and hv too, not used, as in N48W090" in caplog.text


def test_offline_without_a_listing_is_an_error(s3: S3, tmp_path: Path) -> None:
    with pytest.raises(FetchError):
        seasonal.tiles(HERE, "s1", Seasonal(url=s3.url), tmp_path, client(s3, offline=True))


def test_a_listing_of_another_bucket_or_that_is_damaged_is_asked_for_anew(s3: S3, tmp_path: Path) -> None:
    s3.put(key(f"{NAME}_fall_vv_AMP.tif"), geotiff(1))
    settings = Seasonal(url=s3.url)
    found = seasonal.tiles(HERE, "s1", settings, tmp_path, client(s3))
    path = tmp_path / seasonal.FOLDER / NAME / "listing.json"
    kept = path.read_text()
    for changed in (kept[:50], kept.replace('"size": ', '"size": 1'), ""):
        path.write_text(changed)
        assert seasonal.tiles(HERE, "s1", settings, tmp_path, client(s3)) == found
        assert path.read_text() == kept
    documents.write(path, {**documents.load(path), "url": "https://elsewhere.example", "entries": []})
    assert seasonal.tiles(HERE, "s1", settings, tmp_path, client(s3)) == found


def test_names_in_a_listing_cannot_leave_the_cache(canned: Canned, tmp_path: Path) -> None:
    prefix = f"data/tiles/{NAME}/"
    keys = ("../../../../out_fall_vv_AMP.tif", "../N48W090_fall_vv_AMP.tif", "/etc/passwd", f"{NAME}_fall_vv_AMP.tif/x")
    contents = "".join(f"<Contents><Key>{prefix}{one}</Key><Size>9</Size></Contents>" for one in keys)
    answer = f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
    canned.answers[f"/?list-type=2&prefix={prefix}"] = answer.encode()
    (tile,) = seasonal.tiles(HERE, "s1", Seasonal(url=canned.url), tmp_path / "cache", client(canned))
    assert (tile.exists, tile.files) == (False, ())
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == [
        f"cache/sentinel-1-seasonal/{NAME}/listing.json"
    ]


@pytest.mark.parametrize("size", [0, 10**12])
def test_an_absurd_size_is_refused_before_it_is_fetched(canned: Canned, tmp_path: Path, size: int) -> None:
    prefix = f"data/tiles/{NAME}/"
    contents = f"<Contents><Key>{prefix}{NAME}_fall_vv_AMP.tif</Key><Size>{size}</Size></Contents>"
    answer = f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
    canned.answers[f"/?list-type=2&prefix={prefix}"] = answer.encode()
    with pytest.raises(FetchError, match=f"N48W090_fall_vv_AMP.tif: is listed with {size:,} bytes; give the url of"):
        seasonal.tiles(HERE, "s1", Seasonal(url=canned.url), tmp_path, client(canned))


def test_403_is_an_error_of_listing_and_of_fetching(s3: S3, canned: Canned, tmp_path: Path) -> None:
    canned.answers[f"/?list-type=2&prefix=data/tiles/{NAME}/"] = 403
    with pytest.raises(FetchError, match="403"):
        seasonal.tiles(HERE, "s1", Seasonal(url=canned.url), tmp_path, client(canned))
    s3.put(key(f"{NAME}_fall_vv_AMP.tif"), geotiff(1), acl="private")
    (tile,) = seasonal.tiles(HERE, "s1", Seasonal(url=s3.url), tmp_path, client(s3))
    with pytest.raises(FetchError, match="403"):
        seasonal.fetch(tile.files[0], client(s3))
    assert not tile.files[0].path.exists()


def test_a_file_in_parts_is_checked_by_its_size_and_then_by_a_digest_of_our_own(s3: S3, tmp_path: Path) -> None:
    name, content = f"{NAME}_fall_vv_AMP.tif", geotiff(1)
    s3.put_in_parts(key(name), content)
    ((file,),) = (tile.files for tile in seasonal.tiles(HERE, "s1", Seasonal(url=s3.url), tmp_path, client(s3)))
    assert file.md5 is None
    seasonal.fetch(file, client(s3))
    assert seasonal.is_here(file)
    damaged = bytearray(content)
    damaged[-100] ^= 1
    file.path.write_bytes(damaged)
    assert not seasonal.is_here(file)
    seasonal.fetch(file, client(s3))
    assert file.path.read_bytes() == content
    s3.put_in_parts(key(name), content[:-1])
    file.path.unlink()
    with pytest.raises(FetchError, match=r"^N48W090_fall_vv_AMP.tif: is not as listed; delete .*listing.json and run"):
        seasonal.fetch(file, client(s3))
    assert not file.path.exists()


def test_damage_in_the_cache_is_found_and_mended(s3: S3, tmp_path: Path) -> None:
    name, content = f"{NAME}_fall_vv_AMP.tif", geotiff(1)
    s3.put(key(name), content)
    ((file,),) = (tile.files for tile in seasonal.tiles(HERE, "s1", Seasonal(url=s3.url), tmp_path, client(s3)))
    for damaged in (content[:-1], content[:500] + b"\1" + content[501:], b""):
        file.path.write_bytes(damaged)
        assert not seasonal.is_here(file)
        seasonal.fetch(file, client(s3))
        assert file.path.read_bytes() == content


def test_a_file_that_changed_or_went_since_it_was_listed_is_an_error(s3: S3, tmp_path: Path) -> None:
    name = f"{NAME}_fall_vv_AMP.tif"
    s3.put(key(name), geotiff(1))
    ((file,),) = (tile.files for tile in seasonal.tiles(HERE, "s1", Seasonal(url=s3.url), tmp_path, client(s3)))
    changed = r"^N48W090_fall_vv_AMP.tif: is not as listed; delete .*listing.json and run again$"
    s3.put(key(name), geotiff(2))
    with pytest.raises(FetchError, match=changed):
        seasonal.fetch(file, client(s3))
    s3.remove(key(name))
    with pytest.raises(FetchError, match=changed) as error:
        seasonal.fetch(file, client(s3))
    assert not isinstance(error.value, AbsentError)
    assert not file.path.exists()
