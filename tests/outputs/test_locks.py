import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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


HOLDING = """
import os, sys, time
from pathlib import Path
from typing import Any
from geoembed.errors import StaleError
from geoembed.outputs import locks

output, inside, folder, begin = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "True", float(sys.argv[4])
time.sleep(max(0.0, begin - time.time()))
for _ in range(40):
    try:
        with locks.hold(output, folder=folder):
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
            inside.unlink()
        print("held")
    except StaleError as error:
        print("refused" if "another run writes there" in str(error) else error)
"""


@pytest.mark.parametrize("folder", [True, False])
def test_locks_hold_while_their_files_and_folders_come_and_go(folder: bool, tmp_path: Path) -> None:
    words = [str(tmp_path / "a" / "b" / "x.h5"), str(tmp_path / "inside"), str(folder), str(time.time() + 1.0)]
    processes = [
        subprocess.Popen([sys.executable, "-c", HOLDING, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(3)
    ]
    told = [process.communicate()[0].decode().splitlines() for process in processes]
    assert {line for lines in told for line in lines} <= {"held", "refused"}, told
    assert all(len(lines) == 40 and "held" in lines for lines in told)
    assert not [path for path in tmp_path.rglob("*") if not path.is_dir()]


def test_a_folder_that_goes_before_it_is_locked_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir, faults = Path.mkdir, [FileNotFoundError(), FileExistsError(), FileNotFoundError()]

    def racing(path: Path, *words: Any, **options: Any) -> None:
        if faults:
            raise faults.pop()
        mkdir(path, *words, **options)

    monkeypatch.setattr(Path, "mkdir", racing)
    with locks.hold(tmp_path / "new" / "e.h5", folder=False):
        assert (tmp_path / "new").is_dir()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", [True, False])
def test_a_pipe_in_an_outputs_place_is_named(tmp_path: Path, folder: bool) -> None:
    """Else whoever reads it, as to tell what it was made from, waits for ever."""
    os.mkfifo(tmp_path / "x")
    with pytest.raises(StaleError, match=r"x: is a (pipe or a device|file)"), locks.hold(tmp_path / "x", folder=folder):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_what_was_planted_in_a_locks_place_is_named_and_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    lock = tmp_path / ".x.gpkg.lock"
    (tmp_path / "mine").write_text("mine")
    if kind == "link":
        lock.symlink_to(tmp_path / "mine")
    else:
        lock.mkdir()
    fault = r"\.x\.gpkg\.lock: is no lock that geoembed made; remove it"
    with pytest.raises(StaleError, match=fault), locks.hold(tmp_path / "x.gpkg", folder=False):
        pass
    assert (tmp_path / "mine").read_text() == "mine" and (lock.is_symlink() or lock.is_dir())
