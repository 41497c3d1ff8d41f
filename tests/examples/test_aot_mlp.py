# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The scripts of examples/aot_mlp run, agree with PyTorch, and say so with their exit code."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples/aot_mlp"


def run(folder: Path, *command: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_simple_one_runs_and_agrees(tmp_path: Path) -> None:
    process = run(tmp_path, FOLDER / "mlp_export_simple.py", "--save-to", "mlp.vmfb")
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stderr == ""
    assert "func.func @main(%arg0: tensor<4x97xf32>) -> tensor<4x10xf32>" in process.stdout
    assert "The two agree." in process.stdout
    assert (tmp_path / "mlp.vmfb").stat().st_size > 10_000


def test_the_dynamic_one_runs_agrees_and_refuses(tmp_path: Path) -> None:
    process = run(tmp_path, FOLDER / "mlp_export_dynamic.py")
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stderr == ""
    assert "FAILED" not in process.stdout.replace("FAILED_PRECONDITION", "")
    assert process.stdout.count("   ok     ") == 12
    assert "of PyTorch and ours: []" in process.stdout
    assert "loss: x.shape[0] must equal labels.shape[0]" in process.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", ["mlp_export_simple.py", "mlp_export_dynamic.py"])
def test_a_mismatch_is_an_exit_code(script: str, tmp_path: Path) -> None:
    # The model changes after it was compiled: what PyTorch computes is not what was exported.
    source = (FOLDER / script).read_text()
    line = "        compiled = runtime.load(path)\n"
    if line not in source:
        line = "    compiled = runtime.load(path)\n"
    assert source.count(line) == 1
    indent = line[: len(line) - len(line.lstrip())]
    spoil = f"{indent}torch.nn.init.ones_(model.layer2.weight)\n{indent}model.layer2.weight.data[0] = 0\n"
    (tmp_path / script).write_text(source.replace(line, line + spoil))
    (tmp_path / "run_without_torch.py").write_text((FOLDER / "run_without_torch.py").read_text())
    process = run(tmp_path, script)
    assert process.returncode == 1, process.stdout + process.stderr
    assert "NOT EQUAL" in process.stdout or "FAILED scores" in process.stdout


def test_the_caller_without_pytorch_imports_none() -> None:
    source = (FOLDER / "run_without_torch.py").read_text()
    imports = {line.split()[1] for line in source.splitlines() if line.startswith("import ")}
    assert imports == {"sys", "iree.runtime", "numpy"}
