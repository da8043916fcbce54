"""GeoPackages that another program, such as QGIS, holds open with edits that it has not merged."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pyogrio
import pytest
from conftest import Run

EDITOR = """
import sqlite3, sys
base = sqlite3.connect(sys.argv[1], isolation_level=None)
base.execute("PRAGMA journal_mode = WAL")
base.execute("PRAGMA wal_autocheckpoint = 0")
for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
    base.execute(f"DROP TRIGGER {name}")  # they call functions that only GDAL has
base.execute("UPDATE {layer} SET chip_id = 'edited'".format(layer=sys.argv[2]))
if sys.argv[3] == "open":
    base.execute("BEGIN")
    base.execute("UPDATE {layer} SET chip_id = 'not saved'".format(layer=sys.argv[2]))
print("edited", flush=True)
sys.stdin.read()
"""


@contextmanager
def edited(path: Path, layer: str, transaction: str) -> Iterator[None]:
    """Edit all rows of a layer in another process, which holds the file open."""
    words = [sys.executable, "-c", EDITOR, str(path), layer, transaction]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as editor:
        assert editor.stdout and editor.stdout.readline() == "edited\n"
        yield
        editor.communicate("")


def contents(folder: Path) -> dict[Path, bytes]:
    """The files of a folder, but for the memory that programs share that have a GeoPackage open."""
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.suffix != ".gpkg-shm"}


COMMANDS = {
    "label": ("label landcover.tif --class water=80 --threshold 0.4 --overwrite", "labels/water.gpkg", "labels"),
    "probe": ("probe --labels labels/water.gpkg --n 9 --overwrite", "probe/water/predictions.gpkg", "predictions"),
    "chip": ("chip --aoi aoi.gpkg --min-valid 0.4 --overwrite", "chips/index.gpkg", "chips"),
}


@pytest.mark.parametrize("transaction", ["open", "committed"])
@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_open_elsewhere_is_not_replaced(project: Path, run: Run, command: str, transaction: str) -> None:
    words, name, layer = COMMANDS[command]
    path = project / name
    with edited(path, layer, transaction):
        before = contents(path.parent)
        result = run(*words.split())
        assert result.exit_code == 1 and f"{name}: is open in another program" in result.stderr
        assert contents(path.parent) == before
    assert set(pyogrio.read_dataframe(path).chip_id) == {"edited"}
    result = run(*words.split())
    assert result.exit_code == 0, result.stderr
    with closing(sqlite3.connect(path)) as base:
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert "edited" not in set(pyogrio.read_dataframe(path).chip_id)


def test_labels_that_another_program_has_saved_but_not_merged_count(project: Path, run: Run) -> None:
    path = project / "labels" / "water.gpkg"
    with edited(path, "labels", "committed"):
        result = run("probe", "--labels", path, "-o", "mine")
    assert result.exit_code == 1 and "its rows were edited" in result.stderr
