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


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")  # S3 gives 1,000 keys a page
        server = S3()
        yield server
        server.close()


@pytest.fixture
def s3(s3_server: S3) -> S3:
    """An empty bucket."""
    s3_server.empty()
    return s3_server
