"""The global seasonal Sentinel-1 data set in its bucket: which files of it an area needs, and fetching them.

A file has the same name in the cache as in the bucket, so the folder in the cache is a source like any other. What a
tile holds is asked once and kept beside its files.
"""

import hashlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from geoembed.archives import buckets, degrees
from geoembed.archives.buckets import Entry
from geoembed.archives.client import Client
from geoembed.errors import AbsentError, FetchError
from geoembed.imagery import seasonal
from geoembed.imagery.catalogues import Seasonal
from geoembed.imagery.modalities import Source
from geoembed.imagery.rasters import Raster
from geoembed.outputs import atomic, digests, documents

log = logging.getLogger(__name__)

FOLDER = "sentinel-1-seasonal"
"""Name of the data set's folder in the cache."""

TILES = "data/tiles"
"""What the names of all tiles' objects in the bucket begin with."""

METRICS = {
    "s1": (("vv", "AMP"), ("vh", "AMP")),
    "coh": tuple(("vv", f"COH{days}") for days in (12, 24, 36, 48)),
}
"""Polarisation and metric of the files that a modality is made of, one for each season."""

LARGEST = 2**23
"""Bytes of a file at most; 1200 x 1200 numbers of 16 bits are 2.9 MB before they are compressed."""


@dataclass(frozen=True)
class Listing:
    """What a tile holds: a file in the cache.

    url: of the bucket.
    entries: its objects.
    """

    url: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class File:
    """A file of a tile: a channel of a modality.

    url: where it lies.
    size: in bytes.
    md5: of its content; None where the bucket does not tell it.
    raster: its place in the cache, where it may not be yet, and what it will hold.
    """

    url: str
    size: int
    md5: str | None
    raster: Raster

    @property
    def path(self) -> Path:
        """Return its place in the cache."""
        return self.raster.path


@dataclass(frozen=True)
class Tile:
    """A tile of 1 x 1 degree.

    name: by its upper left corner, such as N48W090.
    files: the channels that it has.
    missing: names of the files that it lacks; all of them where there is no such tile, as at sea.
    polarisations: that it has besides those that are used, such as hh near the poles.
    exists: whether there is such a tile.
    """

    name: str
    files: tuple[File, ...]
    missing: tuple[str, ...]
    polarisations: tuple[str, ...]
    exists: bool


def tiles(ground: Any, modality: str, settings: Seasonal, cache: Path, client: Client) -> list[Tile]:
    """Return the tiles near a place and the files of `s1` or `coh` that each has, and tell what there is not.

    Asks the bucket for tiles that it was not asked for before. Raises FetchError.

    ground: a geometry, or an array of them, in degrees (EPSG:4326).
    cache: the folder of all that is fetched.
    """
    names = [degrees.name(*corner) for corner in degrees.upper_left(ground)]
    pool = ThreadPoolExecutor(client.connections)
    try:
        listings = list(pool.map(partial(_listing, settings.url.rstrip("/"), cache / FOLDER, client), names))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    found = [
        _tile(name, modality, settings, cache / FOLDER, listing) for name, listing in zip(names, listings, strict=True)
    ]
    _tell(modality, found)
    return found


def is_here(file: File) -> bool:
    """Tell whether a file is in the cache, and intact."""
    try:
        data = file.path.read_bytes()
    except OSError:
        return False
    if len(data) != file.size:
        return False
    if file.md5:
        return hashlib.md5(data, usedforsecurity=False).hexdigest() == file.md5
    try:
        return documents.load(_sidecar(file)).get("content") == digests.of_data(data)
    except (OSError, ValueError):
        return False


def fetch(file: File, client: Client) -> None:
    """Put a file into the cache, whole, unless it is there and intact; raises FetchError."""
    if is_here(file):
        return
    changed = f"{file.path.name}: is not as listed; delete {_listing_path(file.path.parent)} and run again"
    try:
        client.download(file.url, file.path, most=file.size, md5=file.md5)
    except FetchError as error:
        if isinstance(error, AbsentError) or _has_changed(file, client):
            raise FetchError(changed) from None
        raise
    if file.path.stat().st_size != file.size:
        atomic.remove(file.path)
        raise FetchError(changed)
    if file.md5 is None:
        documents.write(_sidecar(file), {"content": digests.of_bytes(file.path)})


def _has_changed(file: File, client: Client) -> bool:
    """Tell whether the bucket now holds something else; no, where it does not say."""
    url, _, rest = file.url.partition(f"/{TILES}/")
    try:
        entries = buckets.listing(client, url, f"{TILES}/{rest}", most=1)
    except FetchError:
        return False
    return [(entry.size, entry.md5) for entry in entries] != [(file.size, file.md5)]


def _sidecar(file: File) -> Path:
    """Return the path of the digest of a file whose MD5 the bucket does not tell."""
    return file.path.with_name(f"{file.path.name}.json")


def _listing_path(folder: Path) -> Path:
    return folder / "listing.json"


def _listing(url: str, folder: Path, client: Client, name: str) -> Listing:
    """Return what a tile holds, from the cache if it is there."""
    path = _listing_path(folder / name)
    try:
        known = documents.parsed(documents.load(path), Listing)
        if known.url == url:
            return known
    except (OSError, ValueError):  # not asked yet, or damaged
        pass
    listing = Listing(url, tuple(buckets.listing(client, url, _prefix(name), most=1_000)))
    documents.write(path, asdict(listing))
    return listing


def _tile(name: str, modality: str, settings: Seasonal, folder: Path, listing: Listing) -> Tile:
    """Return a tile with the files that a modality needs. Names are made here and looked up, never taken over."""
    entries = {entry.key.removeprefix(_prefix(name)): entry for entry in listing.entries}
    files, missing = [], []
    for season, short in seasonal.SEASON_OF.items():
        for polarisation, metric in METRICS[modality] if short in settings.seasons else ():
            wanted = f"{name}_{season}_{polarisation}_{metric}.tif"
            if wanted in entries:
                source = Source(resampling=settings.resampling)
                files.append(_file(modality, source, listing.url, folder / name / wanted, entries[wanted]))
            else:
                missing.append(wanted)
    matches = [match for match in map(seasonal.TILE.match, entries) if match]
    used = {polarisation for polarisation, _ in METRICS["s1"]}
    others = {match["pol"].lower() for match in matches} - used
    return Tile(name, tuple(files), tuple(missing), tuple(sorted(others)), bool(matches))


def _file(modality: str, source: Source, url: str, path: Path, entry: Entry) -> File:
    if not 0 < entry.size <= LARGEST:
        raise FetchError(f"{path.name}: is listed with {entry.size:,} bytes; give the url of the data set's bucket")
    (raster,) = seasonal.read(modality, source, str(path.parent), [str(path)])
    return File(f"{url}/{_prefix(path.parent.name)}{path.name}", entry.size, entry.md5, raster)


def _prefix(name: str) -> str:
    """Return what the names of a tile's objects in the bucket begin with."""
    return f"{TILES}/{name}/"


def _tell(modality: str, found: Sequence[Tile]) -> None:
    """Say which tiles and channels there are not."""
    absent = sum(not tile.exists for tile in found)
    if absent:
        log.info("%s: %d of %d degree tiles do not exist, as at sea", modality, absent, len(found))
    lacking = [tile for tile in found if tile.exists and tile.missing]
    if lacking:
        text = "%s: %d of %d degree tiles lack channels, %d in all, %s the first"
        missing = sum(len(tile.missing) for tile in lacking)
        log.warning(text, modality, len(lacking), len(found) - absent, missing, lacking[0].missing[0])
    turned = [tile for tile in found if tile.polarisations]
    if turned:
        polarisations = " and ".join(sorted({one for tile in turned for one in tile.polarisations}))
        log.warning(
            "%s: %d tiles have %s too, not used, as in %s", modality, len(turned), polarisations, turned[0].name
        )
