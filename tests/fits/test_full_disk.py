"""Embeddings on a disk that fills up: one line, no crash of HDF5, and nothing left over."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SIZE, LEVELS = 4 * 2**20, 20

CODE = """
import errno, os, sys
from pathlib import Path
import numpy as np
from synthetic import embeddings_file
from geoembed.fits import embeddings
from geoembed.outputs import disk

folder, levels, reserved = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True"
if not reserved:
    disk.reserve = lambda file, size: None
vectors = {name: np.ones((2000, 64), np.float32) for name in ("s2", "s1", "fused")}
needed = 2**21
for level in range(levels):
    free = needed * level // levels + 4096
    status = os.statvfs(folder)
    with (folder / "filler").open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, status.f_bavail * status.f_frsize - free)
    try:
        embeddings_file(folder / "e.h5", vectors, columns=50)
        print("written", flush=True)
        (folder / "e.h5").unlink()
    except OSError as error:
        print(errno.errorcode[error.errno], error.filename, flush=True)
    (folder / "filler").unlink()
    assert not list(folder.iterdir()), level
embeddings_file(folder / "e.h5", vectors, columns=50)
np.testing.assert_array_equal(embeddings.read(folder / "e.h5").vectors("s2"), vectors["s2"])
print("end")
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of SIZE bytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mounting, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("this system has no mount")
    if mounted.returncode:
        pytest.skip(f"only root can mount a small disk ({mounted.stderr.strip()})")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("reserved", [True, False])
def test_a_full_disk_is_one_line(small_disk: Path, reserved: bool) -> None:
    tests = Path(__file__).parents[1]
    words = [sys.executable, "-c", CODE, str(small_disk), str(LEVELS), str(reserved)]
    found = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tests)
    assert found.returncode == 0, found.stderr
    *levels, end = found.stdout.splitlines()
    full = [line for line in levels if line == f"ENOSPC {small_disk / 'e.h5'}"]
    assert end == "end" and len(levels) == LEVELS and set(levels) - set(full) <= {"written"}
    assert len(full) > LEVELS / 2
