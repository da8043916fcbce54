import os
from pathlib import Path

import pytest

from geoembed.outputs import atomic


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    with atomic.replacing(path) as part:
        part.write_text("new")
        assert part.suffix == ".txt"
        assert not path.exists()
    assert path.read_text() == "new"
    with pytest.raises(RuntimeError), atomic.replacing(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "new"
    assert [one.name for one in path.parent.iterdir()] == ["a.txt"]


def test_sweep_removes_what_dead_processes_left(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    dead, deep = tmp_path / ".part-4194999-a.tif", tmp_path / "below" / ".part-4194999-b.tif"
    live = tmp_path / f".part-{os.getpid()}-c.tif"
    for path in (dead, deep, live):
        path.touch()
    atomic.sweep(tmp_path)
    assert (dead.exists(), deep.exists(), live.exists()) == (False, True, True)
    atomic.sweep(tmp_path, deep=True)
    assert (deep.exists(), live.exists()) == (False, True)


def test_json_is_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        atomic.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not (tmp_path / "a.json").exists()
