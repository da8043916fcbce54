"""After any call that fails, and after any power cut, a re-run ends as the unbroken run did.

FAULTS=all tries every call of every verb; else those of the slow ones are thinned out.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults import faulty_disk, small_project
from faults.faulty_disk import Calls, Shadow
from faults.small_project import WORKS, Work

from geoembed.cli import faults
from geoembed.earth.places import PLACES
from geoembed.errors import GeoembedError
from geoembed.steps import sample as sample_step

EVERY = {
    "sample": 13, "chip": 13, "pretrain": 7, "suggest": 2, "probe": 9, "embed": 5, "evaluate": 57, "search": 3,
    "export": 11, "import": 11,
}  # fmt: skip
"""Of slow verbs, only each so many-th call fails, or is cut."""

FAULTS = (faulty_disk.full, faulty_disk.interrupt, faulty_disk.broken)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small project, all done but for what the tests make."""
    folder = tmp_path_factory.mktemp("small") / "project"
    small_project.make(folder)
    return folder


@pytest.fixture(autouse=True)
def small_earth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the simulated Earth small."""
    monkeypatch.setattr(sample_step, "PIXELS", 192)
    monkeypatch.setattr(sample_step, "PLACES", PLACES[:1])


@pytest.fixture(params=WORKS)
def work(request: pytest.FixtureRequest, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """A verb, in a copy of the project in which it has not run."""
    folder = tmp_path / "project"
    shutil.copytree(made, folder, copy_function=shutil.copy2)
    monkeypatch.chdir(folder)
    chosen = WORKS[request.param]
    small_project.remove(Path(chosen.output))
    yield chosen


def numbers(work: Work, count: int) -> range:
    """Return which calls are tried."""
    return range(1, count + 1, 1 if os.environ.get("FAULTS") == "all" else EVERY.get(work.name, 1))


def unbroken(work: Work, hooks: Any = None) -> tuple[list[str], dict[str, Any]]:
    """Run a verb; return its calls and what its output holds."""
    calls = Calls(hooks.before, hooks.after) if hooks else Calls()
    with faulty_disk.installed(calls):
        work.run()
    return calls.names, small_project.content(Path(work.output))


def told(run: Callable[[], Any]) -> str | None:
    """Run a verb; return its fault in one line, None where it did its work."""
    try:
        run()
    except KeyboardInterrupt:
        return "interrupted"
    except (GeoembedError, OSError) as error:
        line = faults.told(error)
        assert "\n" not in line and faults.REPORT not in line
        return line
    return None


def test_after_a_call_that_fails_nothing_is_left_over_and_a_rerun_is_as_good(work: Work) -> None:
    names, expected = unbroken(work)
    before = set(Path().rglob("*")) - set(Path(work.output).rglob("*"))
    output = Path(work.output)
    for number in numbers(work, len(names)):
        what = f"{work.name}: call {number} of {len(names)}, {names[number - 1]}"
        small_project.remove(output)
        with faulty_disk.installed(faulty_disk.failing(number, FAULTS[number % len(FAULTS)])) as calls:
            line = told(work.run)
        assert line or len(calls.names) < number, f"{what}: went unnoticed"
        assert not small_project.leftovers(Path()), what
        work.run()
        assert small_project.content(output) == expected, f"{what}: {line}"
        assert set(Path().rglob("*")) - set(output.rglob("*")) == before, what


class PowerCuts:
    """Keeps the folder as power cuts at chosen calls would leave it, in two versions each."""

    def __init__(self, work: Work, folder: Path) -> None:
        self.shadow, self._work, self._folder = Shadow(Path()), work, folder

    def before(self, number: int, name: str, paths: tuple[Path, ...]) -> None:
        if number in numbers(self._work, number):
            self.shadow.without_contents(self._folder / f"{number}-contents")
            self.shadow.without_names(self._folder / f"{number}-names")
        self.shadow.before(number, name, paths)

    def after(self, number: int, name: str, paths: tuple[Path, ...]) -> None:
        self.shadow.after(number, name, paths)


def test_after_a_power_cut_a_rerun_is_as_good(work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = tmp_path / "cuts"
    cuts.mkdir()
    names, expected = unbroken(work, PowerCuts(work, cuts))
    for cut in sorted(cuts.iterdir(), key=lambda path: int(path.name.partition("-")[0])):
        monkeypatch.chdir(cut)
        number, _, lost = cut.name.partition("-")
        what = f"{work.name}: power cut before call {number} of {len(names)}, {names[int(number) - 1]}; {lost} are lost"
        line = told(work.run)
        assert not line, f"{what}: {line}"
        assert small_project.content(Path(work.output)) == expected, what
        assert not small_project.leftovers(Path()), what
