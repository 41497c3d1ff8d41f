# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The import contracts bite: a stray import added to a copy of the package breaks them, by name."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


@pytest.fixture(scope="module")
def copied_house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    house = tmp_path_factory.mktemp("house")
    shutil.copytree(
        ROOT / "shark_turbine",
        house / "shark_turbine",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copy(ROOT / "pyproject.toml", house)
    return house


def lint_imports(house: Path) -> tuple[int, str]:
    result = subprocess.run(
        [LINT_IMPORTS, "--no-cache", "--config", "pyproject.toml"],
        cwd=house,
        env={**os.environ, "PYTHONPATH": str(house), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return result.returncode, result.stdout + result.stderr


def test_the_house_keeps_its_contracts(copied_house: Path) -> None:
    code, printed = lint_imports(copied_house)
    assert code == 0, printed


@pytest.mark.parametrize(
    ("file", "stray_import", "broken"),
    [
        ("errors.py", "import torch", "The floor under everything is pure Python"),
        ("runtime/__init__.py", "import shark_turbine.compiler", "Floors: nothing walks back"),
        ("compiler/__init__.py", "import shark_turbine.runtime", "Exporting needs no runtime"),
        ("aot/__init__.py", "import shark_turbine.dynamo", "Floors: nothing walks back"),
        ("dynamo/__init__.py", "import shark_turbine.aot", "Floors: nothing walks back"),
        ("aot/trace/stray.py", "from iree.compiler import ir", "know no MLIR and no IREE"),
        ("aot/declare/stray.py", "import shark_turbine.compiler", "know no MLIR and no IREE"),
        ("aot/declare/stray.py", "import shark_turbine.aot.trace", "The corridor:"),
        ("utils.py", "", "Floors: nothing walks back, and every module has its place"),
    ],
)
def test_a_stray_import_breaks_the_contract_by_name(
    copied_house: Path, file: str, stray_import: str, broken: str
) -> None:
    path = copied_house / "shark_turbine" / file
    before = path.read_text() if path.exists() else None
    path.write_text(f"{before or ''}\n{stray_import}\n")
    try:
        code, printed = lint_imports(copied_house)
    finally:
        path.unlink() if before is None else path.write_text(before)
    assert code == 1, printed
    assert [line for line in printed.splitlines() if broken in line and "BROKEN" in line], printed
