"""Outputs that are links, as where data lie on another disk: they stay, and what they lead to is written."""

from pathlib import Path

import pytest
from conftest import Run

OUTPUTS = {
    "label landcover.tif --class water=80 --threshold 0.4 --overwrite -o link.gpkg": "labels/water.gpkg",
    "embed --overwrite -o link.h5": "embeddings.h5",
    "embed --overwrite -o new.h5": "new.h5",
    "export -o new.parquet": "new.parquet",
    "probe --labels labels/water.gpkg --n 9 --overwrite -o link": "probe/water",
    "probe --labels labels/water.gpkg --n 9 -o new": "new",
    "chip --aoi aoi.gpkg --min-valid 0.4 --overwrite -o link": "chips",
    "chip --aoi aoi.gpkg -o new": "new",
}
"""Commands that write to a link, and what lies on the other disk before; nothing where it is called new."""


@pytest.mark.parametrize("command", OUTPUTS)
def test_links_stay_and_lead_to_what_is_written(project: Path, run: Run, command: str) -> None:
    (project / "disk").mkdir()
    link, there = project / command.split()[-1], project / "disk" / Path(OUTPUTS[command]).name
    if (project / OUTPUTS[command]).exists():
        (project / OUTPUTS[command]).rename(there)
        (project / OUTPUTS[command]).symlink_to(there)  # the steps read from there
    link.symlink_to(there)
    files = [there, *there.rglob("*")] if there.is_dir() else [there]
    before = {path: path.stat().st_mtime_ns for path in files if path.is_file()}
    result = run(*command.split())
    assert (result.exit_code, result.stdout.split("/")[0].strip()) == (0, link.name), result.stderr
    assert link.is_symlink() and link.readlink() == there and there.exists()
    main = {"probe": "predictions.gpkg", "chip": "index.gpkg"}.get(command.split()[0])
    written = there / main if main else there
    assert written.stat().st_mtime_ns != before.get(written)
    assert not list((project / "disk").rglob(".part-*"))


def test_links_to_nowhere_say_so(project: Path, run: Run) -> None:
    for name, command in (("a.h5", "embed"), ("a", "chip --aoi aoi.gpkg"), ("b", "probe --labels labels/water.gpkg")):
        (project / name).symlink_to(project / "disk" / name)
        result = run(*command.split(), "-o", name)
        assert result.exit_code == 1 and f"{name}: is a link to {project}/disk/{name}, whose folder" in result.stderr
