"""Remedies are right: the command or the setting that a message names is run, word for word, and does what it says."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import geopandas
import h5py
import pytest
from conftest import Run
from places import make_place

from geoembed.chips import folder as chip_folder
from geoembed.outputs import documents

PACKAGE = Path(__file__).parents[1] / "geoembed"


def remove(*names: str) -> bool:
    for name in names:
        path = Path(name)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return True


def move(name: str, to: str) -> bool:
    Path(to).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(name, to)
    return True


def without_weights() -> None:
    """Leave a training that was killed after its description was written."""
    remove("model/weights.safetensors", "embeddings.h5")


def broken_index() -> None:
    (Path("chips") / chip_folder.INDEX).write_bytes(b"SQLite format 3\0 and nothing else")


def no_column() -> None:
    index = geopandas.read_file("chips/index.gpkg").drop(columns="aoi")
    Path("chips/index.gpkg").unlink()
    chip_folder.write_index(Path("chips"), index, chip_folder.read_description(Path("chips")).made_from)


def other_version() -> None:
    config = documents.load(Path("model/config.json"))
    config["model"]["of_old"] = 1
    documents.write(Path("model/config.json"), config)


def no_attribute() -> None:
    with h5py.File("embeddings.h5", "r+") as file:
        del file.attrs["grids"]


@dataclass(frozen=True)
class Case:
    """A message with a remedy.

    says: a part of the message, as it stands in the source.
    words: the command that meets the fault.
    break_: makes the fault in the project.
    follow: returns the commands to run, from the message; they must succeed.
    again: whether the first command then succeeds.
    source: what else tells the message in the source.
    """

    says: str
    words: str
    break_: Callable[[], object] = lambda: None
    follow: Callable[[str], list[str]] = lambda message: in_backticks(message)
    again: bool = True
    source: str = ""


def in_backticks(message: str) -> list[str]:
    """The commands in backticks, without `geoembed`."""
    commands = re.findall(r"`geoembed ([^`]+)`", message)
    assert commands, message
    return commands


def added(words: str, pattern: str) -> Callable[[str], list[str]]:
    """Add to a command what a message names behind `pass`, or put it in the place of {}."""

    def follow(message: str) -> list[str]:
        found = re.search(pattern, message)
        assert found, message
        return [words.format(found[1])]

    return follow


CASES = {
    "no chips": Case("no chips here", "pretrain none -o m", lambda: remove("chips")),
    "chips elsewhere": Case(
        "name a folder that has them", "pretrain none -o m", follow=added("pretrain {} -o m", r"such as (\S+)$"),
        again=False,
    ),
    "chips are an embeddings file": Case(
        "is {kind.value}, not {words or wanted.value}", "embed embeddings.h5 -o other.h5",
        follow=added("embed {} -o other.h5", r"is an embeddings file, not a chip folder; .*such as (\S+)$"),
        again=False,
    ),
    "chips are an embeddings file, and there are none": Case(
        "is {kind.value}, not {words or wanted.value}", "embed embeddings.h5 -o other.h5", lambda: remove("chips"),
        again=False, source="remedies.chips(folder)",
    ),
    "chips not finished": Case(
        "its chips are not finished", "pretrain -o m", lambda: remove("chips/index.gpkg")
    ),
    "description of chips empty": Case(
        "again, which writes it anew", "pretrain -o m", lambda: Path("chips/chips.json").write_bytes(b"")
    ),
    "index broken": Case("cannot be read ({error}); run", "pretrain -o m", broken_index),
    "index without a column": Case("lacks the columns", "pretrain -o m", no_column),
    "chip file missing": Case(
        "missing; run the geoembed chip that made it again", "embed -o o.h5 --strict",
        lambda: remove(next(map(str, Path("chips/s1").rglob("*.tif")))), lambda _: ["chip --aoi aoi.gpkg"],
    ),
    "chip file broken": Case(
        "delete it and run the geoembed chip that made it again", "embed -o o.h5 --strict",
        lambda: next(Path("chips/s1").rglob("*.tif")).write_text("x"),
        lambda m: ["chip --aoi aoi.gpkg"] if remove(m.removeprefix("geoembed: ").partition(": ")[0]) else [],
    ),
    "broken chip files embedded": Case(
        "mend them and run geoembed embed again", "embed -o o.h5",
        lambda: next(Path("chips/s1").rglob("*.tif")).unlink(),
        lambda _: ["chip --aoi aoi.gpkg", "embed -o o.h5"],
    ),
    "no model": Case("no model here", "embed -o o.h5", lambda: remove("model")),
    "no model, chips elsewhere": Case(
        "no model here", "embed sub/c -o o.h5", lambda: remove("model") and move("chips", "sub/c")
    ),
    "model elsewhere": Case(
        "pass --model", "embed -o o.h5", lambda: move("model", "mine/trained"),
        added("embed -o o.h5 --model {}", r"or pass --model (\S+)$"), again=False,
    ),
    "model is a chip folder": Case(
        "is {kind.value}, not {words or wanted.value}", "embed --model chips -o o.h5", lambda: remove("model"),
        again=False,
    ),
    "training not finished": Case("training has not finished; run", "embed", without_weights),
    "model of another version": Case(
        "made by another version of geoembed; pretrain it again with --overwrite", "embed -o o.h5", other_version,
        lambda _: ["pretrain --overwrite"],
    ),
    "no embeddings": Case(
        "no embeddings here", "probe --labels labels/water.gpkg -o p", lambda: remove("embeddings.h5")
    ),
    "no embeddings and no model": Case(
        "no embeddings here", "probe --labels labels/water.gpkg -o p", lambda: remove("embeddings.h5", "model"),
        again=False,
    ),
    "embeddings elsewhere": Case(
        "name a file that has them", "probe none.h5 --labels labels/water.gpkg -o p",
        follow=added("probe {} --labels labels/water.gpkg -o p", r"such as (\S+)$"), again=False,
    ),
    "embeddings are a chip folder": Case(
        "is {kind.value}, not {words or wanted.value}", "probe chips --labels labels/water.gpkg -o p",
        lambda: remove("embeddings.h5"), again=False, source="remedies.embeddings(path)",
    ),
    "embeddings broken": Case(
        "make it again with geoembed embed --overwrite", "probe --labels labels/water.gpkg -o p", no_attribute,
        lambda _: ["embed --overwrite"],
    ),
    "embeddings empty": Case(
        "make it again with geoembed embed", "probe --labels labels/water.gpkg -o p",
        lambda: Path("embeddings.h5").write_bytes(b""), lambda _: ["embed"],
    ),
    "embeddings are something else": Case(
        "move it away and make it again with geoembed embed", "probe --labels labels/water.gpkg -o p",
        lambda: Path("embeddings.h5").write_text("mine"),
        lambda _: ["embed"] if move("embeddings.h5", "old") else [],
    ),
    "embeddings of another model": Case(
        "has no modality", "embed --modalities coh,s1 --model m -o o.h5", lambda: None,
        added("embed --model m -o o.h5 --modalities {}", r"pass --modalities (\S+)$"), again=False,
    ),
    "no fitted probe": Case(
        "--labels", "probe --apply none -o p", lambda: remove("probe"), again=False, source="remedies.probe(place)",
    ),
    "fitted probe elsewhere": Case(
        "pass --apply", "probe --apply none -o p", follow=added("probe -o p --apply {}", r"pass --apply (\S+)$"),
        again=False,
    ),
    "labels are a raster": Case(
        "is {kind.value}, not a label file", "probe --labels landcover.tif -o p",
        follow=lambda m: [f"{in_backticks(m)[0]} --class water=80 -o w.gpkg", "probe --labels w.gpkg -o p"],
        again=False,
    ),
    "labels are an embeddings file": Case(
        "is {kind.value}, not a label file", "probe --labels embeddings.h5 -o p",
        follow=added("probe -o p --labels {}", r"name one, such as (\S+)$"), again=False,
    ),
    "labels are a chip folder": Case(
        "is {kind.value}, not a label file", "evaluate --labels chips --sizes 10 --repeats 1 -o r",
        follow=added("evaluate -o r --sizes 10 --repeats 2 --labels {}", r"name one, such as (\S+)$"), again=False,
    ),
    "no area": Case(
        "did you mean {other}?", "chip --aoi aio.gpkg -o c",
        follow=added("chip --aoi {} -o c", r"did you mean (\S+)\?$"), again=False,
    ),
    "area is a label file": Case(
        "not {words or wanted.value}", "chip --aoi labels/water.gpkg -o c",
        follow=lambda _: ["chip --aoi aoi.gpkg -o c"], again=False,
    ),
    "unknown modality": Case(
        "no modality of {of}", "pretrain --modalities s3 -o m",
        follow=added("pretrain -o m --modalities {}", r"did you mean (\S+)\?$"), again=False,
    ),
    "unknown channel": Case(
        "no channel of {of}", "embed --channels s1=jja_vw -o o.h5",
        follow=added("embed -o o.h5 --channels s1={}", r"did you mean (\S+)\?$"), again=False,
    ),
    "other options": Case(
        "choose another -o or pass --overwrite", "chip --aoi aoi.gpkg --size 20",
        follow=lambda _: ["chip --aoi aoi.gpkg --size 20 --overwrite", "chip --aoi aoi.gpkg -o c"],
    ),
    "no modality said": Case(
        "say which modality it is", "chip --aoi aoi.gpkg -o c --source s2.tif",
        follow=added("chip --aoi aoi.gpkg -o c --source {}", r"such as (\S+)$"), again=False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_a_message_says_helps(project: Path, run: Run, name: str) -> None:
    case = CASES[name]
    if name == "embeddings of another model":
        assert run("pretrain", "--modalities", "s1,s2", "-o", "m").exit_code == 0
    case.break_()
    told = run(*shlex.split(case.words))
    assert (told.exit_code, told.stdout) == (1, ""), told.stderr
    message = told.stderr.splitlines()[-1]
    for part in re.split(r"\{[^}]*\}", case.says):
        assert part.strip(" (;)") in message, message
    commands = case.follow(message)
    for words in [*commands, *([case.words] if case.again else [])]:
        result = run(*shlex.split(words))
        assert result.exit_code == 0, f"{message}\n{words}\n{result.stderr}"


def test_following_the_messages_leads_from_nothing_to_a_map(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_place(tmp_path)
    monkeypatch.chdir(tmp_path)
    run_so_far = []
    for _ in range(6):
        told = run("probe", "--labels", "water.gpkg", "--n", "20")
        if told.exit_code == 0:
            break
        if "water.gpkg" in told.stderr:
            words = "label landcover.tif --class water -o water.gpkg"
        else:
            words = in_backticks(told.stderr)[0]
        assert run(*shlex.split(words)).exit_code == 0
        run_so_far.append(words.split()[0])
    assert run_so_far == ["chip", "pretrain", "embed", "label"]
    assert Path("probe/water/predictions.gpkg").exists()


UNTESTED = {
    "rename it and run geoembed chip and embed again": "the area is to be renamed by hand before",
    "no raster given": "the command line asks for one; only Python gets there",
    "no such label file": "only the user knows the raster; the test above makes the labels",
}
"""Parts of messages with a command that no case covers, and why."""


PIPE = (
    "set -o pipefail; geoembed chip --aoi aoi.gpkg | geoembed embed - --modalities s1,coh"
    " | geoembed probe - --labels water.gpkg --n 500"
)


CLOSED = '[modalities.s2.stac]\napi = "http://127.0.0.1:9/v1"\n[fetch]\ntries = 1\n'
"""Settings of a catalogue that nobody can reach."""


@pytest.mark.parametrize("fault", ["no area", "no network", "no model"])
def test_a_pipe_from_nothing_says_what_to_do_first_in_a_line_a_stage(tmp_path: Path, fault: str) -> None:
    make_place(tmp_path)
    if fault == "no area":
        (tmp_path / "aoi.gpkg").unlink()
    if fault == "no network":
        (tmp_path / "geoembed.toml").write_text(CLOSED)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", PIPE], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    first = {
        "no area": "geoembed: aoi.gpkg: no such file; ",
        "no network": "geoembed: 127.0.0.1:9/v1/search: could not be had in 1 try (no connection",
        "no model": "geoembed: model: no model here; run `geoembed pretrain`",
    }[fault]
    faults = [line for line in done.stderr.splitlines() if line.startswith("geoembed: ")]
    assert faults[0].startswith(first), done.stderr
    waiting = ["probe"] if fault == "no model" else ["embed", "probe"]
    assert faults[1:] == [
        f"geoembed: standard input: holds no path for geoembed {stage}, as the command before it failed; mend that one"
        for stage in waiting
    ]


def told(tree: ast.AST) -> Iterator[ast.expr]:
    """What a module tells users: what it raises, what its functions `remedy` return, and what it hands to readers."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            yield node.exc
        elif isinstance(node, ast.FunctionDef) and node.name in ("remedy", "_remedy"):
            yield from (part.value for part in ast.walk(node) if isinstance(part, ast.Return) and part.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("documents.read", "geopackage.read"):
            yield from node.args[3:]
            names |= {arg.id for arg in node.args[3:] if isinstance(arg, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            targets = ast.unparse(node.targets[0]).strip("()").split(", ")
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            yield from (value for name, value in zip(targets, values, strict=False) if name in names)


def messages() -> list[tuple[str, str]]:
    """Every message of the package that names a command: its module, and its text with {} for what is filled in."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in told(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.unparse(node)
            plain = re.sub(r"(not made by|that) geoembed \w+", "", text)
            if re.search(r"remedies\.|`geoembed|geoembed (chip|label|pretrain|embed|probe|evaluate)\b", plain):
                found.append((str(path.relative_to(PACKAGE)), text))
    return found


def fragments(text: str) -> list[str]:
    """The words of a message between what is filled in."""
    return [part.strip(" (;)") for part in re.split(r"\{[^}]*\}", text) if len(part.strip(" (;)")) > 5]


def test_every_message_that_names_a_command_has_a_case() -> None:
    covered = [fragments(case.says) for case in CASES.values()]
    covered += [[words] for words in (*UNTESTED, *filter(None, (case.source for case in CASES.values())))]
    lacking = [
        f"{module}: {text}"
        for module, text in messages()
        if not any(parts and all(part in text for part in parts) for parts in covered)
    ]
    assert not lacking, "\n".join(lacking)
    assert len(messages()) > 12
