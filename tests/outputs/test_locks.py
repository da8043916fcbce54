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
