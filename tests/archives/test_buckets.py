"""Listings of buckets: real ones of a server like S3, and those of a server that lies."""

from __future__ import annotations

import hashlib

import pytest
from canned import Canned
from s3 import S3

from geoembed.archives import buckets
from geoembed.archives.buckets import Entry
from geoembed.archives.client import Client
from geoembed.errors import AbsentError, FetchError

ASKED = "/b/?list-type=2&prefix=a/"


def client(host: str) -> Client:
    return Client([host], tries=1)


def page(*contents: str, more: str = "<IsTruncated>false</IsTruncated>") -> bytes:
    inside = "".join(f"<Contents>{one}</Contents>" for one in contents)
    return f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>{more}{inside}</ListBucketResult>'.encode()


def entry(key: str, size: str = "1") -> str:
    return f'<Key>{key}</Key><Size>{size}</Size><ETag>"0"</ETag>'


def test_a_listing_goes_over_pages_and_holds_what_has_the_prefix(s3: S3) -> None:
    for number in range(23):
        s3.put(f"a/{number:02d} &<'+%.tif", b"x" * number)
    s3.put("b/0.tif", b"")
    entries = buckets.listing(client(s3.host), s3.url, "a/")
    assert [one.key for one in entries] == [f"a/{number:02d} &<'+%.tif" for number in range(23)]
    assert [one.size for one in entries] == list(range(23))
    assert entries[3].md5 == hashlib.md5(b"xxx").hexdigest()
    assert buckets.listing(client(s3.host), s3.url, "c/") == []


def test_an_object_in_parts_has_no_md5(s3: S3) -> None:
    s3.put_in_parts("a/1.tif", b"xx")
    (found,) = buckets.listing(client(s3.host), s3.url, "a/")
    assert found.etag.endswith("-1")
    assert (found.size, found.md5) == (2, None)


def test_a_bucket_that_is_not_there_is_no_empty_one(s3: S3) -> None:
    with pytest.raises(
        FetchError, match=r"^127.0.0.1:\d+/nix: its listing of a/ is not there; give the url of"
    ) as error:
        buckets.listing(client(s3.host), s3.url.replace("archive", "nix"), "a/")
    assert not isinstance(error.value, AbsentError)


def test_a_bucket_that_may_not_be_listed_is_no_empty_one(canned: Canned) -> None:
    canned.answers[ASKED] = 403
    with pytest.raises(FetchError, match="403"):
        buckets.listing(client(canned.host), f"{canned.url}/b", "a/")


BOMB = b"""<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]>
<ListBucketResult><IsTruncated>false</IsTruncated><Name>&b;</Name></ListBucketResult>"""

LEAK = b"""<?xml version="1.0"?><!DOCTYPE l SYSTEM "file:///etc/passwd">
<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"""


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (BOMB, "has a document type"),
        (BOMB.decode().encode("utf-16"), "has a document type"),
        (LEAK, "has a document type"),
        (page(entry("a/1"))[:-30], "cannot be read"),
        (b"", "cannot be read"),
        (b"<html><p>sign in<br></html>", "cannot be read"),
        (b"<html>sign in</html>", "is <html>, not <ListBucketResult>"),
        (b'<?xml version="1.0" encoding="nix"?><a/>', "cannot be read"),
        (page(more=""), "does not say whether it goes on"),
        (page(more="<IsTruncated>true</IsTruncated>"), "does not say whether it goes on"),
        (page(entry("b/1")), "names objects that were not asked for"),
        (page(entry("../a/1")), "names objects that were not asked for"),
        (page(entry("a/1", "many")), "names an object without its size"),
        (page(entry("a/1", "-1")), "names an object without its size"),
        (page(entry("a/1", "9" * 5000)), "names an object without its size"),
        (page("<Key>a/1</Key>"), "names an object without its size"),
        (page(*(entry(f"a/{number}") for number in range(6))), "has more than 5 objects"),
    ],
)
def test_a_listing_that_lies_is_one_clear_line(canned: Canned, answer: bytes, fault: str) -> None:
    canned.answers[ASKED] = answer
    with pytest.raises(FetchError) as error:
        buckets.listing(client(canned.host), f"{canned.url}/b", "a/", most=5)
    assert str(error.value).startswith(f"{canned.host}/b: its listing of a/ ")
    assert fault in str(error.value)
    assert "\n" not in str(error.value)


def test_a_page_larger_than_any_is_not_read(canned: Canned) -> None:
    canned.answers[ASKED] = page() + b" " * buckets.PAGE
    with pytest.raises(FetchError):
        buckets.listing(client(canned.host), f"{canned.url}/b", "a/")


def test_pages_that_never_end(canned: Canned) -> None:
    def on(token: str) -> str:
        return f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"

    canned.answers[ASKED] = page(entry("a/1"), more=on("+/="))
    canned.answers[f"{ASKED}&continuation-token=%2B%2F%3D"] = page(entry("a/2"), more=on("+/="))
    with pytest.raises(FetchError, match="never ends"):
        buckets.listing(client(canned.host), f"{canned.url}/b", "a/")
    assert len(canned.asked) == 2
    canned.answers[ASKED] = page(more=on("1"))
    with pytest.raises(FetchError, match="never ends"):
        buckets.listing(client(canned.host), f"{canned.url}/b", "a/")


def test_an_entity_tag_is_compared_in_lower_case(canned: Canned) -> None:
    md5 = hashlib.md5(b"").hexdigest()
    canned.answers[ASKED] = page(f'<Key>a/1</Key><Size>0</Size><ETag>"{md5.upper()}"</ETag>')
    assert buckets.listing(client(canned.host), f"{canned.url}/b", "a/") == [Entry("a/1", 0, md5)]
