"""The README is true: its help and its list of modules are generated (`python tests/test_docs.py`) and checked."""

import ast
import os
import re
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geoembed.cli import OPTIONS, app

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
COMMANDS = ("sample", "chip", "label", "pretrain", "embed", "probe", "evaluate")


def help_of(command: str) -> str:
    """The help of a command, without what this folder's settings would change."""
    before = Path.cwd()
    os.chdir(ROOT / "tests")
    try:
        result = CliRunner().invoke(app, [command, "--help"], prog_name="geoembed", env={"COLUMNS": "100"}, color=False)
    finally:
        os.chdir(before)
    return "\n".join(line.rstrip() for line in result.stdout.splitlines()).strip()


def commands() -> str:
    return "\n\n".join(f"### {name}\n\n```text\n{help_of(name)}\n```" for name in COMMANDS)


def modules() -> str:
    """Every module with the first line of its docstring."""
    lines = []
    for path in sorted((ROOT / "geoembed").rglob("*.py"), key=lambda one: (len(one.relative_to(ROOT).parts), str(one))):
        name = str(path.relative_to(ROOT / "geoembed"))
        if path.name == "__init__.py":
            continue
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if path.parent.name != "cli" or name in ("cli/options.py", "cli/streams.py"):
            lines.append(f"{name:24} {doc.splitlines()[0] if doc else ''}".rstrip())
    return "```text\n" + "\n".join(lines) + "\n```"


PARTS = {"commands": commands, "modules": modules}


def filled(text: str) -> str:
    for name, write in PARTS.items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, _, rest = text.partition(start)
        _, _, after = rest.partition(end)
        text = f"{before}{start}{write()}\n{end}{after}"
    return text


def test_the_readme_is_as_generated() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == filled(text), "run `python tests/test_docs.py`"


@pytest.mark.parametrize("command", COMMANDS)
def test_options_in_the_readmes_examples_exist(command: str) -> None:
    known = {f"--{option.key.replace('_', '-')}" for option in OPTIONS[command]} | {"--json", "--help"}
    text = README.read_text(encoding="utf-8").split("<!-- commands -->")[0]
    for line in re.findall(rf"geoembed {command}[^|\n`]*", text):
        assert set(re.findall(r"--[a-z-]+", line)) <= known, line


def test_no_text_fetches_a_strangers_package() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    assert "README.md" in listed
    for path in (ROOT / name for name in listed):
        if path.suffix in {".md", ".py", ".toml", ".txt", ""} and path.name not in {"test_docs.py", "LICENSE"}:
            text = path.read_text(encoding="utf-8", errors="replace")
            assert not re.search(r"pip install geoembed(?!-)", text), path


def test_every_module_says_what_it_is_for() -> None:
    for path in (ROOT / "geoembed").rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_two_commands_of_the_readme_are_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make ([a-z]+) +#", README.read_text(encoding="utf-8")):
        assert re.search(rf"^{target}:", makefile, re.M)
    assert (ROOT / ".ci" / "run").read_text().strip().endswith("make test")


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
