"""Servers on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from canned import Canned
from s3 import S3


@pytest.fixture
def canned() -> Iterator[Canned]:
    server = Canned()
    yield server
    server.close()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    server = S3(monkeypatch)
    yield server
    server.close()
