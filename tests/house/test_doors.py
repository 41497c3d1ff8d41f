# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Who may know which library: read from the source, file by file, lazy imports included."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "shark_turbine"

# A dotted name, and the files and folders of the package that may use it.
DOORS = {
    "torch.utils._pytree": ["trees.py"],
    "iree.compiler": ["ir.py", "fx_import", "aot/emit", "compiler"],
    "iree.runtime": ["runtime", "aot/params.py"],
    "torch_mlir": ["compiler"],
    "contextvars": ["aot/recorder.py", "decompositions/table.py"],
    "torch.export.Dim": ["aot/trace/capture.py"],
}


def dotted_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield every imported name and every dotted expression, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno
        elif isinstance(node, ast.Attribute):
            yield ast.unparse(node), node.lineno


def uses(path: Path, door: str) -> list[int]:
    tree = ast.parse(path.read_text(), str(path))
    return [line for name, line in dotted_names(tree) if f"{name}.".startswith(f"{door}.")]


def is_inside(file: str, allowed: list[str]) -> bool:
    return any(file == place or file.startswith(f"{place}/") for place in allowed)


@pytest.mark.parametrize("door", DOORS)
def test_only_the_named_files_know_the_library(door: str) -> None:
    strangers = {
        f"{file}:{line}"
        for path in PACKAGE.rglob("*.py")
        if not is_inside(file := path.relative_to(PACKAGE).as_posix(), DOORS[door])
        for line in uses(path, door)
    }
    assert strangers == set()


def test_an_import_inside_a_function_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "stray.py"
    path.write_text("def f():\n    import torch\n    return torch.utils._pytree.tree_map\n")
    assert 3 in uses(path, "torch.utils._pytree")
