"""What pyproject.toml asks for is what requirements.lock pins, by hash, for every machine; read from files alone."""

import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
NAME = "geoembed-toolkit"
CHOSEN = {"torch"}
"""What is installed in the build that a machine wants, so that nothing can pin it."""

COMPANIONS = re.compile(r"^(nvidia|cuda|triton|torch)\b")
PIN = re.compile(r"(?P<name>[a-z0-9-]+)(\[[a-z0-9,-]+\])?==(?P<version>[0-9][0-9a-z.]*)( ; (?P<marker>[^\\]+))?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


class Pin(NamedTuple):
    """A pinned package: its version, the machines that it is for, and how many files of it are known by hash."""

    version: Version
    marker: str | None
    files: int


def pins(text: str) -> dict[str, Pin]:
    """The pins of a lock file, in which nothing but pins, hashes and comments may stand."""
    found: dict[str, Pin] = {}
    for line in filter(None, re.sub(r"\\\n", "", re.sub(r"(?m)^ *#.*\n?", "", text)).splitlines()):
        pin, *hashes = re.split(r"\s+(?=--)", line.strip())
        parts = PIN.fullmatch(pin.strip())
        assert parts and hashes and all(HASH.fullmatch(item) for item in hashes), line
        assert parts["name"] not in found, f"{parts['name']} twice"
        found[parts["name"]] = Pin(Version(parts["version"]), parts["marker"], len(hashes))
    return found


def asked() -> Iterator[Requirement]:
    """What pyproject.toml asks for, in all extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for text in [
        *project["dependencies"],
        *(item for extra in project["optional-dependencies"].values() for item in extra),
    ]:
        requirement = Requirement(text)
        if requirement.name != NAME:
            yield requirement


def lacking(found: dict[str, Pin]) -> list[str]:
    """What pyproject.toml asks for and the pins do not give."""
    return [
        str(requirement)
        for requirement in asked()
        if (name := canonicalize_name(requirement.name)) not in CHOSEN
        and (name not in found or found[name].marker or found[name].version not in requirement.specifier)
    ]


@pytest.fixture(scope="module")
def lock() -> str:
    return (ROOT / "requirements.lock").read_text(encoding="utf-8")


def test_the_lock_gives_what_is_asked_for_and_knows_every_file_by_hash(lock: str) -> None:
    found = pins(lock)
    assert len(found) > 100
    assert not lacking(found), "run `make lock`"
    assert not [name for name in found if COMPANIONS.match(name)], "exclude them in pyproject.toml, [tool.uv]"


def test_the_lock_names_no_place_of_a_machine(lock: str) -> None:
    assert not re.search(r"://|file:|^-|(^|\s)/|@|--(index|find|extra|trusted)", lock, re.MULTILINE)


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (lambda text: re.sub(r"(?m)^skops==\S+ (.*\n)( .*\n)+", "", text), "skops"),
        (lambda text: re.sub(r"(?m)^typer==\S+", "typer==0.30.0", text), "typer"),
        (lambda text: re.sub(r"(?m)^urllib3==\S+", "urllib3==2.1.0", text), "urllib3"),
        (lambda text: re.sub(r"(?m)^(moto==\S+)", r"\1 ; sys_platform == 'linux'", text), "moto"),
    ],
)
def test_a_lock_that_no_longer_fits_is_found(lock: str, change: Callable[[str], str], missing: str) -> None:
    assert [Requirement(text).name for text in lacking(pins(change(lock)))] == [missing]


@pytest.mark.parametrize(
    "line",
    [
        "six==1.17.0",
        "six>=1.17.0 --hash=sha256:" + "0" * 64,
        "six==1.17.0 --hash=md5:" + "0" * 32,
        "--index-url https://example.com/simple",
        "six @ file:///six.whl --hash=sha256:" + "0" * 64,
    ],
)
def test_a_line_that_is_no_pin_with_hashes_is_found(line: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(line)):
        pins(line)


def test_what_is_below_1_has_an_upper_bound(lock: str) -> None:
    """Below 1.0 any minor release may change an API: the next one waits until the tests have seen it."""
    found = pins(lock)
    young: set[str] = {name for name, pin in found.items() if pin.version.major == 0}
    bounds: dict[str, list[str]] = {
        canonicalize_name(item.name): [
            bound.operator for bound in item.specifier if bound.operator in ("<", "~=", "==")
        ]
        for item in asked()
    }
    assert young & bounds.keys() >= {"exactextract", "pyogrio", "safetensors", "skops", "typer"}
    assert not [name for name in young & bounds.keys() if not bounds[name]]


def test_checks_and_tests_run_on_what_is_pinned() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    stamp = re.search(r"^\$\(VENV\)/locked: pyproject.toml requirements.lock\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert stamp
    first, *more = [line for line in stamp[1].splitlines() if "pip install" in line]
    assert "--require-hashes --requirement requirements.lock" in first
    assert [line.split("--quiet ")[1] for line in more] == ["$(TORCH)", "--no-deps --no-build-isolation --editable ."]
    for target in ("test", "check", "fuzz", "bench"):
        assert re.search(rf"^{target}: \$\(VENV\)/locked$", makefile, re.MULTILINE), target
