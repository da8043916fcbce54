"""A working folder with a place on Earth in three modalities, and the command line to run there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import make_place
from typer.testing import CliRunner


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh working folder."""
    make_place(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which chip, label, pretrain and embed have run."""
    from geoembed.cli import app

    folder = tmp_path_factory.mktemp("worked")
    make_place(folder)
    before = Path.cwd()
    os.chdir(folder)
    try:
        for words in ("chip --aoi aoi.gpkg", "label landcover.tif --class water", "pretrain", "embed"):
            result = CliRunner().invoke(app, words.split())
            assert result.exit_code == 0, result.stderr
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(worked: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The worked folder as the working directory; tests write to their own outputs."""
    monkeypatch.chdir(worked)
    yield worked
