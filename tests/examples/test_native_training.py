# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The example that trains in shell and C: what it learns, what it says of C, and that it notices a mismatch."""

import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "examples/native_training"


def run(folder: Path, script: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, script, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_processes_without_python_learn_what_pytorch_learns(tmp_path: Path) -> None:
    process = run(tmp_path, FOLDER / "native_training.py")
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stderr == ""
    assert "epoch 5: a process ended" in process.stdout
    assert "NOT EQUAL" not in process.stdout
    assert "All agree." in process.stdout
    assert list(tmp_path.iterdir()) == []
    by_c = process.stdout.partition("3. Trained by a C program:")[2].partition("\n4.")[0]
    assert ("NOT RUN: " in by_c) != ("epoch 5: loss" in by_c)
    sizes = re.findall(r"^ +([\d.]+) MB  (.*)$", process.stdout, re.MULTILINE)
    assert [name.split(":")[0] for _, name in sizes][:2] == ["digits.vmfb", "iree-run-module"]
    assert sum(float(size) for size, _ in sizes[:2]) < 5


def test_a_mismatch_is_an_exit_code(tmp_path: Path) -> None:
    # One process of the five starts from the first state again.
    source = (FOLDER / "train.sh").read_text()
    line = 'for epoch in $(seq 1 "$epochs"); do\n'
    assert source.count(line) == 1
    spoil = f'{line}  [ "$epoch" != 3 ] || {{ call initial_state $write_state; mv "$folder/new_state.npy" "$folder/state.npy"; }}\n'
    (tmp_path / "train.sh").write_text(source.replace(line, spoil))
    (tmp_path / "native_training.py").write_text((FOLDER / "native_training.py").read_text())
    (tmp_path / "c").mkdir()
    for name in ("CMakeLists.txt", "main.c"):
        (tmp_path / "c" / name).write_text((FOLDER / "c" / name).read_text())
    process = run(tmp_path, tmp_path / "native_training.py", "--epochs", "4")
    assert process.returncode == 1, process.stdout + process.stderr
    assert "losses of all steps" in process.stdout
    assert "NOT EQUAL" in process.stdout


def test_the_shell_script_and_the_c_program_name_no_python() -> None:
    shell = (FOLDER / "train.sh").read_text()
    commands = [line for line in shell.splitlines() if not line.lstrip().startswith("#")]
    assert "python" not in "\n".join(commands)
    source = (FOLDER / "c/main.c").read_text()
    includes = re.findall(r"#include (\S+)", source)
    assert includes == ["<stdio.h>", "<stdlib.h>", '"iree/runtime/api.h"']
    assert "native.train_step" in source
