# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The shape of the source: sizes and names that keep a file readable."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "shark_turbine"
FILES = sorted(PACKAGE.rglob("*.py"))
LICENSE_LINE = "# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception"
NAMELESS = {"utils", "util", "support", "helpers", "common", "base", "misc"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_is_short_and_licensed(path: Path) -> None:
    text = path.read_text()
    limit = 60 if path.name == "__init__.py" else 400
    assert len(text.splitlines()) <= limit
    assert text.startswith(LICENSE_LINE)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_relative_import_climbs_one_package_at_most(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text()))
    assert [
        node.lineno for node in nodes if isinstance(node, ast.ImportFrom) and node.level > 2
    ] == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [name_of(path) for path in FILES if NAMELESS & {*path.parts, path.stem}] == []


def test_packages_are_not_nested_deeper_than_a_room_of_the_corridor() -> None:
    # shark_turbine/aot/trace/capture.py is as deep as it gets.
    assert [name_of(path) for path in FILES if len(path.relative_to(PACKAGE).parts) > 3] == []


def test_the_architecture_document_stays_short() -> None:
    assert len((ROOT / "docs/architecture.md").read_text().splitlines()) <= 150
