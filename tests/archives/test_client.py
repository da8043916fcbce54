"""Requests end in the right bytes or in one clear line, whatever a server does."""

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives.conftest import Server

from geoembed.archives import client as clients
from geoembed.archives.client import Client
from geoembed.errors import AbsentError, FetchError

DATA = bytes(range(256)) * 1000
"""256 kB."""


@pytest.fixture
def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(clients, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(clients, "READ", 0.5)
    (server.folder / "a.bin").write_bytes(DATA)
    made = Client([server.address], tries=3)
    yield made
    made.close()


FAR = (100_000, 150_000)


@pytest.mark.parametrize("fault", ["ok", "once503", "once500", "once429", "trunconce", "stallonce"])
def test_what_fails_in_passing_is_asked_for_again(client: Client, server: Server, fault: str) -> None:
    assert client.ranges(server.url("a.bin", fault), [FAR]) == [DATA[slice(*FAR)]]
    assert client.traffic.requests == (1 if fault == "ok" else 2)
    assert client.traffic.repeated == client.traffic.requests - 1


@pytest.mark.parametrize(
    ("fault", "requests", "text"),
    [
        ("503", 3, "could not be had in 3 tries (status 503)"),
        ("429", 3, "could not be had in 3 tries (status 429)"),
        ("trunc", 3, "could not be had in 3 tries (the connection was lost)"),
        ("stall", 3, "could not be had in 3 tries (no answer in time)"),
        ("closed", 3, "could not be had in 3 tries (the connection was lost)"),
        ("403", 2, "may not be read (403)"),
        ("401", 1, "answers with status 401"),
        ("404", 1, "is not there (404)"),
        ("norange", 1, "gives whole files only, no parts"),
        ("html", 1, "answers with a web page"),
        ("shifted", 1, "answers with other bytes than those asked for"),
    ],
)
def test_what_goes_on_failing_is_one_line(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch, fault: str, requests: int, text: str
) -> None:
    monkeypatch.setattr(clients, "LONGEST_WAIT", 0.02)
    with pytest.raises(FetchError) as told:
        client.ranges(f"{server.url('a.bin', fault)}?sig=secret", [FAR])
    assert text in str(told.value)
    assert str(told.value).startswith(f"{server.address}/{fault}/a.bin: ")
    assert "secret" not in str(told.value)
    assert "\n" not in str(told.value)
    assert len(server.asked) == requests
    assert isinstance(told.value, AbsentError) == (fault == "404")


def test_a_server_says_how_long_to_wait(client: Client, server: Server) -> None:
    began = time.monotonic()
    client.ranges(server.url("a.bin", "once429"), [FAR])
    assert time.monotonic() - began > 0.9


def test_near_spans_are_asked_for_together(client: Client, server: Server) -> None:
    spans = [(200_000, 200_010), (0, 10), (10, 20), (50_000, 50_010), (0, 10), (130_000, 130_100)]
    assert client.ranges(server.url("a.bin"), spans) == [DATA[slice(*span)] for span in spans]
    assert sorted(asked for *_, asked in server.asked) == [
        "bytes=0-50009",
        "bytes=130000-130099",
        "bytes=200000-200009",
    ]


def test_a_changed_object_is_not_put_together_with_the_old_one(client: Client, server: Server) -> None:
    url = server.url("a.bin", "changed")
    beginning = client.beginning(url, 1000)
    assert (beginning.data, beginning.size) == (DATA[:1000], len(DATA))
    with pytest.raises(FetchError, match="changed while it was read"):
        client.ranges(url, [FAR], beginning.version)


def test_a_beginning_is_all_of_a_short_object(client: Client, server: Server) -> None:
    (server.folder / "short").write_bytes(b"short")
    assert client.beginning(server.url("short"), 1000).data == b"short"
    with pytest.raises(FetchError, match="is shorter than its header says"):
        client.ranges(server.url("short"), [(0, 1000)])


def test_answers_are_no_larger_than_expected(client: Client, server: Server) -> None:
    with pytest.raises(FetchError, match="more than 1,000 bytes") as told:
        client.content(server.url("a.bin"), most=1000)
    assert told.value.status == 413
    assert client.content(server.url("a.bin"), most=len(DATA)) == DATA


def test_json_is_json(client: Client, server: Server) -> None:
    (server.folder / "good.json").write_text('{"a": 1}')
    (server.folder / "page.json").write_text("<html>")
    (server.folder / "deep.json").write_text("[" * 100_000)
    assert client.json(server.url("good.json")) == {"a": 1}
    for name, text in (("page", "a web page"), ("deep", "no JSON")):
        with pytest.raises(FetchError, match=text):
            client.json(server.url(f"{name}.json"))


def test_a_download_appears_whole_and_is_what_was_listed(client: Client, server: Server, tmp_path: Path) -> None:
    path, md5 = tmp_path / "cache" / "a.bin", hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    with pytest.raises(FetchError, match="MD5"):
        client.download(server.url("a.bin"), path, most=len(DATA), md5="0" * 32)
    assert not path.exists()
    client.download(server.url("a.bin"), path, most=len(DATA), md5=md5)
    assert path.read_bytes() == DATA


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.2/a", "http://localhost:1/a", "file:///etc/passwd", "ftp://x/y", "http://169.254.169.254/"],
)
def test_redirects_lead_to_named_hosts_only(client: Client, server: Server, target: str) -> None:
    with pytest.raises(FetchError, match=r"was not named|only http and https"):
        client.content(server.url("x", f"to={target.replace('/', '%2F')}"), most=10)
    assert len(server.asked) == 1


def test_redirects_to_named_hosts_are_followed_a_few_times(client: Client, server: Server) -> None:
    assert client.content(server.url("a.bin", "to=%2Fok%2Fa.bin"), most=len(DATA)) == DATA
    with pytest.raises(FetchError, match="from address to address without end"):
        client.content(server.url("loop", "loop"), most=10)


def test_offline_asks_nobody(server: Server) -> None:
    with pytest.raises(FetchError, match="--offline asks nobody"):
        Client([server.address], offline=True).content(server.url("a.bin"), most=10)
    assert not server.asked


def test_addresses_are_signed_and_once_anew(client: Client, server: Server) -> None:
    class Sign:
        forgotten = 0

        def __call__(self, href: str) -> str:
            return f"{href if self.forgotten else href.replace('/ok/', '/403/')}?token=secret"

        def forget(self, href: str) -> None:
            self.forgotten += 1

    client.sign = sign = Sign()
    assert client.content(server.url("a.bin"), most=len(DATA)) == DATA
    assert sign.forgotten == 1


def test_closing_ends_what_is_in_flight(client: Client, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "READ", 30.0)
    monkeypatch.setattr(clients, "FIRST_WAIT", 30.0)
    told: list[str] = []

    def ask(fault: str) -> None:
        try:
            client.ranges(server.url("a.bin", fault), [FAR])
        except FetchError as error:
            told.append(str(error))

    threads = [threading.Thread(target=ask, args=[fault]) for fault in ("stall", "503")]
    for thread in threads:
        thread.start()
    while len(server.asked) < 2:
        time.sleep(0.01)
    time.sleep(0.1)
    began = time.monotonic()
    client.close()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 2.0
    assert all("was given up" in text for text in told)
    assert len(told) == 2


def test_no_more_are_in_flight_than_said(server: Server) -> None:
    (server.folder / "a.bin").write_bytes(DATA)
    server.latency = 0.05
    client = Client([server.address], connections=2)
    began = time.monotonic()
    client.ranges(server.url("a.bin"), [(k * 70_000, k * 70_000 + 1) for k in range(3)] + [(255_000, 255_001)])
    assert time.monotonic() - began >= 0.1, "four requests of 0.05 s, two at a time"
    client.close()
