# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The example that trains in shell and C: what it learns, what it says of C, and that it notices a mismatch."""

import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

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


def test_a_mismatch_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    example: Any = SimpleNamespace(**runpy.run_path(str(FOLDER / "native_training.py")))
    model, losses = example.make_model(), torch.ones(2, 3)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    assert example.compare(losses, model, losses, state, losses.mean(1))
    assert not example.compare(losses, model, losses + 0.01, state, None)
    assert not example.compare(losses, model, losses, state, losses.mean(1) * 2)
    state["0.bias"][3] += 0.1
    assert not example.compare(losses, model, losses, state, None)
    assert capsys.readouterr().out.count("NOT EQUAL") == 3


def test_the_shell_script_and_the_c_program_name_no_python() -> None:
    shell = (FOLDER / "train.sh").read_text()
    commands = [line for line in shell.splitlines() if not line.lstrip().startswith("#")]
    assert "python" not in "\n".join(commands)
    source = (FOLDER / "c/main.c").read_text()
    includes = re.findall(r"#include (\S+)", source)
    assert includes == ["<stdio.h>", "<stdlib.h>", '"iree/runtime/api.h"']
    assert "native.train_step" in source
