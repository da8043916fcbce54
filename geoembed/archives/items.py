"""Items of a STAC catalogue: what it says of a product, checked, and made a scene."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urljoin, urlsplit

import numpy as np
import pydantic
import shapely
from affine import Affine
from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictInt, StrictStr

from geoembed import names
from geoembed.archives.providers import KEYS
from geoembed.archives.scenes import Asset, Scene
from geoembed.errors import nearest, of_validation
from geoembed.ground import antimeridian
from geoembed.imagery.catalogues import Stac

SCALE, SHIFT, SHIFTED = 1e-4, -1000.0, "04.00"
"""Reflectance of one DN, and what is added to DN since that baseline: BOA_ADD_OFFSET of the products' metadata."""

_NO_REFLECTANCE = ("aot", "wvp", "scl", "visual", "cloud", "snow")
"""Assets of which the processing baseline says nothing."""

_TILE = re.compile(r"(\d{1,2})([C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V])")
_SECRETS = re.compile(r"[?&](sig|signature|x-amz-[\w-]+|token|access_token|key)=", re.IGNORECASE)


def _time(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError("no time as text")
    time = datetime.fromisoformat(value)
    if not 1900 <= time.year <= 2200:
        raise ValueError("no time of a satellite")
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def _six(numbers: tuple[float, ...]) -> tuple[float, ...]:
    if len(numbers) not in (6, 9) or numbers[6:] not in ((), (0.0, 0.0, 1.0)):
        raise ValueError("no affine transform of six or nine numbers")
    return numbers[:6]


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Time = Annotated[datetime, BeforeValidator(_time)]
Six = Annotated[tuple[Number, ...], AfterValidator(_six)]
Code = Annotated[StrictInt, Field(ge=1)]
Side = Annotated[StrictInt, Field(ge=1, le=10**6)]


class _Form(pydantic.BaseModel):
    """What is used of an object; other fields may be anything."""

    model_config = pydantic.ConfigDict(extra="ignore", populate_by_name=False)


class _Band(_Form):
    scale: Number | None = None
    offset: Number | None = None
    raster_scale: Number | None = Field(None, alias="raster:scale")
    raster_offset: Number | None = Field(None, alias="raster:offset")


class _Alternate(_Form):
    href: StrictStr


class _Scheme(_Form):
    requester_pays: StrictBool | None = None


class _File(_Form):
    href: StrictStr
    type: StrictStr | None = None
    alternate: dict[str, _Alternate] | None = None
    raster_bands: list[_Band] | None = Field(None, alias="raster:bands")
    bands: list[_Band] | None = None
    raster_scale: Number | None = Field(None, alias="raster:scale")
    raster_offset: Number | None = Field(None, alias="raster:offset")
    epsg: Code | None = Field(None, alias="proj:epsg")
    code: StrictStr | None = Field(None, alias="proj:code")
    transform: Six | None = Field(None, alias="proj:transform")
    shape: tuple[Side, Side] | None = Field(None, alias="proj:shape")
    size: Annotated[StrictInt, Field(ge=0)] | None = Field(None, alias="file:size")
    requester_pays: StrictBool | None = Field(None, alias="storage:requester_pays")
    storage: list[StrictStr] | None = Field(None, alias="storage:refs")

    def declared(self, name: str) -> float | None:
        """Return scale or offset as the raster extension has it: 1.1 in raster:bands, 2.0 at the asset or in bands."""
        first = [bands[0] for bands in (self.raster_bands, self.bands) if bands]
        values = [getattr(band, field) for band in first for field in (name, f"raster_{name}")]
        return next((value for value in [*values, getattr(self, f"raster_{name}")] if value is not None), None)


class _Properties(_Form):
    datetime: Time | None = None
    start: Time | None = Field(None, alias="start_datetime")
    platform: StrictStr | None = None
    cloud: Annotated[Number, Field(ge=0.0, le=100.0)] | None = Field(None, alias="eo:cloud_cover")
    epsg: Code | None = Field(None, alias="proj:epsg")
    code: StrictStr | None = Field(None, alias="proj:code")
    grid: StrictStr | None = Field(None, alias="grid:code")
    tile: StrictStr | None = Field(None, alias="s2:mgrs_tile")
    zone: StrictInt | None = Field(None, alias="mgrs:utm_zone")
    band: StrictStr | None = Field(None, alias="mgrs:latitude_band")
    square: StrictStr | None = Field(None, alias="mgrs:grid_square")
    product: StrictStr | None = Field(None, alias="s2:product_uri")
    old_product: StrictStr | None = Field(None, alias="sentinel:product_id")
    datastrip: StrictStr | None = Field(None, alias="s2:datastrip_id")
    baseline: StrictStr | None = Field(None, alias="s2:processing_baseline")
    old_baseline: StrictStr | None = Field(None, alias="sentinel:processing_baseline")
    version: StrictStr | None = Field(None, alias="processing:version")
    generated: Time | None = Field(None, alias="s2:generation_time")
    sequence: StrictStr | None = Field(None, alias="s2:sequence")
    old_sequence: StrictStr | None = Field(None, alias="sentinel:sequence")
    updated: Time | None = None
    applied: StrictBool | None = Field(None, alias="earthsearch:boa_offset_applied")
    old_applied: StrictBool | None = Field(None, alias="sentinel:boa_offset_applied")
    requester_pays: StrictBool | None = Field(None, alias="storage:requester_pays")
    schemes: dict[str, _Scheme] | None = Field(None, alias="storage:schemes")


class _Item(_Form):
    collection: StrictStr | None = None
    id: Annotated[StrictStr, AfterValidator(names.text)]
    bbox: list[Number] | None = None
    geometry: Any = None
    properties: _Properties
    assets: dict[str, Any]
    links: list[Any] | None = None


def scene(item: Any, settings: Stac, catalogue: str) -> tuple[Scene, Any]:
    """Return the scene that an item describes, and its outline, a shapely geometry in EPSG:4326 cut at 180 degrees.

    Raises ValueError, whose message is a line that names the catalogue, the item and what is wrong with it.
    """
    try:
        checked = _Item.model_validate(item)
        return _scene(checked, settings)
    except pydantic.ValidationError as error:
        fault = of_validation(error)
    except ValueError as error:
        fault = str(error)
    name = item.get("id") if isinstance(item, dict) else None
    fault = "".join(letter if letter.isprintable() else " " for letter in fault)
    raise ValueError(f"{catalogue}: item {str(name)[:100]!r}: {fault}") from None


def _scene(item: _Item, settings: Stac) -> tuple[Scene, Any]:
    known = item.properties
    time = known.datetime or known.start
    if item.collection not in (None, settings.collection):
        raise ValueError(f"is of another collection, {item.collection[:60]!r}")
    if time is None:
        raise ValueError("has neither datetime nor start_datetime")
    files = {channel: _file(item, key) for channel, key in settings.assets.items()}
    classification = _file(item, settings.classification) if settings.mask else None
    baseline, tile = _baseline(known), _tile(item)
    outline, bounds = _place(item)
    product = known.product or known.old_product or item.id
    satellite = re.match(r"S2([A-Z])_", product)
    made = Scene(
        id=item.id,
        tile=tile,
        time=time,
        platform=(known.platform or (f"sentinel-2{satellite[1]}" if satellite else "")).lower(),
        sensed=_sensed(item, files),
        cloud=known.cloud,
        baseline=baseline,
        generation=_generation(known),
        bounds=bounds,
        bands={
            channel: _asset(item, channel, file, *_encoding(file, settings.assets[channel], known, baseline))
            for channel, file in files.items()
        },
        classification=_asset(item, settings.classification, classification, 1.0, 0.0) if classification else None,
    )
    return made, outline


def _file(item: _Item, key: str) -> _File:
    found = next((name for name in (key, *KEYS.get(key, ())) if name in item.assets), None)
    if found is None:
        raise ValueError(f"has no asset {key!r}{nearest(key, item.assets, 'see its assets in the catalogue')}")
    try:
        return _File.model_validate(item.assets[found])
    except pydantic.ValidationError as error:
        raise ValueError(f"assets.{found}.{of_validation(error)}") from None


def _asset(item: _Item, name: str, file: _File, scale: float, offset: float) -> Asset:
    crs = next((said.code or f"EPSG:{said.epsg}" for said in (file, item.properties) if said.code or said.epsg), None)
    height, width = file.shape or (None, None)
    return Asset(
        href=_href(item, name, file),
        scale=scale,
        offset=offset,
        crs=crs,
        transform=Affine(*file.transform) if file.transform else None,
        height=height,
        width=width,
        size=file.size,
    )


def _href(item: _Item, name: str, file: _File) -> str:
    """Return the address of a file that can be asked for parts of it without an account."""
    known = item.properties
    pays = file.requester_pays
    if pays is None:
        schemes = [(known.schemes or {}).get(scheme) for scheme in file.storage or ()]
        pays = known.requester_pays or any(scheme.requester_pays for scheme in schemes if scheme)
    if pays:
        raise ValueError(f"{name} lies where the reader pays; name a collection that is free to read")
    addresses = [
        _absolute(item, href) for href in (file.href, *(other.href for other in (file.alternate or {}).values()))
    ]
    href = next((href for href in addresses if re.match(r"https?://[^/@\s]+/\S+\Z", href)), None)
    if href is None:
        scheme = urlsplit(file.href).scheme
        where = f"at {scheme}://" if scheme else "at a relative path"
        raise ValueError(f"{name} lies {where}, not at https://; name a collection with addresses for all")
    if _SECRETS.search(href):
        raise ValueError(f"{name} has a signed address, which expires; name a catalogue of unsigned ones")
    if urlsplit(href).path.lower().endswith(".jp2") or (file.type or "").startswith("image/jp2"):
        raise ValueError(
            f"{name} is JPEG 2000, which is not read in parts; name a collection of cloud-optimised GeoTIFFs"
        )
    return href


def _absolute(item: _Item, href: str) -> str:
    links = [link for link in item.links or () if isinstance(link, dict) and link.get("rel") == "self"]
    own = links[0].get("href") if links else None
    return urljoin(own, href) if isinstance(own, str) and not urlsplit(href).scheme else href


def _encoding(file: _File, key: str, known: _Properties, baseline: str | None) -> tuple[float, float]:
    """Return scale and offset; the flag of Earth Search beats what is declared, and that the processing baseline."""
    scale, declared = file.declared("scale"), file.declared("offset")
    scale = SCALE if scale is None else scale
    applied = known.old_applied if known.applied is None else known.applied
    if applied:
        offset = 0.0
    elif declared is not None:
        offset = declared
    elif key.split("_")[0].lower() in _NO_REFLECTANCE:
        raise ValueError(f"does not say the offset of {key!r}")
    elif baseline is None:
        raise ValueError(f"says neither the offset of {key!r} nor its processing baseline; name another collection")
    else:
        offset = SHIFT * scale if baseline >= SHIFTED else 0.0
    if not (1e-6 <= scale <= 1e-2 and abs(offset) <= 1.0):
        raise ValueError(f"says scale {scale:g} and offset {offset:g} of {key!r}, which give no reflectance")
    return scale, offset


def _baseline(known: _Properties) -> str | None:
    """Return the processing baseline; None also for 99.99, that of products made at home."""
    said = (known.baseline, known.old_baseline, known.version)
    numbers = [re.fullmatch(r"(\d{1,2})\.(\d\d)", text or "") for text in said]
    numbers += [
        re.search(r"_N(\d\d)\.?(\d\d)(?![0-9])", text or "")
        for text in (known.product, known.old_product, known.datastrip)
    ]
    match = next((match for match in numbers if match), None)
    return f"{int(match[1]):02}.{match[2]}" if match and int(match[1]) < 99 else None


def _tile(item: _Item) -> str:
    known = item.properties
    mgrs = f"{known.zone}{known.band}{known.square}"
    texts = [(known.grid or "").removeprefix("MGRS-"), (known.tile or "").removeprefix("T"), mgrs]
    product = known.product or known.old_product or item.id
    named = re.search(rf"_T?({_TILE.pattern})(?=_|$)", product) if product.startswith("S2") else None
    matches = [_TILE.fullmatch(text) for text in (*texts, named[1] if named else "")]
    match = next((match for match in matches if match and 1 <= int(match[1]) <= 60), None)
    if match is None:
        raise ValueError("does not say its MGRS tile; geoembed needs a collection of Sentinel-2 products")
    return f"{int(match[1]):02}{match[2]}"


def _sensed(item: _Item, files: dict[str, _File]) -> datetime | None:
    """Return when the datastrip began: from its name, that of the granule in a file's address, or the item's."""
    strip = re.search(r"_S(\d{8}T\d{6})", item.properties.datastrip or "")
    granules = (re.search(r"/L2A_T\w{5}_A\d{6}_(\d{8}T\d{6})/", file.href) for file in files.values())
    match = strip or next((match for match in granules if match), None)
    match = match or re.match(r"S2[A-Z]_T\d\d[A-Z]{3}_(\d{8}T\d{6})_L2A", item.id)
    try:
        return datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC) if match else None
    except ValueError:
        return None


def _generation(known: _Properties) -> str:
    """Return the time of processing, then the last time in the product's name, which tells products of one second."""
    times = re.findall(r"_(\d{8}T\d{6})", known.product or known.old_product or "")
    sequence = known.sequence or known.old_sequence
    first = known.generated or (None if sequence or times else known.updated)
    text = f"{first:%Y%m%dT%H%M%S}" if first else ""
    return "/".join([text, times[-1] if times else "", (sequence or "").rjust(6, "0")])


def _place(item: _Item) -> tuple[Any, tuple[float, float, float, float]]:
    """Return an item's outline, cut at 180 degrees, and its bounds, west > east where it crosses these."""
    outline = _outline(item.geometry)
    box = item.bbox or []
    west, south, east, north = (*box[:2], *box[3:5]) if len(box) == 6 else box if len(box) == 4 else (1e9,) * 4
    right = east + 360.0 if west > east else east
    if -180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90 and right - west <= 180:
        bounds = (west, south, east, north)
        return (antimeridian.cut(shapely.box(west, south, right, north)) if outline is None else outline), bounds
    if outline is None:
        raise ValueError("has neither a geometry nor a bbox in degrees")
    west, south, east, north = (
        antimeridian.joined(outline).bounds if np.ptp(outline.bounds[::2]) > 180 else outline.bounds
    )
    return outline, (west, south, east - 360.0 if east > 180 else east, north)


def _outline(geometry: Any) -> Any:
    """Return a GeoJSON geometry in degrees, cut at 180; None where it is no area of less than half the globe."""
    try:
        outline = shapely.make_valid(shapely.force_2d(shapely.geometry.shape(geometry)))
    except Exception:  # shapely raises what comes of reading anything as numbers
        return None
    west, south, east, north = outline.bounds if not outline.is_empty else (np.nan,) * 4
    if not (outline.area > 0 and -360 <= west <= east <= 360 and -90 <= south <= north <= 90):
        return None
    if east - west > 180:  # some catalogues join points at both ends of the map through Greenwich
        outline = shapely.make_valid(antimeridian.joined(outline))
    return antimeridian.cut(outline) if np.ptp(outline.bounds[::2]) <= 180 else None
