"""Providers: what is known of the archives that hold imagery, and is not in their catalogues."""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from geoembed.archives.client import Client
from geoembed.errors import FetchError
from geoembed.imagery.catalogues import Season, Stac

KEYS = {
    "coastal": ("B01", "B01_60m"),
    "blue": ("B02", "B02_10m"),
    "green": ("B03", "B03_10m"),
    "red": ("B04", "B04_10m"),
    "rededge1": ("B05", "B05_20m"),
    "rededge2": ("B06", "B06_20m"),
    "rededge3": ("B07", "B07_20m"),
    "nir": ("B08", "B08_10m"),
    "nir08": ("B8A", "B8A_20m"),
    "nir09": ("B09", "B09_60m"),
    "swir16": ("B11", "B11_20m"),
    "swir22": ("B12", "B12_20m"),
    "scl": ("SCL", "SCL_20m"),
}
"""Keys under which other catalogues have the assets that Earth Search calls so: Planetary Computer, and Copernicus."""


@dataclass(frozen=True)
class Provider:
    """An archive, and how its imagery is to be credited.

    name: of the archive.
    hosts: that hold its assets, as `Client.hosts` takes them.
    licence: of the imagery.
    attribution: what its terms ask users to write.
    """

    name: str
    hosts: tuple[str, ...]
    licence: str
    attribution: str


COPERNICUS = (
    "Copernicus Sentinel data: free, full and open; "
    "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice"
)

_STAC = {
    "earth-search.aws.element84.com": (
        "Earth Search by Element 84",
        ("e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com", "sentinel-cogs.s3.us-west-2.amazonaws.com"),
    ),
    "planetarycomputer.microsoft.com": (
        "Microsoft Planetary Computer",
        ("sentinel2l2a01.blob.core.windows.net",),
    ),
}
"""Name, and hosts of assets, by the API's host; read from the items that the two serve."""

SEASONAL = Provider(
    "Global seasonal Sentinel-1 interferometric coherence and backscatter data set",
    ("sentinel-1-global-coherence-earthbigdata.s3.us-west-2.amazonaws.com",),
    "CC-BY-4.0",
    "Kellndorfer et al. 2022, Scientific Data 9, 73; contains modified Copernicus Sentinel data 2019-2020, "
    "processed by Earth Big Data and JPL-Caltech, distributed by ASF",
)

WORLDCOVER = Provider(
    "ESA WorldCover 2021 v200",
    ("esa-worldcover.s3.eu-central-1.amazonaws.com",),
    "CC-BY-4.0",
    "© ESA WorldCover project 2021 / contains modified Copernicus Sentinel data (2021) processed by ESA WorldCover "
    "consortium",
)


def of_stac(settings: Stac) -> Provider:
    """Return the provider of a catalogue, whose own host is among its hosts; one that is not known has no others."""
    parts = urlsplit(settings.api)
    host = (parts.hostname or "").lower()
    name, hosts = _STAC.get(host, (host, ()))
    signer = (urlsplit(TOKENS).netloc,) if settings.sign else ()
    return Provider(
        name,
        tuple(dict.fromkeys((parts.netloc.rpartition("@")[2].lower(), *hosts, *signer))),
        COPERNICUS,
        f"Contains modified Copernicus Sentinel data {settings.year}, from {name}",
    )


def notes(settings: Stac) -> list[str]:
    """Return what a user should know of a collection before it is searched, a line each."""
    if (urlsplit(settings.api).hostname or "").lower() != "earth-search.aws.element84.com":
        return []
    if settings.collection == "sentinel-2-c1-l2a":
        gaps = [name for name in settings.seasons if _lacks(name, settings.year)]
        return [
            f"{settings.collection} of Earth Search lacks most scenes of {settings.year} {', '.join(gaps)}; "
            'set collection = "sentinel-2-l2a"'
        ] * bool(gaps)
    if settings.collection == "sentinel-2-l2a" and settings.year in (2022, 2025):
        return [
            f"{settings.collection} of Earth Search says of some scenes of {settings.year} that their offset was not "
            "applied when it was, so that they are 0.1 too dark; look at the composites"
        ]
    return []


def _lacks(season: Season, year: int) -> bool:
    """Tell whether Collection 1 in Earth Search lacks a season: of 2017 to November 2019, and to September 2022.

    Source: issues 29 and 70 of github.com/Element84/earth-search, open in 2026.
    """
    return 2017 <= year <= 2019 or (year == 2022 and season != "son")


TOKENS = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
"""Where Planetary Computer gives out tokens, for an account and a container of Azure's blob storage."""

BLOBS = ".blob.core.windows.net"

_MARGIN = timedelta(minutes=1)
_NAME = re.compile(r"[a-z0-9$][a-z0-9-]{1,62}")
_TOKEN = re.compile(r"[A-Za-z0-9%&=_.~:+/-]{10,4000}")


class Signer:
    """Adds tokens of Planetary Computer to addresses of blobs; may be used from several threads.

    Addresses that lie elsewhere, or are signed, are returned as they are. Tokens are kept until a minute before they
    expire. Raises FetchError where there is no token.
    """

    def __init__(
        self,
        client: Client,
        base: str = TOKENS,
        blobs: str = BLOBS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client, self._base, self._blobs, self._now = client, base, blobs, now
        self._tokens: dict[str, tuple[str, datetime]] = {}
        self._lock = threading.Lock()

    def __call__(self, href: str) -> str:
        """Return an address with a token."""
        store = self._store(href)
        if store is None:
            return href
        with self._lock:
            known = self._tokens.get(store)
            if known is None or self._now() >= known[1] - _MARGIN:
                known = self._tokens[store] = self._fetch(store)
        return f"{href}?{known[0]}"

    def forget(self, href: str) -> None:
        """Forget the token of an address, as it was refused."""
        with self._lock:
            self._tokens.pop(self._store(href) or "", None)

    def _store(self, href: str) -> str | None:
        """Return account and container of a blob; None of what needs no token."""
        parts = urlsplit(href)
        account, container = (parts.hostname or "").removesuffix(self._blobs), parts.path.lstrip("/").split("/")[0]
        if not (parts.hostname or "").endswith(self._blobs) or parts.query:
            return None
        return f"{account}/{container}" if _NAME.fullmatch(account) and _NAME.fullmatch(container) else None

    def _fetch(self, store: str) -> tuple[str, datetime]:
        answer: Any = self._client.json(f"{self._base}/{store}", most=2**16)
        try:
            token, expiry = answer["token"], datetime.fromisoformat(answer["msft:expiry"])
            if _TOKEN.fullmatch(token) and expiry.tzinfo and expiry.year > 2000:
                return token, expiry
        except (KeyError, TypeError, ValueError):
            pass
        # What was answered may hold a token, so it is not repeated.
        raise FetchError(f"{self._base}/{store}: gives no token; try again later, or use another catalogue")
