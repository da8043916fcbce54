"""Where rasters lie, in maps of the world and degrees of all kinds; what is right is said by PROJ."""

import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import CRS, Transformer

from geoembed.ground import crs
from geoembed.imagery.index import RasterIndex
from geoembed.imagery.rasters import Encoding, Raster

SINUSOIDAL = "+proj=sinu +R=6371007.181 +units=m +type=crs"
GOODE = "+proj=igh +datum=WGS84 +units=m +type=crs"
ROTATED = CRS.from_wkt(
    """GEOGCRS["rotated", BASEGEOGCRS["WGS 84", DATUM["World Geodetic System 1984",
    ELLIPSOID["WGS 84",6378137,298.257223563]]], DERIVINGCONVERSION["pole", METHOD["PROJ ob_tran o_proj=longlat"],
    PARAMETER["o_lon_p",-162,ANGLEUNIT["degree",0.0174532925199433]],
    PARAMETER["o_lat_p",39.25,ANGLEUNIT["degree",0.0174532925199433]],
    PARAMETER["lon_0",180,ANGLEUNIT["degree",0.0174532925199433]]], CS[ellipsoidal,2],
    AXIS["longitude",east], AXIS["latitude",north], ANGLEUNIT["degree",0.0174532925199433]]"""
).to_wkt()


def raster(system: str, left: float, bottom: float, right: float, top: float) -> Raster:
    transform = Affine((right - left) / 100, 0.0, left, 0.0, -(top - bottom) / 100, top)
    return Raster(CRS(system).to_wkt(), transform, 100, 100, "a.tif", (1,), ("a",), (Encoding("uint8"),))


def finds(scene: Raster, lon: float, lat: float) -> bool:
    index, place = RasterIndex([scene]), shapely.box(lon - 1e-3, lat - 1e-3, lon + 1e-3, lat + 1e-3)
    near = index.near(np.array([place])) == (scene,)
    assert near or not index.extent.intersects(place)
    return near


@pytest.mark.parametrize(
    ("system", "place"),
    [("EPSG:4806", (12.49, 41.89)), ("EPSG:4806", (-170.0, 50.0)), ("EPSG:4807", (2.35, 48.85)),
     ("EPSG:4807", (-170.0, 50.0)), ("EPSG:4301", (139.7, 35.7)), (ROTATED, (10.0, 50.0)),
     ("ESRI:54009", (12.49, 41.89)), ("ESRI:54030", (175.0, -40.0)), (SINUSOIDAL, (-165.0, 65.0)),
     (GOODE, (-60.0, -10.0)), ("EPSG:3413", (-45.0, 75.0)), ("EPSG:3031", (100.0, -80.0))],
)  # fmt: skip
def test_a_raster_is_where_its_own_crs_says(system: str, place: tuple[float, float]) -> None:
    x, y = Transformer.from_crs("EPSG:4326", system, always_xy=True).transform(*place)
    side = 0.2 if CRS(system).is_geographic else 20_000.0
    scene = raster(system, x - side, y - side, x + side, y + side)
    assert finds(scene, *place)
    assert not finds(scene, place[0] + 2.0, place[1])
    assert not finds(scene, place[0], place[1] - 2.0)
    assert not finds(scene, -place[0], place[1])


@pytest.mark.parametrize(
    ("system", "bounds", "inside"),
    [
        ("ESRI:54009", (-18_041_000, -9_000_000, 18_041_000, 9_000_000), [(12.5, 41.9), (-179.9, -17.0), (0.0, 89.0)]),
        ("ESRI:54009", (15_000_000, -5_000_000, 18_041_000, -4_000_000), [(175.0, -40.0)]),  # corners off the Earth
        (SINUSOIDAL, (-20_015_109, -10_007_554, 20_015_109, 10_007_554), [(-165.0, 65.0), (179.0, 1.0)]),
        (GOODE, (-20_037_508, -8_673_500, 20_037_508, 8_673_500), [(-60.0, -10.0), (-30.0, 70.0)]),
        ("ESRI:54030", (-17_005_833, -8_625_154, 17_005_833, 8_625_154), [(175.0, -40.0), (0.0, 0.0)]),
        ("EPSG:3857", (-20_037_508.35, -20_037_508.35, 20_037_508.35, 20_037_508.35), [(12.5, 41.9), (180.0, -17.0)]),
        ("EPSG:3413", (-3_000_000, -3_000_000, 3_000_000, 3_000_000), [(0.0, 89.0), (135.0, 70.0), (-45.0, 83.0)]),
        ("EPSG:4326", (0.0, -90.0, 360.0, 90.0), [(-170.0, 10.0), (12.5, 41.9)]),
        ("EPSG:4326", (-180.125, -90.125, 179.875, 90.125), [(180.0, 10.0), (12.5, 41.9)]),
        ("EPSG:32601", (100_000, 8_000_000, 500_000, 8_100_000), [(179.9, 72.5), (-179.0, 72.5)]),
    ],
)
def test_corners_off_the_earth_do_not_decide(
    system: str, bounds: tuple[float, float, float, float], inside: list[tuple[float, float]]
) -> None:
    scene = raster(system, *bounds)
    assert all(finds(scene, *place) for place in inside)


def test_a_raster_that_holds_a_pole_covers_what_is_round_it() -> None:
    scene = raster("EPSG:3413", -2_000_000, -2_000_000, 2_000_000, 2_000_000)
    assert finds(scene, 100.0, 85.0)
    assert not finds(scene, 100.0, 50.0)


def test_units_and_meridians_of_degrees() -> None:
    assert [crs.circle(name) for name in ("EPSG:4326", "EPSG:4806", "EPSG:4807")] == [360.0, 360.0, 400.0]
    assert [crs.circle(name) for name in ("EPSG:32632", "ESRI:54009", ROTATED)] == [None, None, None]
    assert crs.metres_per_unit("EPSG:4807") == pytest.approx(1852 * 54)
    assert crs.metres_per_unit(ROTATED) == 1852 * 60
