import pytest

from geoembed.ground import crs


def test_the_same_crs_however_it_is_written() -> None:
    from pyproj import CRS

    assert crs.same("EPSG:32632", CRS.from_epsg(32632).to_wkt("WKT1_GDAL"))
    assert crs.same("EPSG:4326", "OGC:CRS84")
    assert not crs.same("EPSG:32632", "EPSG:32633")


def test_a_name_is_the_authoritys_code_where_there_is_one() -> None:
    from pyproj import CRS

    assert crs.name(CRS.from_epsg(32632).to_wkt("WKT1_GDAL")) == "EPSG:32632"
    local = "+proj=laea +lon_0=9.1 +lat_0=45 +datum=WGS84"
    assert crs.name(local) == local


def test_order_is_east_north() -> None:
    x, y = crs.transformer(crs.LONLAT, "EPSG:32632").transform(9.0, 45.0)
    assert (x, y) == (pytest.approx(500_000.0), pytest.approx(4_982_950.4, abs=1.0))
