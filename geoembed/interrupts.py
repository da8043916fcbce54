"""Interrupts: Ctrl-C, and the termination that batch systems send before they kill."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

AGAIN = 1.0
"""Seconds after which a second Ctrl-C is meant as one; shells and launchers often send the first twice."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM)."""


def listen() -> None:
    """Make SIGTERM raise Terminated, so that a step ends as it does on Ctrl-C."""
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


@contextmanager
def deferred() -> Iterator[list[int]]:
    """Yield a list to which a first interrupt only adds its signal; that signal is raised again after the body.

    A second Ctrl-C acts at once. Handlers that are neither Python's nor ours stay as they are.
    """
    caught: list[int] = []
    first = 0.0

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if not caught:
            first = time.monotonic()
            caught.append(number)
        elif number == signal.SIGINT and time.monotonic() - first > AGAIN:
            raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():  # signals reach no other thread
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        known = (signal.default_int_handler, signal.SIG_DFL, _terminate)
        before = {number: handler for number, handler in handlers.items() if handler in known}
    for number in before:
        signal.signal(number, remember)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if caught:
        signal.raise_signal(caught[0])


@contextmanager
def noted(kept: str) -> Iterator[None]:
    """Add to an interrupt what the step keeps and how to go on."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(kept)
        raise
