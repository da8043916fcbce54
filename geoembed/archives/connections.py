"""Connections to other machines: only to addresses that may be reached, and ended when their time is up.

A read with a time-out ends when nothing comes for long; one of an answer that comes byte by byte never would. So a
thread looks after all requests on their way. It shuts the socket down, which wakes whoever waits for it.
"""

import socket
import threading
import time
import urllib.request
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, zip_longest
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from geoembed.archives import hosts
from geoembed.errors import FetchError

CONNECT = 5.0
"""Seconds until a connection to an address has to stand; twice as many until the address of a name has to be known."""

MOST_ADDRESSES = 4
"""Addresses of a host that are tried; large services have dozens."""

LOOK = 0.2
"""Seconds between two looks at the requests on their way."""

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
"""As `socket.getaddrinfo` returns it."""


class Passing(Exception):  # noqa: N818 (caught by the client, and told as a FetchError after the last try)
    """What may work later. `wait` are the seconds that the server asked for."""

    def __init__(self, text: str, status: int | None = None, wait: float = 0.0) -> None:
        super().__init__(text)
        self.status, self.wait = status, wait


class Flight:
    """A request on its way.

    is_late: it was ended, as its time was up.
    """

    def __init__(self, seconds: float) -> None:
        self.is_late = False
        self._seconds = seconds
        self._handle: socket.socket | None = None
        self.go_on()

    def go_on(self, more: float = 0.0) -> None:
        """Let it go on from now for its seconds, and some more."""
        self._deadline = time.monotonic() + self._seconds + more

    def hold(self, handle: socket.socket | None) -> None:
        """End the connection of a handle when the request ends; that of the one before is let go."""
        if self._handle is not None:
            self._handle.close()
        self._handle = handle

    def end(self, now: float = float("inf")) -> None:
        """Shut the connection down if its time is up."""
        if now > self._deadline:
            self.is_late = True
            if self._handle is not None:
                with suppress(OSError):  # not connected any more
                    self._handle.shutdown(socket.SHUT_RDWR)


class Flights:
    """Requests on their way, at most one of a thread.

    closed: set when all were given up; no further one starts.
    """

    def __init__(self) -> None:
        self.closed = threading.Event()
        self._lock = threading.Lock()
        self._flights: set[Flight] = set()
        self._own = threading.local()
        self._is_watched = False

    @contextmanager
    def flight(self, seconds: float) -> Iterator[Flight]:
        """Yield a request, of which each stage may last some seconds: connecting, asking, the answer's beginning."""
        flight = self._own.flight = Flight(seconds)
        with self._lock:
            self._flights.add(flight)
            if not self._is_watched:
                self._is_watched = True
                threading.Thread(target=_watch, args=[weakref.ref(self)], name="watch", daemon=True).start()
        try:
            yield flight
        finally:
            with self._lock:
                self._flights.discard(flight)
                flight.hold(None)

    def hold(self, connection: Any) -> None:
        """Make a socket, or what wraps one, that of this thread's request, which goes on; raises Passing when closed.

        A second handle of the socket is kept, which shuts it down whatever wraps it, and while nobody else may touch
        it: a TLS socket that is shut down while it is read fails in ways of its own.
        """
        handle = socket.socket(fileno=socket.dup(getattr(connection, "socket", connection).fileno()))
        with self._lock:
            flight: Flight = self._own.flight
            flight.hold(handle)
            flight.go_on()
            if self.closed.is_set():
                raise Passing("given up")

    def look(self) -> None:
        """End the requests whose time is up."""
        now = time.monotonic()
        with self._lock:
            for flight in self._flights:
                flight.end(now)

    def close(self) -> None:
        """End all requests."""
        self.closed.set()
        with self._lock:
            for flight in self._flights:
                flight.end()

    def connect(self, host: str, port: int, *, only_public: bool) -> socket.socket:
        """Return a connection to a host; raises Passing, and FetchError.

        only_public: refuse an address of this machine or its network, before anything is sent there.
        """
        fault = "no connection"
        for family, kind, protocol, _, address in self._addresses(host, port):
            if only_public and not hosts.is_public(address[0]):
                raise FetchError(f'{host}: lies in the network of this machine; name it: hosts = ["{host}"]')
            connection = socket.socket(family, kind, protocol)
            try:
                self.hold(connection)
                connection.settimeout(CONNECT)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.connect(address)
            except OSError as error:
                connection.close()
                fault = "no connection in time" if isinstance(error, TimeoutError) else "no connection"
            except BaseException:
                connection.close()
                raise
            else:
                return connection
        raise Passing(fault)

    def _addresses(self, host: str, port: int) -> list[Address]:
        """Return some addresses of a host, of both kinds in turn; raises Passing where there is none in time.

        The system's resolver cannot be interrupted, so a thread that nobody waits for at the end asks it.
        """
        found: list[Address] = []
        is_done = threading.Event()

        def ask() -> None:
            with suppress(OSError, UnicodeError):
                found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            is_done.set()

        threading.Thread(target=ask, name="resolve", daemon=True).start()
        deadline = time.monotonic() + 2 * CONNECT
        while not is_done.wait(LOOK):
            if self.closed.is_set() or time.monotonic() > deadline:
                raise Passing("its name was not found in time")
        if not found:
            raise Passing("no such host, or no network")
        first = [address for address in found if address[0] == found[0][0]]
        others = [address for address in found if address[0] != found[0][0]]
        return [address for address in chain(*zip_longest(first, others)) if address][:MOST_ADDRESSES]


def _watch(reference: "weakref.ref[Flights]") -> None:
    """Look after requests as long as anybody may make some."""
    while (flights := reference()) is not None and not flights.closed.is_set():
        flights.look()
        del flights
        time.sleep(LOOK)


def proxy(address: str) -> str | None:
    """Return the proxy that the environment names for an address, as http://host:port; None where there is none.

    Raises FetchError for one that is not spoken. This machine itself is asked without one.
    """
    parts = urlsplit(address)
    proxies, host = urllib.request.getproxies(), parts.hostname or ""
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found or urllib.request.proxy_bypass(host) or hosts.is_loopback(host):
        return None
    found = found if "://" in found else f"http://{found}"
    if urlsplit(found).scheme not in ("http", "https"):
        name = f"{parts.scheme.upper()}_PROXY"
        raise FetchError(f"{hosts.name(found)}: only proxies of http are spoken; set {name}=http://HOST:PORT")
    return found


def manager(address: str | None, flights: Flights, named: Sequence[str], most: int) -> urllib3.PoolManager:
    """Return what connects, through a proxy where one is given, and keeps at most some connections to each host.

    named: hosts that may lie in the network of this machine.
    """
    if address is None:
        made = urllib3.PoolManager(32, maxsize=most, retries=False)
    else:
        parts = urlsplit(address)
        user = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        sent = urllib3.make_headers(proxy_basic_auth=user) if parts.username else None
        made = urllib3.ProxyManager(address, 32, maxsize=most, retries=False, proxy_headers=sent)
    made.pool_classes_by_scheme = _pools(flights, named, is_direct=address is None)
    return made


def _pools(flights: Flights, named: Sequence[str], *, is_direct: bool) -> dict[str, Any]:
    """Return urllib3's pools by scheme, whose connections are made and ended by us.

    is_direct: connections lead to the hosts themselves, not to a proxy that the user chose.
    """

    def connect(connection: HTTPConnection) -> socket.socket:
        host = connection.host.strip("[]")
        only_public = is_direct and not hosts.is_named(host, named)
        return flights.connect(host, connection.port, only_public=only_public)

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

        def request(self, *args: Any, **options: Any) -> None:
            if self.sock is not None:  # of an earlier request, or wrapped by TLS
                flights.hold(self.sock)
            super().request(*args, **options)

    class Secure(Plain, HTTPSConnection):
        pass

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
