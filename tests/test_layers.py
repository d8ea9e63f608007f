"""The layers: a module imports only from folders above its own (docs: the order of the work)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

LAYERS = [
    "stylometry",
    "corpus",
    "masking",
    "hub",
    "model",
    "objective",
    "training",
    "generation",
    "evaluation",
    "delivery",
    "cli",
]
FREE = {"errors", "files", "progress", "config", "__init__", "__main__"}
PACKAGE = Path(__file__).resolve().parent.parent / "src" / "stylellm"


def imported_folders(path: Path) -> set[str]:
    """First folders below stylellm that a module imports, at any depth of its code."""
    parts = path.relative_to(PACKAGE).parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = _absolute(node, parts)
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {n.split(".")[1] for n in names if n.startswith("stylellm.")}
    return found


def _absolute(node: ast.ImportFrom, parts: tuple[str, ...]) -> list[str]:
    if node.level == 0:
        module = node.module or ""
        if module == "stylellm":
            return [f"stylellm.{alias.name}" for alias in node.names]
        return [module]
    base = ["stylellm", *parts[: len(parts) - node.level]]
    if node.module:
        return [".".join([*base, node.module])]
    return [".".join([*base, alias.name]) for alias in node.names]


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.relative_to(PACKAGE).as_posix()
)
def test_imports_go_up(path: Path) -> None:
    folder = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if folder in FREE - {"config"} or folder == "cli":
        return
    allowed = FREE | {folder} | (set(LAYERS[: LAYERS.index(folder)]) if folder in LAYERS else set())
    if folder == "stylometry":  # strings in, numbers out: usable on its own
        allowed = {"stylometry", "errors"}
    assert imported_folders(path) <= allowed | {"__version__"}


def test_checker_sees_a_wrong_import(tmp_path: Path) -> None:
    """The reader of imports reads both kinds."""
    tree = ast.parse("from ..training import run\nimport stylellm.cli.main\n")
    nodes = list(ast.walk(tree))
    relative = next(n for n in nodes if isinstance(n, ast.ImportFrom))
    assert _absolute(relative, ("masking", "plan.py")) == ["stylellm.training"]
