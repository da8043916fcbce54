"""Requests end in the right bytes or in one clear line, whatever a server does."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from archives.conftest import Server

from geoembed.archives import client as clients
from geoembed.archives import connections
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


@pytest.mark.parametrize("fault", ["ok", "once503", "once500", "trunconce", "stallonce"])
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
        ("stallclose", 3, "could not be had in 3 tries (no answer in time)"),
        ("trickle", 3, "could not be had in 3 tries (the answer came too slowly)"),
        ("slowheader", 3, "could not be had in 3 tries (the answer came too slowly)"),
        ("closed", 3, "could not be had in 3 tries (the connection was lost)"),
        ("packedpart", 1, "answers in an encoding that was not asked for"),
        ("416", 1, "is shorter than its header says"),
        ("407", 1, "the proxy asks for a user (407); set HTTPS_PROXY="),
        ("403", 1, "may not be read (403)"),
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


@pytest.mark.parametrize("fault", ["once429", "oncedate"])
def test_a_server_says_how_long_to_wait(client: Client, server: Server, fault: str) -> None:
    began = time.monotonic()
    assert client.ranges(server.url("a.bin", fault), [FAR]) == [DATA[slice(*FAR)]]
    assert 0.9 < time.monotonic() - began < 4
    assert client.traffic.requests == 2


def test_nobody_waits_longer_than_the_limit(client: Client, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "LONGEST_WAIT", 0.1)
    began = time.monotonic()
    client.ranges(server.url("a.bin", "once429"), [FAR])
    assert time.monotonic() - began < 0.8


def test_what_was_thrown_away_counts_as_read(client: Client, server: Server) -> None:
    client.ranges(server.url("a.bin", "trunconce"), [FAR])
    assert client.traffic.bytes > FAR[1] - FAR[0]


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


def test_a_change_is_told_by_the_size_where_nothing_else_tells_it(client: Client, server: Server) -> None:
    url = server.url("a.bin", "grown")
    beginning = client.beginning(url, 1000)
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


def test_answers_are_unpacked_no_further_than_expected(client: Client, server: Server) -> None:
    (server.folder / "small.json").write_text('{"a": 1}')
    assert client.json(server.url("small.json", "packed")) == {"a": 1}
    (server.folder / "large.json").write_bytes(bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(FetchError, match="more than 1,000 bytes"):
            client.json(server.url("large.json", "packed"), most=1000)
        with pytest.raises(FetchError, match=r"in 3 tries \(the answer was garbled\)"):
            client.json(server.url("small.json", "garbled"))
        largest = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert largest < 110_000_000, "the server's own 50 MB and their copy, and little more"


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
    client.download(server.url("a.bin", "once503"), path, most=len(DATA))
    assert path.read_bytes() == DATA
    assert [file.name for file in path.parent.iterdir()] == ["a.bin"]


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


class Token:
    """Signs with a token that the server takes after it was forgotten once, or never."""

    def __init__(self, *, helps: bool) -> None:
        self.helps, self.forgotten = helps, 0

    def __call__(self, href: str) -> str:
        return f"{href if self.forgotten and self.helps else href.replace('/ok/', '/403/')}?token=secret"

    def forget(self, href: str) -> None:
        self.forgotten += 1


def test_addresses_are_signed_and_once_anew(client: Client, server: Server) -> None:
    client.sign = sign = Token(helps=True)
    assert client.content(server.url("a.bin"), most=len(DATA)) == DATA
    assert sign.forgotten == 1
    client.sign = sign = Token(helps=False)
    with pytest.raises(FetchError, match=r"may not be read \(403\)") as told:
        client.content(server.url("a.bin"), most=len(DATA))
    assert (sign.forgotten, len(server.asked)) == (1, 4)
    assert "secret" not in str(told.value)


def test_closing_ends_what_is_in_flight(client: Client, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "READ", 30.0)
    monkeypatch.setattr(clients, "FIRST_WAIT", 30.0)
    told: list[str] = []

    def ask(fault: str) -> None:
        spans = [FAR] if fault != "503" else [(k * 70_000, k * 70_000 + 1) for k in range(1, 4)]
        try:
            client.ranges(server.url("a.bin", fault), spans)
        except FetchError as error:
            told.append(str(error))

    faults = ("stall", "stallclose", "trickle", "slowheader", "503")
    threads = [threading.Thread(target=ask, args=[fault]) for fault in faults]
    for thread in threads:
        thread.start()
    while len(server.asked) < 7:
        time.sleep(0.01)
    time.sleep(0.1)
    began = time.monotonic()
    client.close()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 2.0
    assert all("was given up" in text for text in told)
    assert len(told) == len(faults)
    with pytest.raises(FetchError, match="was given up"):
        client.content(server.url("a.bin"), most=len(DATA))


def test_closing_ends_what_does_not_even_connect() -> None:
    with socket.socket() as busy, socket.socket() as first, socket.socket() as second:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        for waiting in (first, second):  # fill the queue, so that a third is left without an answer
            waiting.setblocking(False)
            waiting.connect_ex(busy.getsockname())
        address = f"127.0.0.1:{busy.getsockname()[1]}"
        client = Client([address])
        threading.Timer(0.3, client.close).start()
        began = time.monotonic()
        with pytest.raises(FetchError, match="was given up"):
            client.content(f"http://{address}/a", most=10)
        assert time.monotonic() - began < 2.0


def test_closing_does_not_wait_for_the_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: is_over.wait(20) and [])
    client = Client(["slow.example.org"])
    threading.Timer(0.2, client.close).start()
    began = time.monotonic()
    with pytest.raises(FetchError, match="was given up"):
        client.content("https://slow.example.org/a", most=10)
    is_over.set()
    assert time.monotonic() - began < 2.0


def test_an_interrupt_ends_the_process_within_two_seconds(server: Server) -> None:
    (server.folder / "a.bin").write_bytes(DATA)
    script = (
        "import sys; from geoembed.archives.client import Client; client = Client([sys.argv[1]])\n"
        "try: client.ranges(sys.argv[2], [(k * 70_000, k * 70_000 + 100) for k in (1, 2)])\n"
        "finally: client.close()"
    )
    command = [sys.executable, "-c", script, server.address, server.url("a.bin", "stall")]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    while len(server.asked) < 2:
        time.sleep(0.05)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=20)
    assert time.monotonic() - began < 2.0
    assert b"KeyboardInterrupt" in text


def test_no_more_are_in_flight_than_said(server: Server) -> None:
    (server.folder / "a.bin").write_bytes(DATA)
    server.latency = 0.05
    client = Client([server.address], connections=2)
    began = time.monotonic()
    client.ranges(server.url("a.bin"), [(k * 70_000, k * 70_000 + 1) for k in range(3)] + [(255_000, 255_001)])
    assert time.monotonic() - began >= 0.1, "four requests of 0.05 s, two at a time"
    client.close()


def resolving(address: tuple[str, int]) -> Callable[..., Any]:
    """Return what says of every name that it has an address."""
    return lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)]


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.0.0.1"])
def test_names_do_not_lead_into_this_network(server: Server, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    port = int(server.address.rpartition(":")[2])
    monkeypatch.setattr(socket, "getaddrinfo", resolving((address, port)))
    url = f"http://a.example.org:{port}/ok/a.bin"
    with pytest.raises(FetchError, match=r"a\.example\.org: lies in the network of this machine; name it: hosts"):
        Client([f"*.example.org:{port}"], tries=1).content(url, most=10)
    assert not server.asked


def test_a_host_that_the_user_named_may_lie_in_this_network(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    (server.folder / "a.bin").write_bytes(DATA)
    port = int(server.address.rpartition(":")[2])
    monkeypatch.setattr(socket, "getaddrinfo", resolving(("127.0.0.1", port)))
    client = Client([f"a.example.org:{port}"], tries=1)
    assert client.content(f"http://a.example.org:{port}/ok/a.bin", most=len(DATA)) == DATA
    client.close()


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[bytes]]]:
    """Address of a proxy that answers everything with "ok", and what it was asked."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    asked: list[bytes] = []
    proxy = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                caller, _ = proxy.accept()
            except OSError:
                return
            with caller:
                asked.append(caller.recv(10_000))
                status = b"407 Who" if asked[-1].startswith(b"CONNECT") else b"200 OK"
                caller.sendall(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")

    threading.Thread(target=serve, daemon=True).start()
    yield f"127.0.0.1:{proxy.getsockname()[1]}", asked
    proxy.shutdown(socket.SHUT_RDWR)
    proxy.close()


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
@pytest.mark.parametrize("scheme", ["http://me:p%40ss@", "me:p%40ss@"])
def test_proxies_of_the_environment_are_asked(
    proxied: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str
) -> None:
    monkeypatch.setenv(variable, f"{scheme}{proxied[0]}")
    client = Client(["data.example.org"], tries=1)
    assert client.content("http://data.example.org/a", most=10) == b"ok"
    assert proxied[1][0].startswith(b"GET http://data.example.org/a ")
    assert b"proxy-authorization: basic bwu6cebzcw==" in proxied[1][0].lower()
    client.close()


def test_a_proxy_that_asks_for_a_user_or_is_not_spoken_is_one_line(
    proxied: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(["data.example.org"], tries=1)
    monkeypatch.setenv("https_proxy", f"http://me:secret@{proxied[0]}")
    with pytest.raises(FetchError, match=r"the proxy asks for a user \(407\)"):
        client.content("https://data.example.org/a", most=10)
    monkeypatch.setenv("https_proxy", "socks5://me:secret@127.0.0.1:9")
    with pytest.raises(FetchError, match=r"^127\.0\.0\.1:9: only proxies of http are spoken; set HTTPS_PROXY="):
        client.content("https://data.example.org/a", most=10)
    client.close()


def test_this_machine_and_exceptions_are_asked_without_a_proxy(
    proxied: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxied[0])
    monkeypatch.setenv("no_proxy", "example.org")
    assert connections.proxy("http://127.0.0.1:1/") is None
    assert connections.proxy("http://data.example.org/") is None
    assert connections.proxy("http://example.net/") == f"http://{proxied[0]}"


def test_an_answer_that_says_to_be_too_large_is_not_read(client: Client, server: Server) -> None:
    whole = json.dumps([0] * 50_000).encode()
    (server.folder / "long.json").write_bytes(whole)
    with pytest.raises(FetchError, match="more than 1,000 bytes"):
        client.json(server.url("long.json"), most=1000)
    assert client.traffic.bytes == 0, "its length says enough"
