"""A full disk, limits, a read-only folder, little memory and kills end in one line, and a re-run is as good."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import small_project
from faults.launcher import Ended, Launcher

from geoembed.cli import memory
from geoembed.errors import ConfigError

if sys.platform != "linux":
    pytest.skip("limits as Linux has them", allow_module_level=True)

VERBS = {
    "chip": (["chip", "--aoi", "aoi.gpkg", "--size", "8", "-o", "out/chips"], "out/chips"),
    "label": (["label", "landcover.tif", "--class", "water=80", "-o", "out/water.gpkg"], "out/water.gpkg"),
    "pretrain": (["pretrain", "--epochs", "2", "--batch-size", "8", "-o", "out/model"], "out/model"),
    "embed": (["embed", "-o", "out/e.h5"], "out/e.h5"),
    "probe": (["probe", "--labels", "labels/water.gpkg", "--features", "s2", "-o", "out/p"], "out/p"),
    "evaluate": (
        ["evaluate", "--labels", "labels/water.gpkg", "--sizes", "all", "--n", "8", "--repeats", "1",
         "--features", "s2", "-o", "out/report"],
        "out/report",
    ),
    "search": (["search", "--like", "few.gpkg", "--in", "s2", "--page", "-o", "out/s.gpkg"], "out/s.gpkg"),
}  # fmt: skip
LEVELS = {"chip": 20, "embed": 20, "label": 6, "pretrain": 5, "probe": 6, "evaluate": 3, "search": 3}
"""How many fill levels of the disk are tried."""


@pytest.fixture(scope="module")
def project() -> Iterator[Path]:
    """The small project, which any user may read."""
    with tempfile.TemporaryDirectory() as name:  # pytest's folders are for one user
        folder = Path(name) / "project"
        small_project.make(folder)
        for path in (Path(name), folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield folder


@pytest.fixture(scope="module")
def sizes(project: Path, launcher: Launcher) -> dict[str, tuple[int, object]]:
    """By verb, the bytes that its output takes, and what it holds."""
    found: dict[str, tuple[int, object]] = {}
    for verb, (words, output) in VERBS.items():
        shutil.rmtree(project / "out", ignore_errors=True)
        (project / "out").mkdir()
        ended = launcher.run(project, *words)
        assert ended.status == 0, ended.stderr
        size = sum(path.stat().st_blocks * 512 for path in (project / "out").rglob("*"))
        found[verb] = (size, small_project.content(project / output))
    shutil.rmtree(project / "out")
    return found


def require_one_line(ended: Ended, what: str) -> None:
    """A run that failed says why in its last line, and nothing of how."""
    assert ended.status == 1, f"{what}: status {ended.status}\n{ended.stderr}"
    faults = [line for line in ended.stderr.splitlines() if line.startswith("geoembed: ")]
    assert len(faults) == 1 and ended.stderr.rstrip().endswith(faults[0]), f"{what}: {ended.stderr}"
    assert "fault of geoembed" not in ended.stderr and "Traceback" not in ended.stderr, f"{what}: {ended.stderr}"
    assert ended.stdout == "", what


@pytest.fixture
def disk(project: Path) -> Iterator[Path]:
    """A small file system in memory at out/, sized by `remount`; skips where it cannot be mounted."""
    folder = project / "out"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"nothing can be mounted here ({mounted.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


def remount(folder: Path, size: int) -> None:
    """Give the disk another size in bytes."""
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)


@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk_is_one_line_and_room_lets_the_verb_end(
    project: Path, launcher: Launcher, sizes: dict[str, tuple[int, object]], disk: Path, verb: str
) -> None:
    words, output = VERBS[verb]
    whole, expected = sizes[verb]
    failed = 0
    for level in range(LEVELS[verb]):
        size = max(4096, int(whole * 1.1 * level / LEVELS[verb]))
        remount(disk, size)
        ended = launcher.run(project, *words)
        what = f"{verb} on {size:,} bytes of {whole:,}"
        if ended.status:
            failed += 1
            require_one_line(ended, what)
        assert not small_project.leftovers(disk), what
        remount(disk, 2**26)
        again = launcher.run(project, *words)
        assert again.status == 0, f"{what}: {again.stderr}"
        assert small_project.content(project / output) == expected, what
        for path in disk.iterdir():
            small_project.remove(path) if path.exists() else None
    assert failed >= LEVELS[verb] // 2


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("size", [0, 5000])
def test_a_limit_of_file_sizes_is_one_line(
    project: Path, launcher: Launcher, verb: str, size: int, tmp_path: Path
) -> None:
    words, output = VERBS[verb]
    here = tmp_path / "here"
    ended = launcher.run(project, *words[:-1], here / Path(output).name, limits={"RLIMIT_FSIZE": size})
    if ended.status:
        require_one_line(ended, verb)
    assert not small_project.leftovers(tmp_path)


@pytest.mark.parametrize("verb", VERBS)
def test_few_open_files_are_one_line(project: Path, launcher: Launcher, verb: str, tmp_path: Path) -> None:
    words, output = VERBS[verb]
    for count in (6, 9, 14, 24):
        here = tmp_path / str(count)
        here.mkdir()
        ended = launcher.run(project, *words[:-1], here / Path(output).name, limits={"RLIMIT_NOFILE": count})
        if ended.status:
            require_one_line(ended, f"{verb} with {count} files")
            assert not small_project.leftovers(tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_that_cannot_be_written_is_one_line(project: Path, launcher: Launcher, verb: str) -> None:
    words, output = VERBS[verb]
    ended = launcher.run(project, *words[:-1], "closed/" + Path(output).name, user=65534)
    require_one_line(ended, verb)
    assert "cannot be written" in ended.stderr and not (project / "closed").exists()


@pytest.mark.parametrize("verb", VERBS)
def test_little_memory_is_one_line(project: Path, launcher: Launcher, verb: str, tmp_path: Path) -> None:
    words, output = VERBS[verb]
    for number, megabytes in enumerate((1, 400, 520, 700)):
        here = tmp_path / str(number)
        here.mkdir()
        what = f"{verb} with {megabytes} MB"
        limits = {"RLIMIT_AS": megabytes * 2**20}
        ended = launcher.run(project, *words[:-1], here / Path(output).name, limits=limits, seconds=30.0)
        if ended.status:
            require_one_line(ended, what)
            assert not small_project.leftovers(here), what


@pytest.mark.parametrize("verb", VERBS)
def test_a_killed_verb_goes_on(
    project: Path, launcher: Launcher, sizes: dict[str, tuple[int, object]], verb: str
) -> None:
    words, output = VERBS[verb]
    (project / "out").mkdir()
    try:
        for delay in (0.1, 0.4):
            launcher.run(project, *words, seconds=delay)
            ended = launcher.run(project, *words)
            assert ended.status == 0, ended.stderr
            assert small_project.content(project / output) == sizes[verb][1]
            for path in (project / "out").iterdir():
                small_project.remove(path)
    finally:
        shutil.rmtree(project / "out")


def test_a_group_without_memory_is_one_line(tmp_path: Path) -> None:
    for name, text in (("max", "900000000"), ("current", "800000000"), ("stat", "anon 1\nfile 1000000\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    with pytest.raises(ConfigError, match=r"not enough memory: 96 MiB are left of the memory of its control group"):
        memory.require(tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    memory.require(tmp_path)
