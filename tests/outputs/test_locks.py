import subprocess
import sys
from pathlib import Path

import pytest

from geoembed.errors import StaleError
from geoembed.outputs import locks


@pytest.mark.parametrize("folder", [True, False])
def test_one_process_at_a_time(folder: bool, tmp_path: Path) -> None:
    output = tmp_path / "new" / "x.gpkg"
    program = (
        "import sys; from pathlib import Path; from geoembed.outputs import locks\n"
        f"with locks.hold(Path(sys.argv[1]), folder={folder}): print('held')"
    )

    def other() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", program, output], capture_output=True, text=True, check=False)

    with locks.hold(output, folder=folder):
        refused = other()
        assert refused.returncode == 1
        assert f"{output}: another run writes there" in refused.stderr
    assert other().stdout == "held\n"
    assert list(tmp_path.iterdir()) == []  # neither the lock nor the folders made for it stay


def test_what_was_written_meanwhile_stays(tmp_path: Path) -> None:
    with locks.hold(tmp_path / "out", folder=True):
        (tmp_path / "out" / "a").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StaleError, match="file: is a file"), locks.hold(tmp_path / "file" / "x", folder=True):
        pass


def test_a_link_to_a_folder_that_is_to_be_makes_it(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "chips").symlink_to(tmp_path / "disk" / "chips")
    with locks.hold(tmp_path / "chips", folder=True):
        (tmp_path / "chips" / "index.gpkg").touch()
    assert [path.name for path in (tmp_path / "disk/chips").iterdir()] == ["index.gpkg"]
    (tmp_path / "disk/chips/index.gpkg").unlink()
    (tmp_path / "disk/chips").rmdir()
    with locks.hold(tmp_path / "chips", folder=True):
        assert (tmp_path / "disk/chips").is_dir()
    assert not (tmp_path / "disk/chips").exists()


@pytest.mark.parametrize("folder", [True, False])
def test_a_link_to_a_disk_that_is_not_there(tmp_path: Path, folder: bool) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "out")
    fault = r"out: is a link to .*disk/out, whose folder is not there"
    with pytest.raises(StaleError, match=fault), locks.hold(tmp_path / "out", folder=folder):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
