"""Hosts: which other machines may be asked."""

import ipaddress
from collections.abc import Sequence
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from geoembed.errors import FetchError

PORTS = {"http": 80, "https": 443}


def require(url: str, hosts: Sequence[str], before: str = "") -> None:
    """Raise FetchError for an address that is no http or https one, or leads to a host that is not among some.

    hosts: names, or names with a port; `*.example.org` stands for all hosts below example.org.
    before: the address that led to this one, which may not leave https.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise FetchError("an address in the catalogue is none; name another catalogue") from None
    if parts.scheme not in PORTS or not host:
        remedy = "name a catalogue whose files lie at https://"
        raise FetchError(f"{parts.scheme or 'an address'}://{host}: only http and https are asked; {remedy}")
    if parts.username or parts.password:
        raise FetchError(f"{host}: an address with a user and a password in it is not asked; remove them")
    if parts.scheme == "http" and before.startswith("https:"):
        raise FetchError(f"{host}: an https address leads on to an http one, which is not followed; tell its provider")
    if not any(_is(known, host, port or PORTS[parts.scheme], parts.scheme) for known in hosts):
        place = host if port in (None, PORTS[parts.scheme]) else f"{host}:{port}"
        raise FetchError(f'{place}: was not named; if you trust it, write hosts = ["{place}"] under [fetch]')


def _is(known: str, host: str, port: int, scheme: str) -> bool:
    name, _, number = known.lower().partition(":")
    if number and number != str(port):
        return False
    if not number and port != PORTS[scheme]:
        return False
    return fnmatchcase(host, name) if name.startswith("*.") else host == name


def name(url: str) -> str:
    """Return host and path of an address for people: without user, password and query, which may hold tokens."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def is_named(url: str, hosts: Sequence[str]) -> bool:
    """Tell whether a host is among some by its own name, not by that of a host above it."""
    host = (urlsplit(url).hostname or "").lower()
    return any(known.lower().partition(":")[0] == host for known in hosts)


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the internet, not of this machine or its network."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_global and not ip.is_multicast
