"""A working folder with a place on Earth in three modalities, and the command line to run there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from places import make_place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh working folder."""
    make_place(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def here(worked: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The worked folder as the working directory; tests write to their own outputs."""
    monkeypatch.chdir(worked)
    yield worked
