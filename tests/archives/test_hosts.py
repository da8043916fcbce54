import pytest

from geoembed.archives import hosts
from geoembed.errors import FetchError

NAMED = ("data.example.org", "*.blob.example.net", "127.0.0.1:8000", "[::1]:8000")


@pytest.mark.parametrize(
    "url",
    [
        "https://data.example.org/a",
        "http://DATA.example.org/a",
        "https://x.blob.example.net/a?b",
        "http://127.0.0.1:8000/",
        "http://[::1]:8000/",
    ],
)
def test_named_hosts_may_be_asked(url: str) -> None:
    hosts.require(url, NAMED)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a",
        "https://data.example.org.evil.net/a",
        "https://data.example.org:8443/a",
        "http://127.0.0.1/a",
        "http://127.0.0.1:8001/a",
        "https://blob.example.net/a",
        "file:///etc/passwd",
        "s3://data.example.org/a",
        "//data.example.org/a",
        "https://user:secret@data.example.org/a",
        "https://data.example.org@evil.net/a",
        "https://[::1/a",
        "http://[::1]/a",
        "https://evil.net\\.blob.example.net/a",
        "https://evil.net\t.blob.example.net/a",
        "https://ev%69l.blob.example.net/a",
        "https://evil.net .blob.example.net/a",
        "https://\uff45vil.blob.example.net/a",
        "https://user:secret@\x1b[31m/a",
        "https://:secret@data.example.org/a",
        "https:/secret@data.example.org/a",
        "https://data.example.org:999999/a",
        "",
    ],
)
def test_other_addresses_are_one_line_without_secrets(url: str) -> None:
    with pytest.raises(FetchError) as told:
        hosts.require(url, NAMED)
    assert "secret" not in str(told.value)
    assert "\n" not in str(told.value)
    assert str(told.value).isprintable()


def test_https_does_not_lead_to_http() -> None:
    with pytest.raises(FetchError, match="which is not followed"):
        hosts.require("http://data.example.org/a", NAMED, before="https://data.example.org/")


def test_addresses_of_networks_are_not_public() -> None:
    for address in ("127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "::1", "fe80::1%eth0", "::ffff:10.0.0.1",
                    "224.0.0.1", "0.0.0.0", "x", "100.64.0.1", "2002:7f00:1::", "fd00::1"):  # fmt: skip
        assert not hosts.is_public(address)
    assert hosts.is_public("52.92.1.1")
    assert hosts.is_public("2600:9000::1")


def test_a_host_below_a_named_one_is_not_named_itself() -> None:
    assert hosts.is_named("data.example.org", NAMED)
    assert hosts.is_named("::1", NAMED)
    assert not hosts.is_named("x.blob.example.net", NAMED)


def test_what_people_are_shown_holds_no_secrets_and_steers_no_terminal() -> None:
    assert hosts.name("https://user:secret@a.org:8000/b/c?sig=secret#secret") == "a.org:8000/b/c"
    assert hosts.name("https://a.org/\x1b[31mred\n") == "a.org/?[31mred"
    assert len(hosts.name(f"https://a.org/{'x' * 100_000}")) < 1000
    assert "secret" not in hosts.name("https:/user:secret@a.org/b")
    assert "secret" not in hosts.name("https://secret@[::1/")


def test_this_machine_is_told_by_name_and_number() -> None:
    assert all(map(hosts.is_loopback, ("localhost", "127.0.0.5", "::1")))
    assert not any(map(hosts.is_loopback, ("10.0.0.1", "localhost.example.org", "")))
