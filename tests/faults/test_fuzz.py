"""Damaged and odd files are read as before, or refused in one line; `make fuzz` tries 50,000."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults import fuzz

CASES, PARTS = 2000, 4
"""Cases, and the parts in which they are run side by side; each works with a process of its own."""


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with every kind of file."""
    folder = tmp_path_factory.mktemp("fuzz") / "world"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.filters", [])
        fuzz.make_world(folder)
    return folder


@pytest.mark.parametrize("part", range(PARTS))
def test_damage_is_one_line_or_changes_nothing(world: Path, part: int) -> None:
    counts = fuzz.Counts()
    for name, outcome in fuzz.run(world, range(part, CASES, PARTS)):
        counts.add(name, outcome)
    print(counts)
    assert not counts.findings, "\n".join(f"{found.word}: {found.case}: {found.text}" for found in counts.findings)
