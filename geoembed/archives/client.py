"""Requests to other machines: checked, repeated, bounded, and only to hosts that were named."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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


@dataclass
class Client:
    """Connections to some hosts; may be used from several threads.

    hosts: names, or names with a port, that may be asked; `*.example.org` stands for all below.
    tries: how often a request is made before it fails.
    connections: requests in flight at most.
    offline: ask nobody; every request raises FetchError.
    sign: makes an address that may be asked for of one in a catalogue; called anew once after 403.
    traffic: what was asked and answered so far.
    """

    hosts: Sequence[str]
    tries: int = 5
    connections: int = 8
    offline: bool = False
    sign: Callable[[str], str] = str
    traffic: Traffic = field(default_factory=Traffic)

    def json(self, url: str, *, body: Mapping[str, Any] | None = None, most: int = 2**25) -> Any:
        """Return the JSON of an answer of at most `most` bytes; with a body, it is posted; raises FetchError."""
        raise NotImplementedError

    def content(self, url: str, *, most: int) -> bytes:
        """Return an object of at most `most` bytes; raises FetchError, AbsentError."""
        raise NotImplementedError

    def ranges(self, url: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return parts of an object, each from its first byte to before its last; raises FetchError, AbsentError.

        Spans that touch, or lie so near that a request costs more than the bytes between, are asked for together.
        """
        raise NotImplementedError

    def download(self, url: str, path: Path, *, most: int, md5: str | None = None) -> None:
        """Write an object of at most `most` bytes to a file, which appears whole; raises FetchError, AbsentError."""
        raise NotImplementedError

    def close(self) -> None:
        """Give up what is in flight, and close all connections."""
        raise NotImplementedError
