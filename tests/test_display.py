"""What people see: progress that fits its line, logs without control characters, tables that fit."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import time

import pytest
from rich.console import Console

from geoembed import display, progress
from geoembed.progress import Progress

WORDS = ["1.0 of 2 minutes", "1 min 0 s left", "loss 3.123", "310 chips/s", "epoch 12.3"]


def test_a_count_is_words() -> None:
    counts = [Progress(1.0, 2.0, "minutes"), Progress(0.25, 1.5, "minutes"), Progress(1200, 15_000, "chips")]
    assert [step.count for step in counts] == ["1.0 of 2 minutes", "0.2 of 1.5 minutes", "1,200 of 15,000 chips"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (3600, "1 h 0 min"), (8000, "2 h 13 min")],
)
def test_a_duration_is_words(seconds: float, words: str) -> None:
    assert display.duration(seconds) == words


def test_words_that_do_not_fit_go_the_least_important_first() -> None:
    assert display.fitting(WORDS, 80) == "1.0 of 2 minutes, 1 min 0 s left, loss 3.123, 310 chips/s, epoch 12.3"
    assert display.fitting(WORDS, 45) == "1.0 of 2 minutes, 1 min 0 s left, loss 3.123"
    assert display.fitting(WORDS, 5) == "1.0 of 2 minutes"


def test_time_left_and_speed_are_told_of_what_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 100.0, 110.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    steps = iter([Progress(20, 120, "chips", "baselines"), Progress(70, 120, "chips", "baselines")])
    *_, last = progress._words(steps)  # 50 chips in 10 seconds, and 50 more to do
    assert last == (70, 120, ["70 of 120 chips", "10 s left", "baselines", "5 chips/s"])


PROGRAM = """
import sys, time
from geoembed import display, progress
from geoembed.cli import streams
from geoembed.progress import Progress, Result
import logging
display.FIRST, display.EVERY = 0.0, 0.2
streams.listen(quiet=False, verbose=False)
def steps():
    for done in range(61):
        yield Progress(done / 30, 2.0, "minutes", "loss 3.123, 310 chips/s, a/path/with\\x1b[31m/control characters")
        time.sleep(0.01)
    logging.getLogger("geoembed").info("m\\x1b[2J: 60 steps")
    return Result(())
progress.run(steps(), shown=True)
display.show("Scores", [("task", *map(str, range(100, 130))), ("water", *["0.987"] * 30)])
"""


def environment(**changes: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    return {**kept, "TERM": "xterm-256color", **changes}


@pytest.mark.parametrize("changes", [{}, {"NO_COLOR": "1"}, {"COLUMNS": "50"}], ids=str)
def test_a_log_has_lines_without_control_characters(changes: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], stderr=subprocess.PIPE, text=True, check=True, env=environment(**changes)
    )
    lines = done.stderr.splitlines()
    assert all(line.isprintable() for line in lines)
    told = [line for line in lines if "minutes" in line]
    assert 2 <= len(told) <= 20  # the first at once, then five a second, though there are 61 steps
    assert re.fullmatch(
        r"0\.0 of 2 minutes, loss 3\.123, 310 chips/s, a/path/with\\x1b\[31m/control characters", told[0]
    )
    assert all(re.match(r"[0-2]\.\d of 2 minutes, .*loss 3\.123, ", line) for line in told)
    assert "m\\x1b[2J: 60 steps" in lines
    width = int(changes.get("COLUMNS", 80))
    table = lines[lines.index("Scores") + 1 :]
    assert max(map(len, table)) <= width and "".join(table).count("0.987") == 30


@pytest.mark.parametrize("columns", [80, 40])
def test_a_terminal_has_one_line_that_fits(columns: int) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stderr=theirs, env=environment(COLUMNS=str(columns)), close_fds=True
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the program has ended
            break
        shown += part
        if not part:
            break
    os.close(ours)
    assert process.wait() == 0
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()))
    bars = [line for line in lines if " of 2 minutes" in line]
    assert bars and max(len(line) for line in bars) <= columns
    assert any("loss" in line for line in bars) and all("\n" not in line for line in bars)
    assert max(map(len, lines)) <= columns


def printed(rows: list[list[str]], width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    monkeypatch.setattr(display, "stderr", lambda: console)
    display.show("Scores", rows)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_table_that_fits_is_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [["test AOI", "chips", "[bold] area"], ["all", "1,200", "0.5"], ["north", "600", ""]]
    assert printed(rows, 30, monkeypatch) == [
        "Scores",
        "test AOI  chips  [bold] area",
        "all       1,200          0.5",
        "north       600",
    ]


@pytest.mark.parametrize("width", [60, 80])
def test_fifteen_sizes_follow_in_blocks_that_repeat_what_each_row_is(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [str(size) for size in range(10, 25)]
    keys = [["water", "balanced accuracy", "fused", "embeddings"], ["crops", "R2", "s1", "statistics"]]
    figures = [[f"0.{100 * row + column:03d}" for column in range(15)] for row in range(2)]
    rows = [["task", "metric", "features", "from", *sizes], *(k + f for k, f in zip(keys, figures, strict=True))]
    lines = printed(rows, width, monkeypatch)
    assert max(map(len, lines)) <= width
    heads = [line.split()[4:] for line in lines if line.startswith("task")]
    assert [size for head in heads for size in head] == sizes
    for task, of_task in zip(("water", "crops"), figures, strict=True):
        found = [number for line in lines if line.startswith(task) for number in re.findall(r"0\.\d{3}", line)]
        assert found == of_task
    words = {word for line in lines for word in line.split()}
    assert {"embeddings", "statistics", "balanced", "accuracy", "fused"} <= words, "nothing is folded within a word"


@pytest.mark.parametrize("width", [60, 80])
def test_a_confusion_of_seven_classes_fits(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = ["tree_cover", "shrubland", "grassland", "cropland", "built_up", "water", "moss_and_lichen"]
    rows = [["labelled as", *classes], *([name, *(f"{17 * i:,}" for i in range(7))] for name in classes)]
    lines = printed(rows, width, monkeypatch)
    assert max(map(len, lines)) <= width
    text = " ".join(lines).split()
    assert text.count("102") == 7 and set(classes) <= set(text)


def test_a_name_longer_than_the_terminal_is_folded_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed([["area", "score"], ["a" * 70, "0.123"]], 40, monkeypatch)
    assert max(map(len, lines)) <= 40
    assert sum(line.count("a") for line in lines[2:]) == 70 and any("0.123" in line for line in lines)
