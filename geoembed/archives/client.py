"""Requests to other machines: checked, repeated, bounded, and only to hosts that were named.

An answer counts when it is complete: as long as it says, of the bytes that were asked for, of one version of an
object. What fails in passing (429, 5xx, a lost connection, a time-out, an answer cut short) is asked for again.
"""

import hashlib
import json
import random
import socket
import threading
import time
import urllib.request
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn, Protocol
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from geoembed.archives import hosts
from geoembed.errors import AbsentError, FetchError, of_library
from geoembed.outputs import atomic
from geoembed.version import __version__

CONNECT, READ = 5.0, 30.0
"""Seconds until a connection has to stand, and between two pieces of an answer."""

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
        self._flight = threading.Semaphore(self.connections)
        self._closed = threading.Event()
        self._connections: weakref.WeakSet[HTTPConnection] = weakref.WeakSet()
        self._managers: dict[str | None, urllib3.PoolManager] = {}

    def json(self, url: str, *, body: Mapping[str, Any] | None = None, most: int = 2**25) -> Any:
        """Return the JSON of an answer of at most `most` bytes; with a body, it is posted; raises FetchError."""
        headers = {"Accept": "application/json, application/geo+json", "Accept-Encoding": "gzip"}
        data = None
        if body is not None:
            headers["Content-Type"], data = "application/json", json.dumps(body).encode()
        answer = self._asked(url, headers, most, data)
        try:
            return json.loads(answer.data)
        except (ValueError, RecursionError):
            page = "a web page" if answer.data.lstrip()[:1] == b"<" else "no JSON"
            raise FetchError(f"{hosts.name(url)}: answers with {page}; check the address of the catalogue") from None

    def content(self, url: str, *, most: int) -> bytes:
        """Return an object of at most `most` bytes; raises FetchError, AbsentError."""
        return self._asked(url, {"Accept-Encoding": "identity"}, most).data

    def beginning(self, url: str, size: int) -> Beginning:
        """Return the first bytes of an object, at most `size`; raises FetchError, AbsentError."""
        answer = self._asked(url, {"Accept-Encoding": "identity"}, size, span=(0, size))
        return Beginning(answer.data, answer.size, answer.version)

    def ranges(self, url: str, spans: Sequence[tuple[int, int]], version: str = "") -> list[bytes]:
        """Return parts of an object, each from its first byte to before its last; raises FetchError, AbsentError.

        Spans that touch, or lie so near that a request costs more than the bytes between, are asked for together.

        version: of the object, where it has to be that one.
        """
        runs = _runs(sorted(set(spans)))

        def read(run: tuple[int, int]) -> bytes:
            answer = self._asked(url, {"Accept-Encoding": "identity"}, run[1] - run[0], span=run)
            if len(answer.data) != run[1] - run[0]:
                raise FetchError(
                    f"{hosts.name(url)}: is shorter than its header says; it is damaged, tell its provider"
                )
            if version and answer.version != version:
                raise FetchError(f"{hosts.name(url)}: changed while it was read; run again")
            return answer.data

        parts = list(self._pool.map(read, runs)) if len(runs) > 1 else [read(run) for run in runs]
        read_from = {start: data for (start, _), data in zip(runs, parts, strict=True)}
        starts = sorted(read_from)
        found = []
        for first, last in spans:
            start = max(start for start in starts if start <= first)
            found.append(read_from[start][first - start : last - start])
        return found

    def download(self, url: str, path: Path, *, most: int, md5: str | None = None) -> None:
        """Write an object of at most `most` bytes to a file, which appears whole; raises FetchError, AbsentError."""
        data = self.content(url, most=most)
        if md5 is not None and hashlib.md5(data, usedforsecurity=False).hexdigest() != md5:
            raise FetchError(f"{hosts.name(url)}: is not what its bucket lists (MD5); run again")
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(path, data)

    def close(self) -> None:
        """Give up what is in flight, and close all connections; may be called from any thread."""
        self._closed.set()
        for connection in list(self._connections):
            if isinstance(connection.sock, socket.socket):
                with suppress(OSError):  # not connected any more
                    connection.sock.shutdown(socket.SHUT_RDWR)
        if "_pool" in self.__dict__:
            self._pool.shutdown(wait=False, cancel_futures=True)
        for manager in list(self._managers.values()):
            manager.clear()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.connections, "fetch")

    def _manager(self, address: str) -> urllib3.PoolManager:
        """Return what connects to an address, through the proxy that the environment names for it."""
        parts = urlsplit(address)
        proxy = urllib.request.getproxies().get(parts.scheme)
        if proxy is not None and urllib.request.proxy_bypass(parts.hostname or ""):
            proxy = None
        with self._counting:
            if proxy not in self._managers:
                if proxy is None:
                    manager = urllib3.PoolManager(32, maxsize=self.connections, retries=False)
                else:
                    manager = urllib3.ProxyManager(proxy, 32, maxsize=self.connections, retries=False)
                manager.pool_classes_by_scheme = _pools(self, checked=proxy is None)
                self._managers[proxy] = manager
            return self._managers[proxy]

    def _asked(
        self,
        url: str,
        headers: Mapping[str, str],
        most: int,
        body: bytes | None = None,
        span: tuple[int, int] | None = None,
    ) -> "_Answer":
        """Return an answer, after as many tries as it takes; raises FetchError, AbsentError."""
        if self.offline:
            raise FetchError(f"{hosts.name(url)}: is not in the cache, and --offline asks nobody; run once without it")
        hosts.require(url, self.hosts)
        signed_anew = False
        number = 0
        while True:
            number += 1
            try:
                return self._once(url, headers, most, body, span, number > 1)
            except _Passing as fault:
                if fault.status == 403 and not signed_anew:
                    self.sign.forget(url)
                    signed_anew, wait = True, 0.0
                elif fault.status == 403 or number >= self.tries:
                    _give_up(url, fault, number)
                else:
                    wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (number - 1) * random.uniform(0.5, 1.0))
                    wait = min(LONGEST_WAIT, max(wait, fault.wait))
                if self._closed.wait(wait):
                    raise FetchError(f"{hosts.name(url)}: was given up; run again") from None

    def _once(
        self,
        url: str,
        headers: Mapping[str, str],
        most: int,
        body: bytes | None,
        span: tuple[int, int] | None,
        repeated: bool,
    ) -> "_Answer":
        """Ask once, and return a complete answer; raises _Passing, FetchError and AbsentError."""
        sent = {**headers, "User-Agent": f"geoembed/{__version__}"}
        if span is not None:
            sent["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        address = self.sign(url)
        with self._flight:
            for _ in range(REDIRECTS + 1):
                with self._counting:
                    self.traffic.requests += 1
                    self.traffic.repeated += repeated
                with self._response(address, sent, body) as response:
                    location = response.headers.get("Location")
                    if response.status in (301, 302, 303, 307, 308) and location:
                        further = urljoin(address, location)
                        hosts.require(further, self.hosts, before=address)
                        address = further
                        continue
                    _require_status(url, response, span)
                    return self._read(url, response, most, span)
        raise FetchError(f"{hosts.name(url)}: leads from address to address without end; check the address")

    @contextmanager
    def _response(
        self, address: str, headers: Mapping[str, str], body: bytes | None
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """Yield an answer whose body is not read yet; raises _Passing for what the connection does."""
        if self._closed.is_set():
            raise FetchError(f"{hosts.name(address)}: was given up; run again")
        timeout = urllib3.Timeout(connect=CONNECT, read=READ)
        try:
            response = self._manager(address).request(
                "GET" if body is None else "POST",
                address,
                body=body,
                headers=dict(headers),
                timeout=timeout,
                preload_content=False,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise _Passing(_of(error)) from None
        is_read = False
        try:
            yield response
            is_read = True
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _Passing(_of(error)) from None
        finally:
            if is_read and not response.closed:
                response.drain_conn() if _little_left(response) else response.close()
            elif not is_read:
                response.close()
            response.release_conn()

    def _read(self, url: str, response: urllib3.BaseHTTPResponse, most: int, span: tuple[int, int] | None) -> "_Answer":
        """Return the body of an answer, complete and no larger than `most`; raises _Passing and FetchError."""
        too_large = f"{hosts.name(url)}: answers with more than {most:,} bytes; check the address"
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and int(length) > most:
            raise FetchError(too_large, 413)
        began, data = time.monotonic(), bytearray()
        for piece in response.stream(PIECE, decode_content=True):
            data += piece
            if len(data) > most:
                raise FetchError(too_large, 413)
            if time.monotonic() - began > READ + len(data) / SLOWEST:
                raise _Passing("the answer came too slowly")
            if self._closed.is_set():
                raise FetchError(f"{hosts.name(url)}: was given up; run again")
        with self._counting:
            self.traffic.bytes += len(data)
        version = response.headers.get("ETag", "")
        if span is None:
            if length.isdigit() and "Content-Encoding" not in response.headers and len(data) != int(length):
                raise _Passing("the answer was cut short")
            return _Answer(bytes(data), len(data), version)
        first, last, size = _content_range(url, response)
        if (first, last) != (span[0], min(span[1], size) - 1):
            raise FetchError(f"{hosts.name(url)}: answers with other bytes than those asked for; tell its provider")
        if len(data) != last - first + 1:
            raise _Passing("the answer was cut short")
        return _Answer(bytes(data), size, version)


@dataclass(frozen=True)
class _Answer:
    """A complete answer: its bytes, the size of the whole object, and its version."""

    data: bytes
    size: int
    version: str


class _Passing(Exception):  # noqa: N818 (caught here, and told as a FetchError after the last try)
    """What may work later. `wait` are the seconds that the server asked for."""

    def __init__(self, text: str, status: int | None = None, wait: float = 0.0) -> None:
        super().__init__(text)
        self.status, self.wait = status, wait


def _give_up(url: str, fault: _Passing, tries: int) -> NoReturn:
    if fault.status == 403:
        remedy = "check the address, or [modalities] sign where its files have to be signed"
        raise FetchError(f"{hosts.name(url)}: may not be read (403); {remedy}", 403) from None
    raise FetchError(
        f"{hosts.name(url)}: could not be had in {tries} tries ({fault}); run again later", fault.status
    ) from None


def _require_status(url: str, response: urllib3.BaseHTTPResponse, span: tuple[int, int] | None) -> None:
    """Raise AbsentError, _Passing or FetchError for an answer that is not what was asked for."""
    status = response.status
    if status in (404, 410):
        raise AbsentError(f"{hosts.name(url)}: is not there ({status}); check its address", status)
    if status == 403 or status in AGAIN:
        raise _Passing(f"status {status}", status, _wait(response))
    if span is not None and status == 200:
        kind = response.headers.get("Content-Type", "")
        fault = "answers with a web page" if "html" in kind else "gives whole files only, no parts"
        raise FetchError(f"{hosts.name(url)}: {fault}; name a catalogue whose files can be read in parts", status)
    if status != (200 if span is None else 206):
        raise FetchError(f"{hosts.name(url)}: answers with status {status}; check the address", status)


def _wait(response: urllib3.BaseHTTPResponse) -> float:
    """Return the seconds that a server asks to wait, 0 where it names none or a date."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdigit() and len(text) < 9 else 0.0


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


def _of(error: BaseException) -> str:
    """Return what went wrong with a connection, without addresses, which may be signed."""
    names = {
        urllib3.exceptions.ConnectTimeoutError: "no connection in time",
        urllib3.exceptions.ReadTimeoutError: "no answer in time",
        urllib3.exceptions.SSLError: "its certificate is not trusted",
        urllib3.exceptions.NameResolutionError: "no such host, or no network",
        urllib3.exceptions.NewConnectionError: "no connection",
        urllib3.exceptions.ProxyError: "the proxy does not answer",
        urllib3.exceptions.DecodeError: "the answer was garbled",
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


def _pools(client: Client, *, checked: bool) -> dict[str, Any]:
    """Return urllib3's pools by scheme, whose connections the client knows.

    checked: refuse an address of this machine or its network under the name of a host that was not named itself.
    """

    def known(connection: HTTPConnection) -> None:
        client._connections.add(connection)
        peer = connection.sock.getpeername()[0]
        if checked and not hosts.is_named(f"//{connection.host}", client.hosts) and not hosts.is_public(peer):
            connection.close()
            raise FetchError(f'{connection.host}: lies in the network of this machine; name it: hosts = ["..."]')

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            known(self)

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            known(self)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
