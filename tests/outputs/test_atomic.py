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
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


def test_sweep_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    left, other, deep = (
        tmp_path / ".part-0123456789abcdef-a.tif",
        tmp_path / ".part-0123456789abcdef-b.tif",
        tmp_path / "below/.part-0000000000000000-c",
    )
    for path in (left, other, deep):
        path.touch()
    atomic.sweep(tmp_path, "a.tif")
    assert (left.exists(), other.exists(), deep.exists()) == (False, True, True)
    atomic.sweep(tmp_path)
    assert (other.exists(), deep.exists()) == (False, True)
    atomic.sweep(tmp_path, deep=True)
    assert not deep.exists()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_stays_and_its_target_is_written(tmp_path: Path, is_there: bool) -> None:
    (tmp_path / "disk").mkdir()
    there, link = tmp_path / "disk" / "a.txt", tmp_path / "b.txt"
    link.symlink_to(there)
    if is_there:
        there.write_text("old")
    atomic.write_text(link, "new")
    assert link.is_symlink() and there.read_text() == "new"
    assert [file.name for file in (tmp_path / "disk").iterdir()] == ["a.txt"]
    (tmp_path / "disk/.part-0123456789abcdef-a.txt").touch()
    atomic.sweep(tmp_path, "b.txt")
    assert [file.name for file in (tmp_path / "disk").iterdir()] == ["a.txt"]
    atomic.remove(link)
    assert link.is_symlink() and not there.exists()
