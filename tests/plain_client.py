"""A client without retries, until that of the package is there: each request is made once, one after another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from geoembed.archives.client import Client
from geoembed.errors import AbsentError, FetchError
from geoembed.outputs import atomic


@dataclass
class PlainClient(Client):
    """Answers as the package's client does."""

    def content(self, url: str, *, most: int) -> bytes:
        return self._get(url, most)

    def ranges(self, url: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        return [self._get(url, end - start, {"Range": f"bytes={start}-{end - 1}"}) for start, end in spans]

    def download(self, url: str, path: Path, *, most: int, md5: str | None = None) -> None:
        data = self._get(url, most)
        if md5 and hashlib.md5(data).hexdigest() != md5:
            raise FetchError(f"{urlsplit(url).netloc}: other content than it should have; run again")
        atomic.write_bytes(path, data)

    def close(self) -> None:
        pass

    def _get(self, url: str, most: int, headers: dict[str, str] | None = None) -> bytes:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        if self.offline:
            raise FetchError(f"{host}: not asked; drop --offline")
        self.traffic.requests += 1
        try:
            with urlopen(Request(parts._replace(netloc=host).geturl(), headers=headers or {}), timeout=5) as answer:
                data = bytes(answer.read(most + 1))
        except HTTPError as error:
            error.close()
            kind = AbsentError if error.code == 404 else FetchError
            raise kind(f"{host}: answers {error.code}; run again") from None
        if len(data) > most:
            raise FetchError(f"{host}: answers with more than {most:,} bytes; run again")
        self.traffic.bytes += len(data)
        return data
