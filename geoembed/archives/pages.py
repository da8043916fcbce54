"""Pages of a STAC API: all items of a place and a time, whatever its limits and its links to next pages are like."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar
from urllib.parse import SplitResult, quote, urlencode, urljoin, urlsplit

import pydantic

from geoembed.archives.client import Client
from geoembed.errors import AbsentError, FetchError, of_validation

T = TypeVar("T")

LIMIT, LEAST = 100, 10
"""Items asked for in a page, and how few at least where pages are too large (Earth Search: 6 MB, some 267 items)."""

MOST = 2**24
"""Bytes of the largest page; an item of Earth Search has some 22,000."""

SHORTEST, SMALLEST = timedelta(seconds=1), 0.05
"""Time and degrees that are not halved any more."""

TOO_LARGE = (413, 500, 502, 504)
NO_POST = (404, 405, 501)
"""Status of answers to which fewer items, and a search without a body, may be the remedy."""

Box = tuple[float, float, float, float]
"""West, south, east, north in degrees; west < east."""


def name(api: str, collection: str) -> str:
    """Return what messages call a collection; without what may be secret of the API's address."""
    parts = urlsplit(api)
    return f"{parts.hostname}{parts.path.rstrip('/')} {collection}"


def halves(box: Box) -> list[Box]:
    """Return the halves of a box, cut across its longer side."""
    west, south, east, north = box
    if east - west >= north - south:
        return [(west, south, (west + east) / 2, north), ((west + east) / 2, south, east, north)]
    return [(west, south, east, (south + north) / 2), (west, (south + north) / 2, east, north)]


@dataclass(frozen=True)
class Part:
    """What one search asks for: a box, west south east north in degrees, and a time, both ends included.

    told: how many items the catalogue told of the part that this one is half of.
    """

    box: Box
    start: datetime
    end: datetime
    told: int | None = None

    def halves(self) -> list["Part"]:
        """Return the halves: by time down to a day, then by place, then by time; none of the smallest."""
        west, south, east, north = self.box
        length = self.end - self.start
        if length > timedelta(days=1) or (max(east - west, north - south) <= SMALLEST and length > SHORTEST):
            middle = self.start + length / 2
            return [replace(self, end=middle), replace(self, start=middle)]
        if max(east - west, north - south) > SMALLEST:
            return [replace(self, box=box) for box in halves(self.box)]
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
    def next(self) -> dict[str, Any] | None:
        """The link to the next page."""
        return next((link for link in self.links if isinstance(link, dict) and link.get("rel") == "next"), None)

    @property
    def matched(self) -> int | None:
        """How many items there are in all, as the answer says, in today's words or older ones."""
        numbers = (self.number, self.context.get("matched") if isinstance(self.context, dict) else None)
        return next((number for number in numbers if type(number) is int), None)


@dataclass
class _Budget:
    """How many items a catalogue may still give of a part; a page counts as half a full one at least."""

    items: int


@dataclass(frozen=True)
class _Request:
    url: str
    body: Mapping[str, Any] | None = None


@dataclass
class Catalogue(Generic[T]):
    """A collection that is searched; may be used from several threads.

    api: address of the STAC API, without a slash at the end.
    collection: in it.
    read: makes of an item what is kept of it; raises nothing.
    limit: items asked for in a page.
    posts: whether the API takes searches with a body.
    """

    client: Client
    api: str
    collection: str
    read: Callable[[Any], T]
    limit: int = LIMIT
    posts: bool = True

    @property
    def name(self) -> str:
        """API and collection, as messages name them."""
        return name(self.api, self.collection)

    def require_collection(self) -> None:
        """Raise FetchError where the API knows no such collection."""
        try:
            self.client.json(f"{self.api}/collections/{quote(self.collection, safe='')}")
        except AbsentError:
            raise FetchError(
                f"{self.name}: there is no such collection; those there are lie in {self.api}/collections"
            ) from None

    def items(self, part: Part) -> dict[str, T]:
        """Return what there is of all items of a part, by id."""
        budget = _Budget(2 * part.plausible())
        known: dict[str, T] = {}
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

    def _rest(self, part: Part, limit: int, budget: _Budget, known: dict[str, T]) -> list[Part]:
        """Read the pages of a part; return its halves where there is no next page, but may be more items."""
        request: _Request | None = self._first(part, limit)
        asked, seen, full, page = set[str](), set[str](), False, _Page.model_validate({"features": []})
        while request and repr(request) not in asked:
            asked.add(repr(request))
            page = self._page(request, limit, budget)
            features = {_id(feature): feature for feature in page.features}
            new = features.keys() - seen
            if features and not new:
                break
            known.update({key: self.read(features[key]) for key in new - known.keys()})
            seen |= new
            full = len(page.features) >= limit
            request = self._next(page, request, full)
        # A catalogue that linked pages so far would link another one; one that links none may have more.
        ended = request is None and page.next is None and len(asked) > 1
        more = request is None and page.matched is not None and len(seen) < page.matched != part.told
        if (not full or ended) and not more:
            return []
        halves = part.halves()
        if full and not ended and not halves:
            raise FetchError(
                f"{self.name}: gives {len(seen)} items of {part.start:%Y-%m-%d} and no next page, so that some may be "
                "missing; name another catalogue"
            )
        return [replace(half, told=page.matched) for half in halves]

    def _first(self, part: Part, limit: int) -> _Request:
        box = [round(degrees, 6) for degrees in part.box]
        times = f"{part.start:%Y-%m-%dT%H:%M:%SZ}/{part.end:%Y-%m-%dT%H:%M:%SZ}"
        if self.posts:
            body = {"collections": [self.collection], "bbox": box, "datetime": times, "limit": limit}
            return _Request(f"{self.api}/search", body)
        text = ",".join(f"{degrees:.6f}" for degrees in box)
        query = {"collections": self.collection, "bbox": text, "datetime": times, "limit": limit}
        return _Request(f"{self.api}/search?{urlencode(query)}")

    def _page(self, request: _Request, limit: int, budget: _Budget) -> _Page:
        answer = self.client.json(request.url, body=request.body, most=MOST)
        try:
            page = _Page.model_validate(answer)
        except pydantic.ValidationError as error:
            raise FetchError(
                f"{self.name}: answers with no page of items ({of_validation(error)}); check api"
            ) from None
        budget.items -= max(len(page.features), limit // 2)
        if budget.items < 0:
            raise FetchError(f"{self.name}: gives pages without end, more than there can be; name another catalogue")
        return page

    def _next(self, page: _Page, request: _Request, full: bool) -> _Request | None:
        """Return the request of the next page; none where there is none, or none that is to be followed."""
        link = page.next
        if link is None:
            return None
        href, body = link.get("href"), link.get("body")
        try:
            url, api = urlsplit(urljoin(request.url, href)), urlsplit(self.api)
            here = _host(url) == _host(api)
        except (TypeError, ValueError, AttributeError):
            url = here = None
        if url is None or not isinstance(body, dict | None):
            raise FetchError(f"{self.name}: its link to the next page is no address, or its body is none; check api")
        if not here:
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


def _id(item: Any) -> str:
    identity = item.get("id") if isinstance(item, dict) else None
    return identity if isinstance(identity, str) else repr(item)[:300]


def _host(url: SplitResult) -> tuple[str | None, int | None]:
    """Return host and port, none where it is the scheme's own; raises ValueError where the port is none."""
    return url.hostname, None if url.port == {"http": 80, "https": 443}.get(url.scheme) else url.port
