"""Searching a STAC API: all scenes of seasons in an area, whatever its pages, limits and next links are like."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, urlencode, urljoin, urlsplit

import pydantic
import shapely

from geoembed.archives import items, scenes
from geoembed.archives.client import Client
from geoembed.archives.scenes import Scene
from geoembed.errors import AbsentError, FetchError, of_validation
from geoembed.imagery.catalogues import Stac
from geoembed.outputs import documents
from geoembed.version import __version__

LIMIT, LEAST = 100, 10
"""Items asked for in a page, and how few at least where pages are too large (Earth Search: 6 MB, some 267 items)."""

SIDE, FINE = 8.0, 2.0
"""Degrees of the largest box that is searched at once, and of that which is not cut where most of it is not asked for."""

MARGIN = 0.02
"""Degrees by which a scene may miss the area, as catalogues simplify the scenes' outlines."""

SHORTEST, SMALLEST = timedelta(seconds=1), 0.05
"""Time and degrees that are not halved any more."""

TOO_LARGE = (413, 500, 502, 504)
NO_POST = (404, 405, 501)
"""Status of answers to which fewer items, and a search without a body, may be the remedy."""

MOST_REASONS = 5

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Found:
    """What a search found.

    scenes: in the order of tile, time and id.
    duplicates: products left out as there is a later one of the same pixels.
    cloudy: scenes with more cloud than is looked at.
    unusable: items of which no scene can be made.
    reasons: of the first of these, a line each.
    """

    scenes: tuple[Scene, ...]
    duplicates: int = 0
    cloudy: int = 0
    unusable: int = 0
    reasons: tuple[str, ...] = ()


def write(path: Path, found: Found) -> None:
    """Write what was found, so that later runs use the same scenes."""
    content = pydantic.TypeAdapter(Found).dump_python(found, mode="json")
    documents.write(path, {"geoembed_version": __version__, **content})


def read(path: Path) -> Found:
    """Read what `write` wrote; raises FetchError where it is missing or damaged."""
    return documents.read(path, Found, FetchError, "remove it, and the catalogue is searched again")


def search(client: Client, settings: Stac, area: Any) -> Found:
    """Return the scenes of the settings' seasons that meet an area, a shapely geometry in EPSG:4326.

    Longitudes may run on past 180 degrees. Raises FetchError where the catalogue cannot be searched to the end.
    """
    area = items.wrapped(shapely.make_valid(area))
    spans = [scenes.span(season, settings.year) for season in settings.seasons]
    catalogue = _Catalogue(client, settings)
    parts = [_Part(box, *span) for span, box in product(spans, _boxes(area))]
    answers: dict[str, _Answer] = {}
    pool = ThreadPoolExecutor(client.connections)
    try:
        for answer in pool.map(catalogue.items, parts):
            answers.update(answer)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if not answers:
        catalogue.require_collection()
    shapely.prepare(area)
    near, reasons = [], []
    for _, answer in sorted(answers.items()):
        if isinstance(answer, str):
            reasons.append(answer)
        elif shapely.dwithin(area, answer[1], MARGIN) and any(a <= answer[0].time < b for a, b in spans):
            near.append(answer[0])
    latest = scenes.latest(near)
    clear = tuple(scene for scene in latest if scene.cloud is None or scene.cloud <= settings.max_cloud)
    return Found(
        scenes=clear,
        duplicates=len(near) - len(latest),
        cloudy=len(latest) - len(clear),
        unusable=len(reasons),
        reasons=tuple(reasons[:MOST_REASONS]),
    )


def _boxes(area: Any) -> Iterator[Box]:
    """Yield boxes of at most `SIDE` degrees that hold an area, without much of what it leaves out."""
    west, south, east, north = area.bounds
    wide, high = east - west, north - south
    if max(wide, high) <= FINE or (max(wide, high) <= SIDE and area.area >= 0.5 * wide * high):
        yield (
            max(west - MARGIN, -180.0), max(south - MARGIN, -90.0), min(east + MARGIN, 180.0), min(north + MARGIN, 90.0)
        )  # fmt: skip
        return
    for half in _halves((west, south, east, north)):
        part = shapely.intersection(area, shapely.box(*half))
        if part.area > 0:
            yield from _boxes(part)


def _halves(box: Box) -> list[Box]:
    west, south, east, north = box
    if east - west >= north - south:
        return [(west, south, (west + east) / 2, north), ((west + east) / 2, south, east, north)]
    return [(west, south, east, (south + north) / 2), (west, (south + north) / 2, east, north)]


_Answer = str | tuple[Scene, Any]
"""Why an item is unusable, or its scene and outline."""


@dataclass(frozen=True)
class _Part:
    """What one search asks for: a box, west south east north in degrees, and a time, both ends included.

    told: how many items the catalogue told of the part that this one is half of.
    """

    box: Box
    start: datetime
    end: datetime
    told: int | None = None

    def halves(self) -> list["_Part"]:
        """Return the halves: by time down to a day, then by place, then by time; none of the smallest."""
        west, south, east, north = self.box
        length = self.end - self.start
        if length > timedelta(days=1) or (max(east - west, north - south) <= SMALLEST and length > SHORTEST):
            middle = self.start + length / 2
            return [replace(self, end=middle), replace(self, start=middle)]
        if max(east - west, north - south) > SMALLEST:
            return [replace(self, box=box) for box in _halves(self.box)]
        return []

    def plausible(self) -> int:
        """Return more items than there can be: four products a day of each MGRS tile of 100 km; 10,000 at least."""
        west, south, east, north = self.box
        tiles = ((east - west) / 0.9 + 2) * ((north - south) / 0.9 + 2)
        return max(10_000, int(tiles * ((self.end - self.start).days + 1) * 4))


class _Page(pydantic.BaseModel):
    """What is used of an answer."""

    features: list[Any]
    links: list[Any] = []
    number: Any = pydantic.Field(None, alias="numberMatched")
    context: Any = None

    @property
    def matched(self) -> int | None:
        """How many items there are in all, as the answer says, in today's words or older ones."""
        numbers = (self.number, self.context.get("matched") if isinstance(self.context, dict) else None)
        return next((number for number in numbers if type(number) is int), None)


@dataclass
class _Budget:
    """What a catalogue may still answer to one search: items, and pages."""

    items: int
    pages: int


@dataclass(frozen=True)
class _Request:
    url: str
    body: Mapping[str, Any] | None = None


@dataclass
class _Catalogue:
    """A collection that is searched; may be used from several threads.

    limit: items asked for in a page.
    posts: whether the API takes searches with a body.
    """

    client: Client
    settings: Stac
    limit: int = LIMIT
    posts: bool = True
    api: str = field(init=False)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.settings.api)
        self.api = self.settings.api.rstrip("/")
        self.name = f"{parts.hostname}{parts.path.rstrip('/')} {self.settings.collection}"

    def require_collection(self) -> None:
        """Raise FetchError where the API knows no such collection."""
        try:
            self.client.json(f"{self.api}/collections/{quote(self.settings.collection, safe='')}")
        except AbsentError:
            raise FetchError(
                f"{self.name}: there is no such collection; those there are lie in {self.api}/collections"
            ) from None

    def items(self, part: _Part) -> dict[str, _Answer]:
        """Return what there is of all items of a part, by id."""
        budget = _Budget(part.plausible(), 100 + part.plausible() // LEAST)
        known: dict[str, _Answer] = {}
        parts = [part]
        while parts:
            part, limit, posted = parts.pop(), self.limit, self.posts
            try:
                parts += self._rest(part, limit, budget, known)
            except FetchError as error:
                if error.status in NO_POST and posted:
                    self.posts = False
                elif error.status in TOO_LARGE and limit > LEAST:
                    self.limit = min(self.limit, max(limit // 2, LEAST))
                elif isinstance(error, AbsentError):
                    raise FetchError(f"{self.name}: there is no STAC API that can be searched; check api") from None
                else:
                    raise
                parts.append(part)
        return known

    def _rest(self, part: _Part, limit: int, budget: _Budget, known: dict[str, _Answer]) -> list[_Part]:
        """Read the pages of a part; return its halves where there is no next page, but may be more items."""
        request: _Request | None = self._first(part, limit)
        asked, seen, full, page = set[str](), set[str](), False, _Page(features=[])
        while request and repr(request) not in asked:
            asked.add(repr(request))
            page = self._page(request, budget)
            features = {_id(feature): feature for feature in page.features}
            new = features.keys() - seen
            if features and not new:
                break
            known.update({key: self._answer(features[key]) for key in new - known.keys()})
            seen |= new
            full = len(page.features) >= limit
            request = self._next(page, request, full)
        more = request is None and page.matched is not None and len(seen) < page.matched != part.told
        if not full and not more:
            return []
        halves = part.halves()
        if full and not halves:
            raise FetchError(
                f"{self.name}: gives {len(seen)} items of {part.start:%Y-%m-%d} and no next page, so that some may be "
                "missing; name another catalogue"
            )
        return [replace(half, told=page.matched) for half in halves]

    def _first(self, part: _Part, limit: int) -> _Request:
        times = f"{part.start:%Y-%m-%dT%H:%M:%SZ}/{part.end:%Y-%m-%dT%H:%M:%SZ}"
        if self.posts:
            body = {"collections": [self.settings.collection], "bbox": part.box, "datetime": times, "limit": limit}
            return _Request(f"{self.api}/search", body)
        box = ",".join(map(str, part.box))
        query = {"collections": self.settings.collection, "bbox": box, "datetime": times, "limit": limit}
        return _Request(f"{self.api}/search?{urlencode(query)}")

    def _page(self, request: _Request, budget: _Budget) -> _Page:
        answer = self.client.json(request.url, body=request.body)
        try:
            page = _Page.model_validate(answer)
        except pydantic.ValidationError as error:
            raise FetchError(
                f"{self.name}: answers with no page of items ({of_validation(error)}); check api"
            ) from None
        budget.pages -= 1
        budget.items -= len(page.features)
        if min(budget.pages, budget.items) < 0:
            raise FetchError(f"{self.name}: gives pages without end, more than there can be; name another catalogue")
        return page

    def _next(self, page: _Page, request: _Request, full: bool) -> _Request | None:
        """Return the request of the next page; none where there is none, or none that is to be followed."""
        link = next((link for link in page.links if isinstance(link, dict) and link.get("rel") == "next"), None)
        if link is None:
            return None
        href, body = link.get("href"), link.get("body")
        if not isinstance(href, str) or not isinstance(body, dict | None):
            raise FetchError(f"{self.name}: its link to the next page has no href, or a body that is none; check api")
        url, api = urlsplit(urljoin(request.url, href)), urlsplit(self.api)
        if _host(url) != _host(api):
            if full:
                return None
            raise FetchError(
                f"{self.name}: its next page lies on another host, {url.hostname}, which is not asked; name that as api"
            )
        # Behind a proxy, an API often believes that it is asked by http.
        address = url._replace(scheme=api.scheme, netloc=api.netloc).geturl()
        if str(link.get("method", "GET")).upper() != "POST":
            return _Request(address)
        return _Request(address, {**(request.body or {}), **(body or {})} if link.get("merge") or not body else body)

    def _answer(self, item: Any) -> _Answer:
        try:
            return items.scene(item, self.settings, self.name)
        except ValueError as fault:
            return str(fault)


def _id(item: Any) -> str:
    identity = item.get("id") if isinstance(item, dict) else None
    return identity if isinstance(identity, str) else repr(item)[:300]


def _host(url: SplitResult) -> tuple[str | None, int | None]:
    """Return host and port, none where it is the scheme's own; raises ValueError where the port is none."""
    return url.hostname, None if url.port == {"http": 80, "https": 443}.get(url.scheme) else url.port
