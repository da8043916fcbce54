"""The global seasonal Sentinel-1 data set: folders of 1 x 1 degree tiles named by their upper left corner.

Source: Kellndorfer et al. 2022, Global seasonal Sentinel-1 interferometric coherence and backscatter data set,
Scientific Data 9, 73, and its user guide (Earth Big Data, ASF). AMP: uint16, gamma0 dB = 20 log10(DN) - 83;
COHnn: uint8, coherence = DN / 100; 0 is nodata; EPSG:4326, 1200 x 1200 pixels of 3 arc seconds.
"""

import re
from collections.abc import Sequence

from affine import Affine

from geoembed.errors import ImageryError
from geoembed.imagery.addresses import is_far
from geoembed.imagery.catalogues import SEASONS
from geoembed.imagery.modalities import Source
from geoembed.imagery.rasters import Encoding, Raster

TILE = re.compile(
    r"^(?P<ns>[NS])(?P<lat>\d{2})(?P<ew>[EW])(?P<lon>\d{3})_(?P<season>winter|spring|summer|fall)"
    r"_(?P<pol>vv|vh|hh|hv)_(?P<what>AMP|COH\d{2})\.tif$",
    re.IGNORECASE,
)
SEASON_OF = dict(zip(("winter", "spring", "summer", "fall"), SEASONS, strict=True))
"""The data set's winter is December to February everywhere, north and south."""

PIXELS = 1200
AMPLITUDE = Encoding("uint16", scale=10.0 ** (-83.0 / 20.0), nodata=0.0, stored="amplitude")
COHERENCE = Encoding("uint8", scale=0.01, nodata=0.0)


def is_tile(address: str) -> bool:
    """Tell whether a file is named like one of a tile, for example N48W090_summer_vv_COH12.tif."""
    return _match(address) is not None


def read(modality: str, source: Source, folder: str, addresses: Sequence[str]) -> list[Raster]:
    """Return the rasters of `s1` (AMP, VV and VH) or `coh` (COHnn, VV) among tiles, placed by their names.

    Headers are not read, as the data set has 25,000 tiles of some twenty files each. Raises ImageryError where there
    are none, or where the source sets what the data set fixes.
    """
    for key in ("bands", "names", "scale", "offset", "nodata", "stored"):
        if getattr(source, key) is not None:
            raise ImageryError(
                f"{folder}: {key} is known for the seasonal tiles; remove it from [modalities.{modality}]"
            )
    tiles = []
    for address in addresses:
        match = _match(address)
        channel = _channel(modality, match) if match else None
        if match and channel:
            tile = Raster(
                crs="EPSG:4326",
                transform=_transform(match),
                height=PIXELS,
                width=PIXELS,
                address=address,
                bands=(1,),
                channels=(channel,),
                encodings=(AMPLITUDE if modality == "s1" else COHERENCE,),
                resampling=source.resampling,
                files=(address,),
                driver="GTiff",
                far=is_far(address),
            )
            tiles.append(tile)
    if not tiles:
        raise ImageryError(f"{folder}: no seasonal tiles for {modality}; s1 needs vv and vh AMP, coh needs vv COHnn")
    return tiles


def _match(address: str) -> re.Match[str] | None:
    return TILE.match(address.rpartition("/")[2])


def _channel(modality: str, match: re.Match[str]) -> str | None:
    season, polarisation, what = SEASON_OF[match["season"].lower()], match["pol"].lower(), match["what"].lower()
    if modality == "s1" and what == "amp" and polarisation in ("vv", "vh"):
        return f"{season}_{polarisation}"
    if modality == "coh" and what != "amp" and polarisation == "vv":
        return f"{season}_{what}"
    return None


def _transform(match: re.Match[str]) -> Affine:
    west = int(match["lon"]) * (1 if match["ew"].upper() == "E" else -1)
    north = int(match["lat"]) * (1 if match["ns"].upper() == "N" else -1)
    return Affine(1.0 / PIXELS, 0.0, west, 0.0, -1.0 / PIXELS, north)
