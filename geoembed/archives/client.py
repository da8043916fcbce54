"""Requests to other machines: checked, repeated, bounded, and only to hosts that were named.

An answer counts when it is complete: as long as it says, of the bytes that were asked for, of one version of an
object. What fails in passing (429, 5xx, a lost connection, a time-out, an answer cut short) is asked for again.
"""

import email.utils
import hashlib
import io
import json
import random
import ssl
import threading
import time
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Protocol
from urllib.parse import urljoin

import urllib3

from geoembed.archives import connections, hosts
from geoembed.archives.connections import CONNECT, Flight, Flights, Passing
from geoembed.errors import AbsentError, FetchError, of_library
from geoembed.outputs import atomic, disk
from geoembed.version import __version__

READ = 30.0
"""Seconds between two pieces of an answer, and until its first."""

SLOWEST = 20_000
"""Bytes a second that an answer must have in the mean, beyond READ seconds: one that trickles would never end."""

FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
"""Seconds before the second try, twice as many before each further one, and at most, whatever a server asks for."""

GAP = 2**16
"""Bytes between two spans that are read along: at 20 ms and 5 MB/s a request costs as much as 100 kB."""

LONGEST = 2**23
"""Bytes that one request asks for at most, so that what is asked for again is little."""

PIECE = 2**16
REDIRECTS = 3
AGAIN = (408, 425, 429, 500, 502, 503, 504)
"""Statuses by which servers say that it may work later. STAC APIs answer 500 and 502 to pages that are too large."""


_AS_IT_IS = {"Accept-Encoding": "identity"}


class Sign(Protocol):
    """Makes an address that may be asked for of one in a catalogue."""

    def __call__(self, href: str) -> str:
        """Return the address."""

    def forget(self, href: str) -> None:
        """Do not sign an address as before, as that was refused."""


class Unsigned:
    """Takes addresses as they are."""

    def __call__(self, href: str) -> str:
        """Return the address."""
        return href

    def forget(self, href: str) -> None:
        """Do nothing."""


@dataclass
class Traffic:
    """What went over the net.

    requests: answered or not.
    repeated: of these, those that repeated another.
    bytes: of bodies.
    """

    requests: int = 0
    repeated: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Beginning:
    """The first bytes of an object.

    data: the bytes.
    size: of the whole object, in bytes.
    version: by which a changed object is told (its ETag); empty where the server gives none.
    """

    data: bytes
    size: int
    version: str


@dataclass(eq=False)
class Client:
    """Connections to some hosts; may be used from several threads.

    hosts: names, or names with a port, that may be asked; `*.example.org` stands for all below, on the internet.
    tries: how often a request is made before it fails.
    connections: requests in flight at most.
    offline: ask nobody; every request raises FetchError.
    sign: makes addresses that may be asked for; those refused with 403 are made anew once.
    traffic: what was asked and answered so far.
    """

    hosts: Sequence[str]
    tries: int = 5
    connections: int = 8
    offline: bool = False
    sign: Sign = field(default_factory=Unsigned)
    traffic: Traffic = field(default_factory=Traffic)

    def __post_init__(self) -> None:
        self._counting = threading.Lock()
        self._free = threading.Semaphore(self.connections)
        self._flights = Flights()
        self._pool = ThreadPoolExecutor(self.connections, "fetch")
        self._managers: dict[str | None, urllib3.PoolManager] = {}

    def json(self, url: str, *, body: Mapping[str, Any] | None = None, most: int = 2**25) -> Any:
        """Return the JSON of an answer of at most `most` bytes; with a body, it is posted; raises FetchError."""
        headers = {"Accept": "application/json, application/geo+json", "Accept-Encoding": "gzip"}
        data = None
        if body is not None:
            headers["Content-Type"], data = "application/json", json.dumps(body).encode()
        answer = self._asked(_Request(url, headers, most, data))
        try:
            return json.loads(answer.data)
        except (ValueError, RecursionError):
            page = "a web page" if answer.data.lstrip()[:1] == b"<" else "no JSON"
            raise FetchError(f"{hosts.name(url)}: answers with {page}; check the address of the catalogue") from None

    def content(self, url: str, *, most: int) -> bytes:
        """Return an object of at most `most` bytes; raises FetchError, AbsentError."""
        return self._asked(_Request(url, _AS_IT_IS, most)).data

    def beginning(self, url: str, size: int) -> Beginning:
        """Return the first bytes of an object, at most `size`; raises FetchError, AbsentError."""
        answer = self._asked(_Request(url, _AS_IT_IS, size, span=(0, size)))
        return Beginning(answer.data, answer.size, answer.version)

    def ranges(self, url: str, spans: Sequence[tuple[int, int]], version: str = "") -> list[bytes]:
        """Return parts of an object, each from its first byte to before its last; raises FetchError, AbsentError.

        Spans that touch, or lie so near that a request costs more than the bytes between, are asked for together.

        version: of the object, where it has to be that one.
        """
        runs = _runs(sorted(set(spans)))

        def read(run: tuple[int, int]) -> bytes:
            answer = self._asked(_Request(url, _AS_IT_IS, run[1] - run[0], span=run))
            if len(answer.data) != run[1] - run[0]:
                raise FetchError(
                    f"{hosts.name(url)}: is shorter than its header says; it is damaged, tell its provider"
                )
            if version and answer.version != version:
                raise FetchError(f"{hosts.name(url)}: changed while it was read; run again")
            return answer.data

        try:
            parts = list(self._pool.map(read, runs)) if len(runs) > 1 else [read(run) for run in runs]
        except (CancelledError, RuntimeError):  # the pool takes no more
            if not self._flights.closed.is_set():
                raise
            raise _given_up(url) from None
        starts = [start for start, _ in runs]
        found = []
        for first, last in spans:
            number = bisect_right(starts, first) - 1
            found.append(parts[number][first - starts[number] : last - starts[number]])
        return found

    def download(self, url: str, path: Path, *, most: int, md5: str | None = None) -> None:
        """Write an object of at most `most` bytes to a file, which appears whole; raises FetchError, AbsentError.

        md5: of the object, which is checked; without one, the server has to say how long it is.
        """
        with atomic.replacing(path) as part, disk.create(part) as file:
            answer = self._asked(_Request(url, _AS_IT_IS, most), file)
            if md5 is None and not answer.is_measured:
                raise FetchError(f"{hosts.name(url)}: does not say how long it is; tell its provider")
            if md5 is not None and _md5(file, part) != md5:
                raise FetchError(f"{hosts.name(url)}: is not what its bucket lists (MD5); run again")

    def close(self) -> None:
        """Give up what is in flight, and close all connections; may be called from any thread."""
        self._flights.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._counting:
            managers = list(self._managers.values())
        for manager in managers:
            manager.clear()

    def _manager(self, address: str) -> urllib3.PoolManager:
        """Return what connects to an address, through the proxy that the environment names for it."""
        proxy = connections.proxy(address)
        with self._counting:
            if proxy not in self._managers:
                self._managers[proxy] = connections.manager(proxy, self._flights, self.hosts, self.connections)
            return self._managers[proxy]

    def _asked(self, request: "_Request", file: BinaryIO | None = None) -> "_Answer":
        """Return an answer, after as many tries as it takes; raises FetchError, AbsentError.

        file: to which it is written; else it is kept in memory.
        """
        url = request.url
        hosts.require(url, self.hosts)
        if self.offline:
            raise FetchError(f"{hosts.name(url)}: is not in the cache, and --offline asks nobody; run once without it")
        is_signed_anew = isinstance(self.sign, Unsigned)
        number = 0
        while True:
            number += 1
            try:
                return self._once(request, file or io.BytesIO(), number > 1)
            except Passing as fault:
                if self._flights.closed.is_set():
                    raise _given_up(url) from None
                if fault.status == 403 and not is_signed_anew:
                    self.sign.forget(url)
                    is_signed_anew, wait = True, 0.0
                elif fault.status == 403 or number >= self.tries:
                    _give_up(url, fault, number)
                else:
                    wait = FIRST_WAIT * 2 ** min(number - 1, 30) * random.uniform(0.5, 1.0)
                    wait = min(LONGEST_WAIT, max(wait, fault.wait))
                if self._flights.closed.wait(wait):
                    raise _given_up(url) from None

    def _once(self, request: "_Request", file: BinaryIO, is_repeated: bool) -> "_Answer":
        """Ask once, and return a complete answer; raises Passing, FetchError and AbsentError."""
        url, span = request.url, request.span
        sent = {**request.headers, "User-Agent": f"geoembed/{__version__}"}
        if span is not None:
            sent["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        address = self.sign(url)
        if address != url:
            hosts.require(address, self.hosts)
        with self._free:
            for _ in range(REDIRECTS + 1):
                with self._response(address, sent, request.body, is_repeated) as (response, flight):
                    location = response.headers.get("Location")
                    if response.status in (301, 302, 303, 307, 308) and location:
                        address = self._redirected(address, location)
                        continue
                    _require_status(url, response, span)
                    return self._read(request, response, flight, file)
        raise FetchError(f"{hosts.name(url)}: leads from address to address without end; check the address")

    def _redirected(self, address: str, location: str) -> str:
        """Return the address that another one leads to; raises FetchError where that may not be asked."""
        try:
            further = urljoin(address, location)
        except ValueError:
            raise FetchError(f"{hosts.name(address)}: leads on to what is no address; tell its provider") from None
        hosts.require(further, self.hosts, before=address)
        return further

    @contextmanager
    def _response(
        self, address: str, headers: Mapping[str, str], body: bytes | None, is_repeated: bool
    ) -> Iterator[tuple[urllib3.BaseHTTPResponse, Flight]]:
        """Yield an answer whose body is not read yet; raises Passing for what the connection does."""
        manager = self._manager(address)
        with self._flights.flight(READ) as flight:
            if self._flights.closed.is_set():
                raise Passing("given up")
            with self._counting:
                self.traffic.requests += 1
                self.traffic.repeated += is_repeated
            response = None
            try:
                response = manager.request(
                    "GET" if body is None else "POST",
                    address,
                    body=body,
                    headers=dict(headers),
                    timeout=urllib3.Timeout(connect=CONNECT, read=READ),
                    preload_content=False,
                    redirect=False,
                )
                flight.go_on()
                yield response, flight
                if _little_left(response):
                    response.drain_conn()
                    response.release_conn()
            except urllib3.exceptions.HTTPError as error:
                if _is_mistrust(error):
                    remedy = "set SSL_CERT_FILE to the certificates of your network"
                    raise FetchError(f"{hosts.name(address)}: its certificate is not trusted; {remedy}") from None
                raise Passing("the answer came too slowly" if flight.is_late else _of(error)) from None
            finally:
                if response is not None:
                    response.close()  # what was released is kept
            if flight.is_late or self._flights.closed.is_set():  # an answer without a length looks complete then
                raise Passing("the answer came too slowly")

    def _read(
        self, request: "_Request", response: urllib3.BaseHTTPResponse, flight: Flight, file: BinaryIO
    ) -> "_Answer":
        """Write the body of an answer, complete and no larger than asked for; raises Passing and FetchError."""
        url, most, span = request.url, request.most, request.span
        too_large = f"{hosts.name(url)}: answers with more than {most:,} bytes; check the address"
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and int(length) > most:
            raise FetchError(too_large, 413)
        unpacked = _unpacking(url, response, span)
        file.seek(0)
        file.truncate()
        came = size = 0
        for piece in response.stream(PIECE, decode_content=False):
            came += len(piece)
            with self._counting:
                self.traffic.bytes += len(piece)
            try:
                # One byte more than there may be tells a body that is too large, however small it was packed.
                size += file.write(piece if unpacked is None else unpacked.decompress(piece, most + 1 - size))
            except zlib.error:
                raise Passing("the answer was garbled") from None
            if size > most:
                raise FetchError(too_large, 413)
            flight.go_on(came / SLOWEST)
        if (length.isdigit() and came != int(length)) or (unpacked is not None and not unpacked.eof):
            raise Passing("the answer was cut short")
        version = response.headers.get("ETag") or response.headers.get("Last-Modified", "")
        if span is not None:
            first, last, whole = _content_range(url, response)
            if (first, last) != (span[0], min(span[1], whole) - 1):
                raise FetchError(f"{hosts.name(url)}: answers with other bytes than those asked for; tell its provider")
            if size != last - first + 1:
                raise Passing("the answer was cut short")
        else:
            whole = size
        is_measured = bool(length) or response.headers.get("Transfer-Encoding", "").lower() == "chunked"
        data = file.getvalue() if isinstance(file, io.BytesIO) else b""
        return _Answer(data, whole, f"{version} {whole}", is_measured)


@dataclass(frozen=True)
class _Request:
    """What is asked for.

    most: bytes of the answer, unpacked, at most.
    body: is posted where there is one.
    span: first byte, and that after the last, of the part that is asked for; None: the whole.
    """

    url: str
    headers: Mapping[str, str]
    most: int
    body: bytes | None = None
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Answer:
    """A complete answer.

    data: its bytes, where they were not written to a file.
    size: of the whole object, in bytes.
    version: of the object; its size is part of it.
    is_measured: it says how long it is.
    """

    data: bytes
    size: int
    version: str
    is_measured: bool


def _given_up(url: str) -> FetchError:
    return FetchError(f"{hosts.name(url)}: was given up; run again")


def _give_up(url: str, fault: Passing, tries: int) -> NoReturn:
    if fault.status == 403:
        remedy = "check the address, or [modalities] sign where its files have to be signed"
        raise FetchError(f"{hosts.name(url)}: may not be read (403); {remedy}", 403) from None
    raise FetchError(
        f"{hosts.name(url)}: could not be had in {tries} {'try' if tries == 1 else 'tries'} ({fault}); run again later",
        fault.status,
    ) from None


def _require_status(url: str, response: urllib3.BaseHTTPResponse, span: tuple[int, int] | None) -> None:
    """Raise AbsentError, Passing or FetchError for an answer that is not what was asked for."""
    status = response.status
    if status in (404, 410):
        raise AbsentError(f"{hosts.name(url)}: is not there ({status}); check its address", status)
    if status == 403 or status in AGAIN:
        raise Passing(f"status {status}", status, _wait(response))
    if span is not None and status == 416:
        raise FetchError(f"{hosts.name(url)}: is shorter than its header says, or empty; tell its provider", status)
    if status == 407:
        raise FetchError(f"{hosts.name(url)}: {_NO_USER}", status)
    if span is not None and status == 200:
        kind = response.headers.get("Content-Type", "")
        fault = "answers with a web page" if "html" in kind else "gives whole files only, no parts"
        raise FetchError(f"{hosts.name(url)}: {fault}; name a catalogue whose files can be read in parts", status)
    if status != (200 if span is None else 206):
        raise FetchError(f"{hosts.name(url)}: answers with status {status}; check the address", status)


_NO_USER = "the proxy asks for a user (407); set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"


def _wait(response: urllib3.BaseHTTPResponse) -> float:
    """Return the seconds that a server asks to wait, itself or until a date; 0 where it names neither."""
    text = response.headers.get("Retry-After", "")
    if text.isdigit() and len(text) < 9:
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _unpacking(url: str, response: urllib3.BaseHTTPResponse, span: tuple[int, int] | None) -> "zlib._Decompress | None":
    """Return what unpacks an answer, None for one as it is; raises FetchError for what was not asked for."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return None
    if span is not None or encoding not in ("gzip", "x-gzip"):
        raise FetchError(f"{hosts.name(url)}: answers in an encoding that was not asked for; tell its provider")
    return zlib.decompressobj(wbits=31)


def _md5(file: BinaryIO, path: Path) -> str:
    """Return the MD5 of a file at a path that was written and is still open."""
    file.flush()
    with path.open("rb") as written:
        return hashlib.file_digest(written, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _content_range(url: str, response: urllib3.BaseHTTPResponse) -> tuple[int, int, int]:
    """Return first and last byte of a part, and the size of the whole; raises FetchError."""
    unit, _, text = response.headers.get("Content-Range", "").partition(" ")
    part, _, size = text.partition("/")
    first, _, last = part.partition("-")
    if unit != "bytes" or not all(number.isdigit() and len(number) < 19 for number in (first, last, size)):
        raise FetchError(f"{hosts.name(url)}: does not say which bytes it answers with; tell its provider")
    return int(first), int(last), int(size)


def _little_left(response: urllib3.BaseHTTPResponse) -> bool:
    length = response.headers.get("Content-Length", "")
    return length.isdigit() and int(length) <= PIECE


def _is_mistrust(error: BaseException) -> bool:
    """Tell whether a connection failed as the other machine's certificate is not trusted."""
    cause = getattr(error, "original_error", error)
    return any(isinstance(each, ssl.SSLCertVerificationError) for each in (cause, *cause.args))


def _of(error: BaseException) -> str:
    """Return what went wrong with a connection, without addresses, which may be signed."""
    if isinstance(error, urllib3.exceptions.ProxyError):
        return _NO_USER if "407" in str(error.original_error) else "the proxy does not answer"
    names = {
        urllib3.exceptions.ReadTimeoutError: "no answer in time",
        urllib3.exceptions.ConnectTimeoutError: "no connection in time",
        urllib3.exceptions.SSLError: "the connection was lost",
        urllib3.exceptions.ProtocolError: "the connection was lost",
    }
    return next((text for kind, text in names.items() if isinstance(error, kind)), of_library(error)[:60])


def _runs(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans that hold all given ones, in order: near ones joined, as long as the run is not too long."""
    if not spans:
        return []
    runs = [spans[0]]
    for _, (first, last) in pairwise(spans):
        start, end = runs[-1]
        if first < end or (first - end <= GAP and last - start <= LONGEST):
            runs[-1] = (start, max(end, last))
        else:
            runs.append((first, last))
    return runs
