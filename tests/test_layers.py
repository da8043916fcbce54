"""Imports point one way, between folders as between modules; read from the source, nothing is imported."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "geoembed"
MODULES = sorted(PACKAGE.rglob("*.py"))

MAY_IMPORT = {
    "version": set(),
    "errors": set(),
    "names": set(),
    "progress": {"display", "errors"},
    "display": set(),
    "interrupts": set(),
    "settings": {"errors", "imagery"},
    "earth": {"errors", "names", "outputs"},
    "outputs": {"errors"},
    "project": set(),
    "ground": {"errors", "names", "outputs", "project"},
    "imagery": {"errors", "names", "outputs", "ground"},
    "archives": {"errors", "names", "outputs", "project", "ground", "imagery"},
    "chips": {"errors", "names", "outputs", "project", "ground", "imagery", "archives"},
    "labels": {"errors", "names", "progress", "outputs", "project", "ground", "imagery"},
    "learning": {"errors", "names", "outputs", "project", "imagery", "chips"},
    "fits": {"errors", "interrupts", "names", "progress", "outputs", "project", "ground", "chips", "labels"},
    "active": {"errors", "names", "outputs", "ground", "chips", "labels", "fits"},
    "evaluation": {
        "errors", "names", "progress", "outputs", "project", "ground", "imagery", "chips", "labels", "learning", "fits",
    },
    "exchange": {"errors", "names", "progress", "outputs", "ground", "imagery", "chips", "labels", "fits"},
    "inventory": {
        "errors", "progress", "display", "settings", "outputs", "project", "ground", "imagery", "archives", "chips",
        "labels", "learning", "fits", "evaluation", "earth",
    },
    "report": {"outputs", "ground", "imagery", "fits", "evaluation"},
    "retrieval": {
        "errors", "names", "progress", "outputs", "project", "ground", "chips", "labels", "learning", "fits",
        "evaluation", "report",
    },
}  # fmt: skip
"""What each folder (or module at the top) may import besides itself; the steps may import all of these."""

OWNERS = {
    "h5py": ("fits.hdf5", "imagery.hdf5"),
    "safetensors": ("learning.checkpoint",),
    "skops": ("fits.classifiers",),
    "exactextract": ("labels.zonal",),
    "matplotlib": ("report.charts",),
    "pyarrow": ("exchange.geoparquet", "labels.tables"),
    "zarr": ("exchange.zarr",),
    "typer": ("cli",),
    "rich": ("display",),
}
"""The modules, or folders, that know a file format or a display: one, but for HDF5 and what netCDF has of it."""


def name_of(path: Path) -> str:
    """A module's dotted name inside the package; a folder's __init__ has the folder's name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def imports(tree: ast.AST) -> Iterator[str]:
    """All modules that a file imports, anywhere in it, our own without the leading `geoembed.`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            module = node.module or ""
            if module.split(".")[0] != "geoembed":
                yield module
                continue
            inside = module.removeprefix("geoembed").removeprefix(".")
            for alias in node.names:
                below = f"{inside}.{alias.name}".removeprefix(".")
                yield f"geoembed.{below if below in NAMES else inside}"


def own(tree: ast.AST) -> set[str]:
    return {name.removeprefix("geoembed.") for name in imports(tree) if name.startswith("geoembed.")} - {""}


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_folders_import_in_one_direction(path: Path) -> None:
    name = name_of(path)
    folder = name.split(".")[0]
    used = {module.split(".")[0] for module in own(parsed(path))} - {folder}
    if folder in ("", "__main__", "cli"):
        return
    assert "cli" not in used, "the library knows nothing of the command line"
    if folder == "steps":
        verbs = {module for module in own(parsed(path)) if module.startswith("steps.")}
        assert not verbs - {name}, "a verb does not import a verb"
        return
    assert used - {"version"} <= MAY_IMPORT[folder]


def test_the_allowed_directions_form_no_circle() -> None:
    assert list(TopologicalSorter(MAY_IMPORT).static_order())


def test_modules_form_no_circle() -> None:
    """The imports at the top of modules, which are all that Python itself resolves in order."""
    graph = {}
    for path in MODULES:
        tree = parsed(path)
        tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        name = name_of(path)
        graph[name] = {module for module in own(tree) if not name.startswith("cli") and module != name}
    try:
        assert list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("library", OWNERS)
def test_each_format_has_its_owners(library: str) -> None:
    users = {name_of(path) for path in MODULES if any(name.split(".")[0] == library for name in imports(parsed(path)))}
    assert users
    assert all(any(f"{user}.".startswith(f"{owner}.") for owner in OWNERS[library]) for user in users), users


def test_each_folder_says_what_lives_there_and_what_may_not() -> None:
    for path in PACKAGE.glob("*/__init__.py"):
        lines = (ast.get_docstring(parsed(path)) or "").splitlines()
        assert len(lines) >= 3, path


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; from geoembed.cli import app\n"
        "try: app(['chip', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'rasterio', 'geopandas', 'sklearn', 'numpy', 'pandas', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--min-valid" in done.stdout
