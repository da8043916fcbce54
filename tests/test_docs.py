"""The pages are true: what is generated is as generated (`python tests/test_docs.py` writes it), and examples run."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import own_area
import pytest
from test_layers import MAY_IMPORT
from typer.testing import CliRunner

from geoembed import settings
from geoembed.cli import COMMANDS, FUNCTIONS, OPTIONS, app
from geoembed.errors import ProbeError
from geoembed.imagery import modalities
from geoembed.learning import presets

ROOT = Path(__file__).parents[1]
README = "README.md"
PAGES = (README, "geoembed/README.md", "geoembed/cli/README.md", "tests/benchmarks/README.md")
LONGEST = 150
"""Lines of the front page."""


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def help_of(*words: str) -> str:
    """The help of a command, without what this folder's settings would change."""
    before = Path.cwd()
    os.chdir(ROOT / "tests")
    try:
        result = CliRunner().invoke(app, [*words, "--help"], prog_name="geoembed", env={"COLUMNS": "80"}, color=False)
    finally:
        os.chdir(before)
    return "\n".join(line.rstrip() for line in result.stdout.splitlines()).strip()


def commands() -> str:
    """The help of geoembed and of every command."""
    parts = [("geoembed", help_of()), *((name, help_of(name)) for name in (one.replace("_", "-") for one in COMMANDS))]
    return "\n\n".join(f"### {name}\n\n```text\n{text}\n```" for name, text in parts)


def doc_of(path: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def folders() -> str:
    """Every folder: what lives there, and which others it may import."""
    lines = ["| folder | what lives there | may import |", "|---|---|---|"]
    allowed = {"cli": "what it calls", "steps": "all folders of nouns"}
    for path in sorted((ROOT / "geoembed").glob("*/__init__.py")):
        name = path.parent.name
        own = [folder for folder in MAY_IMPORT if folder in MAY_IMPORT.get(name, ())]
        lines.append(f"| `{name}/` | {doc_of(path)} | {allowed.get(name) or ', '.join(own) or 'none'} |")
    return "\n".join(lines)


def modules() -> str:
    """Every module with the first line of its docstring; those at the top come first."""
    package, lines = ROOT / "geoembed", []
    for path in sorted(package.rglob("*.py"), key=lambda path: (path.parent != package, str(path))):
        is_command = path.parent.name == "cli" and path.stem in (*COMMANDS, *FUNCTIONS.values())
        if path.name != "__init__.py" and not is_command:
            lines.append(f"{path.relative_to(package)!s:32} {doc_of(path)}")
    return "```text\n" + "\n".join(lines) + "\n```"


PARTS: dict[str, Callable[[], str]] = {"commands": commands, "folders": folders, "modules": modules}


def filled(text: str) -> str:
    """The text of a page with its generated parts written anew."""
    for name, write in PARTS.items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        if start in text:
            before, _, rest = text.partition(start)
            text = f"{before}{start}{write()}\n{end}{rest.partition(end)[2]}"
    return text


def written(page: str) -> str:
    """The text of a page without its generated parts."""
    return re.sub(r"<!-- (\w+) -->.*?<!-- end of \1 -->", "", read(page), flags=re.DOTALL)


def fenced(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for _, block in found]


def section(page: str, title: str) -> str:
    return read(page).partition(f"## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_as_generated(page: str) -> None:
    assert read(page) == filled(read(page)), "run `python tests/test_docs.py`"


def test_the_front_page_is_short_and_names_the_others() -> None:
    assert len(read(README).splitlines()) <= LONGEST
    assert all(f"]({Path(page).parent}/README.md" in read(README) for page in PAGES[1:])


@pytest.mark.parametrize("page", PAGES)
def test_options_and_variables_named_in_a_page_exist(page: str) -> None:
    known = {name: {f"--{option.key.replace('_', '-')}" for option in OPTIONS[name]} for name in COMMANDS}
    always = {"--json", "--help", "--config", "--quiet", "--verbose"}
    for command, words in re.findall(r"geoembed ([a-z]+(?:[- ](?:check|merge))?)\b([^|\n`]*)", written(page)):
        command = re.sub("[- ]", "_", command)
        if command in COMMANDS:
            assert set(re.findall(r"--[a-z-]+", words)) <= known[command] | always, words
    anywhere = always.union(*known.values(), {"--version", "--install-completion"})
    assert set(re.findall(r"`(?:[a-z]+ )?(--[a-z-]+)", written(page))) <= anywhere
    settings.check_environment(re.findall(r"\bGEOEMBED_[A-Z_]+", written(page)), OPTIONS)


@pytest.mark.parametrize("page", PAGES)
def test_settings_in_a_page_are_understood(page: str, tmp_path: Path) -> None:
    config = tmp_path / "geoembed.toml"
    for block in fenced(read(page), "toml"):
        config.write_text(block)
        set_here = settings.read(config, OPTIONS)
        assert set_here or modalities.read(config)


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_of_a_page_are_there(page: str) -> None:
    def anchors(path: Path) -> set[str]:
        titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}

    targets = re.findall(r"\]\(([^)]+)\)", read(page)) + re.findall(r'src="([^"]+)"', read(page))
    local = [target for target in targets if not target.startswith("https://")]
    assert local
    for target in local:
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target
        assert path.suffix not in {".png", ".jpg"} or path.stat().st_size < 100_000, target


@pytest.mark.parametrize("page", PAGES)
def test_modules_named_in_a_page_are_there(page: str) -> None:
    for name in re.findall(r"`([a-z_/]+\.py)`", written(page)):
        assert any((folder / name).exists() for folder in (ROOT, ROOT / "geoembed", (ROOT / page).parent)), name


def test_help_lists_the_commands_in_the_order_of_the_pipeline_a_whole_line_each() -> None:
    lines = help_of().partition("Commands:\n")[2].splitlines()
    assert [line.split()[0].replace("-", "_") for line in lines] == list(COMMANDS)
    assert all(line.endswith(".") and not line.endswith("..") and len(line) <= 80 for line in lines)


def test_help_fits_80_columns() -> None:
    assert max(len(line) for line in commands().splitlines()) <= 80


@pytest.fixture
def area(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the front page asks for, and training of one epoch in place of a hundred."""
    own_area.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(presets.PRESETS, "tiny", replace(presets.PRESETS["tiny"], epochs=1))
    return tmp_path


def test_the_steps_and_the_example_in_python_do_what_the_front_page_says(
    area: Path, run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    steps = section(README, "Your own area").partition("\n1. ")[2]
    (area / "geoembed.toml").write_text(fenced(steps, "toml")[0])
    lines = re.findall(r"^ +geoembed (.+)$", steps, re.MULTILINE)
    assert [line.split()[0] for line in lines] == ["chip", "pretrain", "embed", "label", "probe", "evaluate"]
    for line in lines:
        result = run(*shlex.split(line))
        assert result.exit_code == 0, result.stderr
    predicted = geopandas.read_file("probe/water/predictions.gpkg")
    labels = geopandas.read_file("labels/water.gpkg").set_index("chip_id")["label"]
    test = predicted[predicted["split"] == "test"]
    assert (test["prediction"].to_numpy() == labels[test["chip_id"]].to_numpy()).mean() > 0.8
    named = {"chip_id", "aoi", "split", "label", "drawn", "prediction", "confidence", "p_0", "p_1", "geometry"}
    assert set(predicted.columns) == named
    assert Path("report/report.html").exists()

    before = Path("embeddings.h5").read_bytes()
    for block in fenced(section(README, "In Python"), "python"):
        exec(compile(block, README, "exec"), {})
    assert Path("embeddings.h5").read_bytes() == before, "made again, though nothing had changed"
    assert capsys.readouterr().out.startswith("probe/water/predictions.gpkg ")
    for block in fenced(read("geoembed/cli/README.md"), "python"):
        names: dict[str, Any] = {}
        exec(compile(block, "geoembed/cli/README.md", "exec"), names)
        assert names["fused"].shape[0] == len(names["place"]) == len(predicted)


def test_the_classifier_of_the_page_learns() -> None:
    names: dict[str, Any] = {}
    exec(compile(fenced(read("geoembed/README.md"), "python")[0], "geoembed/README.md", "exec"), names)
    values = np.arange(60) % 3 * 1.0
    X = (np.random.default_rng(0).normal(size=(60, 4)) + 4 * (values[:, None] == np.arange(4))).astype(np.float32)
    fitted = names["Means"]("means").for_target(3).fit(X, values, 3, 0)
    p = fitted.predict(X)
    assert p.sum(axis=1) == pytest.approx(1.0) and (fitted.decide(p) == values).all()
    with pytest.raises(ProbeError, match="--classifier means: learns classes"):
        names["Means"]("means").for_target(0)


def test_no_text_fetches_a_strangers_package() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    assert README in listed
    for path in (ROOT / name for name in listed):
        if path.suffix in {".md", ".py", ".toml", ".txt", ""} and path.name not in {"test_docs.py", "LICENSE"}:
            text = path.read_text(encoding="utf-8", errors="replace")
            assert not re.search(r"pip install geoembed(?!-)", text), path


def test_every_module_says_what_it_is_for() -> None:
    for path in (ROOT / "geoembed").rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def recipe(target: str) -> list[str]:
    """The commands of a target of the Makefile."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", read("Makefile"), re.MULTILINE)
    assert found, f"no target {target}"
    return [line.strip() for line in found[1].splitlines()]


@pytest.mark.parametrize("page", PAGES)
def test_make_has_the_targets_that_a_page_names(page: str) -> None:
    for target in re.findall(r"(?:^    |`)make ([a-z]+)", read(page), re.MULTILINE):
        assert recipe(target)


def test_what_ci_runs_is_check_which_ends_in_the_front_pages_test() -> None:
    assert read(".ci/run").splitlines()[-1] == "make check"
    assert "    make test " in read(README)
    assert recipe("check")[-1] == "$(MAKE) --no-print-directory test"
    assert any("ruff format --check" in line for line in recipe("check"))


if __name__ == "__main__":
    for page in PAGES:
        (ROOT / page).write_text(filled(read(page)), encoding="utf-8")
