"""Buckets of S3 that anyone may read: which objects they hold, asked over plain https."""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from geoembed.archives import hosts
from geoembed.archives.client import Client
from geoembed.errors import AbsentError, FetchError, of_library

PAGE = 2**22
"""Bytes of a page of a listing at most; S3 gives 1,000 keys a page, each of at most 1,024 bytes."""


@dataclass(frozen=True)
class Entry:
    """An object of a bucket.

    key: its name in the bucket.
    size: in bytes.
    etag: without quotes; the MD5 of an object that was uploaded in one piece.
    """

    key: str
    size: int
    etag: str

    @property
    def md5(self) -> str | None:
        """Return the MD5 of the object, in hexadecimal; None where the bucket does not tell it."""
        return self.etag if re.fullmatch(r"[0-9a-f]{32}", self.etag) else None


class _Tree(ElementTree.TreeBuilder):
    """Refuses a document type, and with it all entities: it is met before any of them is defined."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Raise ValueError."""
        raise ValueError("has a document type")


def listing(client: Client, url: str, prefix: str, *, most: int = 10_000) -> list[Entry]:
    """Return the objects of a bucket, at most `most`, whose names begin with a prefix; raises FetchError.

    url: of the bucket, without a slash at its end.
    """
    entries: dict[str, Entry] = {}
    token: str | None = ""
    tokens = {""}
    while token is not None:
        asked = f"{url}/?list-type=2&prefix={quote(prefix, safe='/')}"
        try:
            page = client.content(asked + (f"&continuation-token={quote(token, safe='')}" if token else ""), most=PAGE)
        except AbsentError:
            raise _error(url, prefix, "is not there") from None
        try:
            found, token = _page(page, prefix)
        except (ValueError, ElementTree.ParseError, LookupError) as error:  # LookupError: of unknown encodings
            raise _error(url, prefix, f"cannot be read ({of_library(error)})") from None
        entries |= {entry.key: entry for entry in found}
        if len(entries) > most:
            raise _error(url, prefix, f"has more than {most:,} objects")
        if token in tokens or (token is not None and not found):
            raise _error(url, prefix, "never ends")
        tokens.add(token or "")
    return list(entries.values())


def _error(url: str, prefix: str, fault: str) -> FetchError:
    return FetchError(
        f"{hosts.name(url)}: its listing of {prefix} {fault}; give the url of an S3 bucket that anyone may list"
    )


def _page(data: bytes, prefix: str) -> tuple[list[Entry], str | None]:
    """Return the objects on a page of a listing, and the token of the next page; raises ValueError and ParseError."""
    root = ElementTree.fromstring(data, ElementTree.XMLParser(target=_Tree()))
    if _name(root) != "ListBucketResult":
        raise ValueError(f"is <{_name(root)[:40]}>, not <ListBucketResult>")
    texts = {_name(node): node.text or "" for node in root if not len(node)}
    found = [_entry(node, prefix) for node in root if _name(node) == "Contents"]
    if texts.get("IsTruncated") == "false":
        return found, None
    if texts.get("IsTruncated") != "true" or not texts.get("NextContinuationToken"):
        raise ValueError("does not say whether it goes on, and where")
    return found, texts["NextContinuationToken"]


def _entry(node: Any, prefix: str) -> Entry:
    texts = {_name(part): part.text or "" for part in node}
    key, size, etag = texts.get("Key", ""), texts.get("Size", ""), texts.get("ETag", "")
    if not key.startswith(prefix):
        raise ValueError("names objects that were not asked for")
    if not re.fullmatch(r"[0-9]{1,18}", size):
        raise ValueError("names an object without its size")
    return Entry(key, int(size), etag.strip('"').lower())


def _name(node: Any) -> str:
    """Return an element's name without its namespace, which differs between makers of buckets."""
    return str(node.tag).rpartition("}")[2]
