"""What tests of faults share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faults.launcher import Launcher


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    """Runs of geoembed."""
    made = Launcher()
    yield made
    made.close()
