"""Hosts: which other machines may be asked."""

import ipaddress
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from urllib.parse import SplitResult, urlsplit

from geoembed.errors import FetchError

PORTS = {"http": 80, "https": 443}

MOST_LETTERS = 300
"""Letters of an address that messages repeat; catalogues may hold any."""

_NAME = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
"""Names of hosts, and addresses of IPv6 without brackets."""

_STRAY = re.compile(r"[\\\s\x00-\x20\x7f]")
"""What no address holds. Libraries disagree about the host of one that does: to some, `a.net\\.b.org` is a.net."""


def require(url: str, hosts: Sequence[str], before: str = "") -> None:
    """Raise FetchError for an address that is no http or https one, or leads to a host that is not among some.

    hosts: names, or names with a port; `*.example.org` stands for all hosts below example.org.
    before: the address that led to this one, which may not leave https.
    """
    try:
        parts = _split(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise FetchError("an address in the catalogue is none; name another catalogue") from None
    if parts.scheme not in PORTS or not host:
        remedy = "name a catalogue whose files lie at https://"
        raise FetchError(f"{parts.scheme or 'an address'}://{_shown(host)}: only http and https are asked; {remedy}")
    if parts.username is not None or parts.password is not None:
        raise FetchError(f"{_shown(host)}: an address with a user and a password in it is not asked; remove them")
    if not _NAME.fullmatch(host):
        raise FetchError(f"{_shown(host)}: is no name of a host; name another catalogue")
    if parts.scheme == "http" and before.startswith("https:"):
        raise FetchError(f"{host}: an https address leads on to an http one, which is not followed; tell its provider")
    port = port or PORTS[parts.scheme]
    if not any(_is(known, host, port, parts.scheme) for known in hosts):
        place = f"[{host}]" if ":" in host else host
        place = place if port == PORTS[parts.scheme] else f"{place}:{port}"
        raise FetchError(f'{place}: was not named; if you trust it, write hosts = ["{place}"] under [fetch]')


def _split(url: str) -> SplitResult:
    """Return the parts of an address; raises ValueError where it is none."""
    if _STRAY.search(url):
        raise ValueError(url)
    return urlsplit(url)


def _known(host: str) -> tuple[str, int | None]:
    """Return name and port of a host as a user writes it: `example.org`, `example.org:8000`, `[::1]:8000`."""
    try:
        parts = urlsplit(f"//{host}")
        return (parts.hostname or "").lower(), parts.port
    except ValueError:
        return "", None


def _is(known: str, host: str, port: int, scheme: str) -> bool:
    name, number = _known(known)
    if port != (number or PORTS[scheme]):
        return False
    return fnmatchcase(host, name) if name.startswith("*.") else host == name


def name(url: str) -> str:
    """Return host and path of an address for people: without user, password and query, which may hold tokens."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that is none"
    return _shown(f"{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else "an address without a host")


def _shown(text: str) -> str:
    """Return a text without letters that would steer a terminal, and not too long."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}..."


def is_named(host: str, hosts: Sequence[str]) -> bool:
    """Tell whether a host is among some by its own name, not by that of a host above it."""
    return any(_known(known)[0] == host.lower() for known in hosts)


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the internet, not of this machine or its network."""
    ip = _ip(address)
    return ip is not None and ip.is_global and not ip.is_multicast


def is_loopback(host: str) -> bool:
    """Tell whether a host, by its name or IP address, is this machine itself."""
    ip = _ip(host)
    return host.lower() == "localhost" or (ip is not None and ip.is_loopback)


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an IP address, the inner one where IPv6 wraps one of IPv4; None where it is none."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address):
        return ip.ipv4_mapped or ip.sixtofour or ip
    return ip
