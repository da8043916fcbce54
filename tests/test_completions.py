"""Completions for three shells are generated: `python tests/test_completions.py` writes them anew."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.completion import get_completion_script  # type: ignore[attr-defined]

from geoembed.fits import classifiers

FOLDER = Path(__file__).parents[1] / "completions"
FILES = {"bash": "geoembed.bash", "zsh": "_geoembed", "fish": "geoembed.fish"}


def script(shell: str) -> str:
    text = get_completion_script(prog_name="geoembed", complete_var="_GEOEMBED_COMPLETE", shell=shell)
    return text.strip() + "\n"


@pytest.mark.parametrize("shell", FILES)
def test_completions_are_as_generated(shell: str) -> None:
    assert (FOLDER / FILES[shell]).read_text() == script(shell), "run `make completions`"


def test_bash_completes_commands_and_options() -> None:
    def completed(words: str, position: int) -> list[str]:
        lines = f"source {FOLDER / 'geoembed.bash'}; COMP_WORDS=({words}); COMP_CWORD={position}; {function}; "
        done = subprocess.run(
            ["bash", "-c", lines + 'printf "%s\\n" "${COMPREPLY[@]}"'],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(FOLDER.parent)},
        )
        return done.stdout.split()

    function = "_geoembed_completion geoembed"
    assert {"chip", "embed", "probe", "sample"} <= set(completed("geoembed ''", 1))
    assert "--min-valid" in completed("geoembed chip --min", 2)
    assert completed("geoembed probe --classifier ''", 3) == [*classifiers.TABLE]
    assert completed("geoembed evaluate --classifiers logistic,f", 3) == ["logistic,forest"]


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, file in FILES.items():
        (FOLDER / file).write_text(script(name))
