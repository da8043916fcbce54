"""Providers: hosts, credits, gaps, and tokens of Planetary Computer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from geoembed.archives import providers
from geoembed.archives.client import Client
from geoembed.errors import FetchError
from geoembed.imagery.catalogues import Season, Stac

PLANETARY = "https://planetarycomputer.microsoft.com/api/stac/v1"
BLOB = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/60/V/B04.tif"
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


@dataclass
class Tokens(Client):
    """Gives out tokens for 45 minutes, or what else a test wants."""

    answer: Any = None
    asked: list[str] = field(default_factory=list)

    def json(self, url: str, *, body: Any = None, most: int = 0) -> Any:
        self.asked.append(url)
        expiry = (NOON + timedelta(minutes=45)).isoformat().replace("+00:00", "Z")
        token = f"sv=2021-06-08&sig=secret{len(self.asked)}%3D"
        return {"msft:expiry": expiry, "token": token} if self.answer is None else self.answer


@dataclass
class Clock:
    minutes: float = 0.0

    def __call__(self) -> datetime:
        return NOON + timedelta(minutes=self.minutes)


def test_known_archives_have_hosts_and_credits() -> None:
    earth_search = providers.of_stac(Stac(year=2021))
    assert "e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com" in earth_search.hosts
    assert (
        earth_search.attribution == "Contains modified Copernicus Sentinel data 2021, from Earth Search by Element 84"
    )
    assert earth_search.hosts[0] == "earth-search.aws.element84.com"
    planetary = ("planetarycomputer.microsoft.com", "sentinel2l2a01.blob.core.windows.net")
    assert providers.of_stac(Stac(api=PLANETARY, sign="planetary-computer")).hosts == planetary
    for provider in (earth_search, providers.SEASONAL, providers.WORLDCOVER):
        assert all("/" not in host for host in provider.hosts)
        assert provider.licence
        assert "Copernicus Sentinel data" in provider.attribution


def test_other_archives_have_no_hosts_but_their_own() -> None:
    other = providers.of_stac(Stac(api="https://user:secret@stac.example.org:8080/v1", sign="planetary-computer"))
    assert other.name == "stac.example.org"
    assert other.hosts == ("stac.example.org:8080", "planetarycomputer.microsoft.com")
    assert "secret" not in other.attribution


@pytest.mark.parametrize(
    ("collection", "year", "seasons", "words"),
    [
        ("sentinel-2-c1-l2a", 2018, ("jja",), "lacks most scenes of 2018 jja"),
        ("sentinel-2-c1-l2a", 2019, ("djf", "son"), "lacks most scenes of 2019 djf, son"),
        ("sentinel-2-c1-l2a", 2022, ("jja", "son"), "lacks most scenes of 2022 jja;"),
        ("sentinel-2-c1-l2a", 2022, ("son",), None),
        ("sentinel-2-c1-l2a", 2020, ("djf", "mam", "jja", "son"), None),
        ("sentinel-2-c1-l2a", 2023, ("djf",), None),
        ("sentinel-2-l2a", 2018, ("jja",), None),
        ("sentinel-2-l2a", 2022, ("jja",), "0.1 too dark"),
        ("sentinel-2-l2a", 2025, ("jja",), "0.1 too dark"),
    ],
)
def test_known_gaps_are_told(collection: str, year: int, seasons: tuple[Season, ...], words: str | None) -> None:
    notes = providers.notes(Stac(collection=collection, year=year, seasons=seasons))
    assert len(notes) == (words is not None)
    assert words is None or words in notes[0]
    assert providers.notes(Stac(api=PLANETARY, collection=collection, year=year, seasons=seasons)) == []


def test_a_token_is_asked_for_once_for_a_container() -> None:
    client = Tokens(["*"])
    sign = providers.Signer(client, now=Clock())
    assert sign(BLOB) == f"{BLOB}?sv=2021-06-08&sig=secret1%3D"
    assert sign(BLOB.replace("B04", "B03")).endswith("B03.tif?sv=2021-06-08&sig=secret1%3D")
    assert client.asked == [f"{providers.TOKENS}/sentinel2l2a01/sentinel2-l2"]
    sign(BLOB.replace("sentinel2-l2/", "other/"))
    assert client.asked[1:] == [f"{providers.TOKENS}/sentinel2l2a01/other"]


def test_a_token_is_renewed_a_minute_before_it_expires() -> None:
    clock = Clock()
    sign = providers.Signer(Tokens(["*"]), now=clock)
    ends = []
    for clock.minutes in (0, 43.9, 44, 44.1):
        ends.append(sign(BLOB)[-4:])
    assert ends == ["1%3D", "1%3D", "2%3D", "3%3D"]


def test_a_refused_token_is_forgotten() -> None:
    sign = providers.Signer(Tokens(["*"]), now=Clock())
    assert sign(BLOB).endswith("1%3D")
    sign.forget(BLOB)
    sign.forget("https://data.test/B04.tif")
    assert sign(BLOB).endswith("2%3D")


@pytest.mark.parametrize(
    "href",
    [
        "https://data.test/B04.tif",
        f"{BLOB}?sv=1&sig=x",
        f"{providers.TOKENS}/sentinel2l2a01/sentinel2-l2",
        "https://sentinel2l2a01.blob.core.windows.net.evil.test/sentinel2-l2/B04.tif",
        "https://evil.test/sentinel2l2a01.blob.core.windows.net/B04.tif",
        "https://sentinel2l2a01.blob.core.windows.net/",
        "https://a.b.blob.core.windows.net/sentinel2-l2/B04.tif",
        "https://sentinel2l2a01.blob.core.windows.net/../B04.tif",
    ],
)
def test_what_needs_no_token_is_left_as_it_is(href: str) -> None:
    client = Tokens(["*"])
    assert providers.Signer(client)(href) == href
    assert client.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {},
        "secret",
        {"token": "sig=secret-token"},
        {"token": 7, "msft:expiry": "2026-12-01T12:45:00Z"},
        {"token": "sig=secret token", "msft:expiry": "2026-12-01T12:45:00Z"},
        {"token": "sig=secret#token", "msft:expiry": "2026-12-01T12:45:00Z"},
        {"token": "sig=secret-token", "msft:expiry": "soon"},
        {"token": "sig=secret-token", "msft:expiry": "2026-12-01T12:45:00"},
        {"token": "sig=secret-token", "msft:expiry": 7},
    ],
)
def test_an_answer_that_is_no_token_is_one_line_without_it(answer: Any) -> None:
    with pytest.raises(FetchError) as error:
        providers.Signer(Tokens(["*"], answer=answer), now=Clock())(BLOB)
    assert str(error.value) == (
        f"{providers.TOKENS}/sentinel2l2a01/sentinel2-l2: gives no token; try again later, or use another catalogue"
    )


def test_threads_share_a_token() -> None:
    client = Tokens(["*"])
    sign = providers.Signer(client, now=Clock())
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(sign, [BLOB] * 100))) == 1
    assert len(client.asked) == 1
