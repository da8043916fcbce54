"""Imports point one way, and each file format has one owner; read from the source, nothing is imported."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "geoembed"
VERBS = {"sample", "chip", "label", "pretrain", "embed", "probe", "evaluate"}
BOTTOM = {"errors", "steps", "atomic"}
OWNERS = {
    "h5py": {"embeddings"},
    "safetensors": {"checkpoint"},
    "skops": {"classifiers"},
    "exactextract": {"zonal"},
    "matplotlib": {"charts"},
    "typer": {"cli"},
    "rich": {"cli"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """A module's name inside the package, by its first part: cli, sources, chips ..."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> set[str]:
    """All modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            found.update([f"geoembed.{alias.name}" for alias in node.names] if module == "geoembed" else [module])
    return found


def own_imports(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("geoembed.")} - {"__version__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    name, used = name_of(path), own_imports(path)
    if name in ("cli", "__main__", "__init__"):
        return
    assert "cli" not in used, "the library knows nothing of the command line"
    if name in VERBS:
        assert not (used & VERBS) - {name}, "a step does not import a step"
    else:
        assert not used & VERBS, "a noun does not import a step"
    if name in BOTTOM:
        assert not used - BOTTOM


@pytest.mark.parametrize("library", OWNERS)
def test_each_format_has_one_owner(library: str) -> None:
    users = {name_of(path) for path in MODULES if any(name.split(".")[0] == library for name in imports(path))}
    assert users == OWNERS[library]


def test_no_import_goes_round() -> None:
    """Modules of the library form no circle of imports at their top level."""
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = {
            alias.name if node.module == "geoembed" else (node.module or "").removeprefix("geoembed.").split(".")[0]
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "geoembed"
            for alias in node.names
        }
        name = name_of(path)
        graph.setdefault(name, set()).update(top - {name, "__version__"})

    def reach(name: str, seen: tuple[str, ...]) -> None:
        assert name not in seen, " -> ".join([*seen, name])
        for other in graph.get(name, ()):
            reach(other, (*seen, name))

    for name in set(graph) - {"cli", "__main__"}:
        reach(name, ())


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
