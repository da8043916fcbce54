"""What holds for every command: help, settings from three places, stdin, stdout, JSON, exit status."""

import json
from pathlib import Path

import pytest
from conftest import Run

from geoembed import settings
from geoembed.cli import OPTIONS

COMMANDS = (
    "sample", "fetch", "chip", "label", "label_merge", "pretrain", "embed", "suggest", "label_check", "probe",
    "evaluate", "search", "export", "import", "info",
)  # fmt: skip


def test_the_contracts_commands_are_there() -> None:
    assert set(OPTIONS) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_explains_every_option(command: str, run: Run) -> None:
    words = command.replace("_", " ")
    result = run(*words.split(), "--help")
    assert result.exit_code == 0
    assert f"Example: geoembed {words}" in result.stdout
    for option in OPTIONS[command]:
        assert f"--{option.key.replace('_', '-')}" in result.stdout


def test_command_line_beats_environment_beats_file(place: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def size(*words: str) -> int:
        result = run("chip", "--aoi", "aoi.gpkg", "--json", "--overwrite", *words)
        assert result.exit_code == 0, result.stderr
        return int(json.loads(Path("chips/chips.json").read_text())["size"])

    assert size() == 16
    monkeypatch.setenv("GEOEMBED_CHIP_SIZE", "20")
    assert size() == 20
    assert size("--size", "40") == 40


def test_paths_in_the_file_are_relative_to_the_file(place: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with (place / "geoembed.toml").open("a") as file:
        file.write('[label]\nchips = "mine"\n')
    text = (place / "geoembed.toml").read_text().replace("size = 16", 'size = 16\naoi = ["aoi.gpkg"]\noutput = "mine"')
    (place / "geoembed.toml").write_text(text)
    (place / "below").mkdir()
    monkeypatch.chdir(place / "below")
    for words in (("--config", "../geoembed.toml", "chip"), ("chip", "--config", "../geoembed.toml")):
        result = run(*words)
        assert (result.exit_code, result.stdout) == (0, "../mine\n"), result.stderr
    assert (place / "mine" / "index.gpkg").exists()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[chip]\nszie = 3", "[chip] has no option szie; did you mean size?"),
        ("[chpi]\nsize = 3", "unknown table [chpi]; did you mean chip?"),
        ("[chip]\nsize = [1, 2]", "[chip] size takes one value"),
        ("[chip\n", "cannot be read as TOML"),
        ("chip = 3", "chip must be a table"),
    ],
)
def test_bad_settings_are_told_in_one_line(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, text: str, fault: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "geoembed.toml").write_text(text)
    result = run("chip", "--aoi", "aoi.gpkg")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("geoembed: geoembed.toml: ")
    assert fault in result.stderr
    assert result.stderr.count("\n") == 1


def test_unknown_variables_name_the_nearest(place: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOEMBED_CHIP_MIN_VALD", "0.1")
    result = run("chip", "--aoi", "aoi.gpkg")
    assert result.exit_code == 1
    assert "did you mean GEOEMBED_CHIP_MIN_VALID?" in result.stderr


@pytest.mark.parametrize(
    "words", ["chop", "chip", "chip --aoi", "chip --nothing", "chip --aoi a extra", "label", "evaluate"], ids=str
)
def test_what_is_unknown_or_missing_on_the_command_line_is_2(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*words.split())
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("chip --aoi a.gpkg --size x", "--size x: input should be a valid integer"),
        ("chip --aoi a.gpkg --min-valid 2", "--min-valid 2: input should be less than or equal to 1"),
        ("chip --aoi a.gpkg --resolution -1", "--resolution -1: give metres per pixel"),
        ("chip --aoi a.gpkg", "a.gpkg: no such file"),
        ("--config no.toml chip --aoi a.gpkg", "no.toml: no such file"),
        ("pretrain --preset huge", "--preset huge: 'huge' is not one of"),
        ("pretrain --lr -1", "lr -1.0: input should be greater than 0"),
        ("embed --dtype int8", "--dtype int8: 'int8' is not one of"),
        ("probe", "give either --labels to fit a probe or --apply to use one"),
        ("probe --labels a.gpkg --n 1", "--n 1: input should be greater than or equal to 2"),
        ("label a.tif --above 1 --threshold 0.3", "--threshold is for classes"),
        ("evaluate --labels a.gpkg --repeats 0", "--repeats 0: input should be greater than or equal to 1"),
        ("search", "embeddings.h5: no embeddings here"),
        ("search --like 1,1 --n 0", "--n 0: input should be greater than or equal to 1"),
        ("info a.gpkg", "a.gpkg: no such file or folder"),
    ],
)
def test_a_value_or_file_that_cannot_be_used_is_1_and_one_line(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, words: str, fault: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*words.split())
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith("geoembed: ") and fault in result.stderr


def test_a_bad_value_is_told_where_it_was_written(place: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "b.toml").write_text('[chip]\nsize = "b"\n')
    assert "b.toml: [chip] --size b: input" in run("--config", "b.toml", "chip", "--aoi", "aoi.gpkg").stderr
    monkeypatch.setenv("GEOEMBED_CHIP_SIZE", "c")
    assert "environment: --size c: input" in run("chip", "--aoi", "aoi.gpkg").stderr


def test_quiet_says_nothing_before_and_after_the_command(place: Path, run: Run) -> None:
    assert "chips" in run("chip", "--aoi", "aoi.gpkg").stderr
    for words in (("-q", "chip", "--aoi", "aoi.gpkg"), ("chip", "--aoi", "aoi.gpkg", "-q")):
        result = run(*words)
        assert (result.exit_code, result.stdout, result.stderr) == (0, "chips\n", "")


def test_an_empty_stdin_is_an_error(place: Path, run: Run) -> None:
    result = run("chip", "--aoi", "-")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "standard input: holds no path for geoembed chip, as the command before it failed" in result.stderr


def test_environment_names_are_the_options_names() -> None:
    option = settings.Option("min_valid", "min_valid")
    assert option.variable("chip") == "GEOEMBED_CHIP_MIN_VALID"
    keys = {option.key for option in OPTIONS["label"]}
    assert {"class", "threshold", "chips", "config", "overwrite"} <= keys


def test_verbose_says_what_was_set_and_found(place: Path, run: Run) -> None:
    for words in (("-v", "chip", "--aoi", "aoi.gpkg"), ("chip", "--aoi", "aoi.gpkg", "-v", "-o", "more")):
        result = run(*words)
        assert result.exit_code == 0
        assert "settings: geoembed.toml; chip: " in result.stderr
        assert "s1: s1.tif gives jja_vv, jja_vh" in result.stderr
    assert "gives" not in run("chip", "--aoi", "aoi.gpkg").stderr


def test_what_the_system_refuses_is_one_line(place: Path, run: Run) -> None:
    (place / "file").write_text("mine")
    result = run("chip", "--aoi", "aoi.gpkg", "-o", "file/chips")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert "file" in result.stderr
    assert "Traceback" not in result.stderr
