"""Interrupts wait while they have to, and say what is kept."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from conftest import Run

from geoembed import interrupts, progress
from geoembed.chips import cutting
from geoembed.progress import Progress, Result, Steps


def test_a_deferred_interrupt_comes_after_the_body() -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt), interrupts.deferred() as interrupted:
        signal.raise_signal(signal.SIGINT)
        reached.append(list(interrupted))
    assert reached == [[signal.SIGINT]]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_launcher_may_send_ctrl_c_twice_but_a_person_means_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt), interrupts.deferred():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        reached.append("twice at once")
        monkeypatch.setattr(interrupts, "AGAIN", -1.0)
        signal.raise_signal(signal.SIGINT)
        reached.append("later")
    assert reached == ["twice at once"]


def test_termination_is_deferred_too_and_strangers_handlers_stay() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        interrupts.listen()
        with pytest.raises(interrupts.Terminated), interrupts.deferred() as interrupted:
            signal.raise_signal(signal.SIGTERM)
            assert interrupted == [signal.SIGTERM]
        caught = []

        def theirs(number: int, frame: FrameType | None) -> None:
            caught.append(number)

        signal.signal(signal.SIGTERM, theirs)
        with interrupts.deferred() as interrupted:
            signal.raise_signal(signal.SIGTERM)
        assert (caught, interrupted) == ([signal.SIGTERM], [])
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_nothing_is_deferred() -> None:
    lists = []

    def work() -> None:
        with interrupts.deferred() as interrupted:
            lists.append(interrupted)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert lists == [[]]


def test_an_interrupt_that_comes_between_two_pieces_of_work_reaches_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []

    def steps() -> Steps[None]:
        try:
            for done in range(3):
                yield Progress(done, 3, "chips")
        except KeyboardInterrupt as interrupt:
            kept.append("all")
            interrupt.add_note("all is kept")
            raise
        return Result(())

    def watched(words: Iterator[object]) -> Iterator[None]:
        next(words)
        next(words)
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("geoembed.display.watched", watched)
    with pytest.raises(KeyboardInterrupt) as raised:
        progress.run(steps(), shown=True)
    assert (kept, str(raised.value), raised.value.__notes__) == (["all"], "at 1 of 3 chips", ["all is kept"])


def test_an_interrupted_chip_command_says_what_stays_and_goes_on(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, blocks = cutting.Cutter.__call__, []

    def interrupt(*arguments: object) -> object:
        blocks.append(arguments)
        if len(blocks) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
        return call(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cutting, "BLOCK_HEIGHT", 16)  # a row of chips
    monkeypatch.setattr(cutting.Cutter, "__call__", interrupt)
    result = run("chip", "--aoi", "aoi.gpkg", "--workers", 1)
    assert (result.exit_code, result.stdout) == (130, "") and "Traceback" not in result.stderr
    said = "of 100 chips; the chips cut so far are kept; run the same command again to cut the others\n"
    assert result.stderr.startswith("geoembed: interrupted at ") and said in result.stderr
    result = run("chip", "--aoi", "aoi.gpkg")
    assert (result.exit_code, result.stdout) == (0, "chips\n")
    assert " 0 kept" not in result.stderr


def test_an_interrupt_that_no_step_sees_is_one_line(place: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("geoembed.ground.aoi.read", interrupt)
    result = run("chip", "--aoi", "aoi.gpkg")
    said = "geoembed: interrupted; nothing half done stays; run the same command again\n"
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", said)
