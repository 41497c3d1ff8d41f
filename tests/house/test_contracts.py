# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The import contracts bite: a stray import added to a copy of the package breaks them, by name."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIGS = ("pyproject.toml", ".importlinter-cycles.toml")
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


@pytest.fixture(scope="module")
def copied_house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    house = tmp_path_factory.mktemp("house")
    shutil.copytree(
        ROOT / "shark_turbine",
        house / "shark_turbine",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for config in CONFIGS:
        shutil.copy(ROOT / config, house)
    return house


def lint_imports(house: Path, config: str) -> tuple[int, str]:
    result = subprocess.run(
        [LINT_IMPORTS, "--no-cache", "--config", config],
        cwd=house,
        env={**os.environ, "PYTHONPATH": str(house), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("config", CONFIGS)
def test_the_house_keeps_its_contracts(copied_house: Path, config: str) -> None:
    code, printed = lint_imports(copied_house, config)
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
        code, printed = lint_imports(copied_house, "pyproject.toml")
    finally:
        path.unlink() if before is None else path.write_text(before)
    assert code == 1, printed
    assert any(broken in line and "BROKEN" in line for line in printed.splitlines()), printed


def test_a_cycle_inside_a_room_breaks_its_contract(copied_house: Path) -> None:
    room = copied_house / "shark_turbine/aot/emit"
    strays = {name: room / f"stray_{name}.py" for name in ("a", "b")}
    strays["a"].write_text("from . import stray_b\n")
    strays["b"].write_text("def f():\n    from . import stray_a\n")
    try:
        code, printed = lint_imports(copied_house, ".importlinter-cycles.toml")
    finally:
        for stray in strays.values():
            stray.unlink()
    assert code == 1, printed
    assert "No cycles are allowed in shark_turbine.aot.emit" in printed
