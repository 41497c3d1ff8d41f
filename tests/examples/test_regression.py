# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The scripts of examples/regression train without PyTorch, and notice when they do not agree with it."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "examples/regression"


def run(folder: Path, script: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, script], cwd=folder, capture_output=True, text=True, timeout=300
    )


def test_it_trains_without_pytorch_and_agrees(tmp_path: Path) -> None:
    process = run(tmp_path, FOLDER / "regression.py")
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stderr == ""
    assert process.stdout.count("– equal") == 2
    assert "of PyTorch and ours: []" in process.stdout
    assert "The two agree." in process.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_mismatch_is_an_exit_code(tmp_path: Path) -> None:
    # The data of the other process is not what PyTorch trains on.
    source = (FOLDER / "train_without_torch.py").read_text()
    line = "    losses = []\n"
    assert source.count(line) == 1
    (tmp_path / "train_without_torch.py").write_text(source.replace(line, f"{line}    x = x + 1\n"))
    (tmp_path / "regression.py").write_text((FOLDER / "regression.py").read_text())
    process = run(tmp_path, tmp_path / "regression.py")
    assert process.returncode == 1, process.stdout + process.stderr
    assert "NOT EQUAL" in process.stdout
