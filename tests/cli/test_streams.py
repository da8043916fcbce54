import io
import os
import sys
import warnings

import pytest
from conftest import Run

from geoembed.cli import streams
from geoembed.errors import ConfigError


def test_standard_input_that_is_closed_holds_no_path(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # as of `<&-`
    with pytest.raises(ConfigError, match="standard input: holds no path for geoembed embed"):
        streams._piped("-", "embed")


def test_paths_that_are_not_utf8_are_named(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"na\xefve\n"), encoding="utf-8"))
    with pytest.raises(ConfigError, match="standard input: holds a path that is not UTF-8"):
        streams._piped("-", "embed")
    for words in (("-o", os.fsdecode(b"na\xefve")), ("--source", os.fsdecode(b"s2=na\xefve.tif"))):
        result = run("chip", "--aoi", "aoi.gpkg", *words)
        assert result.exit_code == 1 and r"na\xefve" in result.stderr and "is not UTF-8; rename it" in result.stderr


def test_warnings_of_libraries_are_for_those_who_want_more(capsys: pytest.CaptureFixture[str]) -> None:
    for verbose in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            streams.listen(quiet=False, verbose=verbose)
            warnings.warn("two\nlines", UserWarning, stacklevel=1)
        assert (r"UserWarning: two\nlines" in capsys.readouterr().err) is verbose
