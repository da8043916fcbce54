import dataclasses
from pathlib import Path

import pytest

from geoembed import settings
from geoembed.errors import ConfigError
from geoembed.imagery.catalogues import Fetch


def test_one_or_several_of_a_kind() -> None:
    assert settings.paths("a") == settings.paths(Path("a")) == settings.paths(["a"]) == (Path("a"),)
    assert settings.texts("s3://a/b") == ("s3://a/b",)
    assert settings.words("s1, coh") == settings.words(["s1", "coh"]) == ("s1", "coh")
    assert settings.words(None) is None


def test_texts_are_sorted_by_modality() -> None:
    sources = ["s2=a=b.tif", "s1=x", "s2=c,d"]
    assert settings.by_modality("--source", sources) == {"s2": ("a=b.tif", "c,d"), "s1": ("x",)}
    assert settings.by_modality("--source", {"s2": "a", "s1": [Path("b"), "c"]}) == {"s2": ("a",), "s1": ("b", "c")}
    globs = {"s2": ("jja_*", "son_*", "djf_*")}
    assert settings.globs("--channels", ["s2=jja_*,son_*", "s2=djf_*"]) == globs
    assert settings.globs("--channels", {"s2": "jja_*,son_* djf_*"}) == globs
    assert settings.globs("--channels", {"s2": ["a name"]}) == {"s2": ("a name",)}
    with pytest.raises(ConfigError, match=r"--source a.tif: say which modality it is, such as s2=a.tif"):
        settings.by_modality("--source", ["a.tif"])
    for text in ("s2=", "=a.tif", "="):
        with pytest.raises(ConfigError, match=f"--source {text}: write a modality before the = and a value behind it"):
            settings.by_modality("--source", [text])


def test_keys_of_fetching_are_those_that_are_read() -> None:
    assert tuple(field.name for field in dataclasses.fields(Fetch)) == settings.FETCHING
