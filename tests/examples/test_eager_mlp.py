# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The script of examples/eager_mlp runs, agrees with eager PyTorch, and says so with its exit code."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples/eager_mlp/mlp_eager_simple.py"


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def run(
    script: Path, cache: Path, folder: Path, *options: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, script, *options],
        cwd=folder,
        env={**os.environ, "SHARK_TURBINE_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_it_learns_in_eager_and_compiled_alike(cache: Path, tmp_path: Path) -> None:
    process = run(SCRIPT, cache, tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stderr == ""
    assert "2 graphs, 0 graph breaks" in process.stdout
    counted = re.search(r"(\d+) operators are compiled, 0 run in eager", process.stdout)
    assert counted is not None, process.stdout
    assert int(counted[1]) > 10
    losses = re.findall(r"120 steps.* loss ([\d.]+) -> ([\d.]+)", process.stdout)
    assert [float(last) < float(first) / 5 for first, last in losses] == [True, True]
    assert [float(part) > 90 for part in re.findall(r"accuracy ([\d.]+)%", process.stdout)] == [
        True,
        True,
    ]
    assert process.stdout.endswith("The two agree.\n")
    assert list(tmp_path.iterdir()) == []
    assert list((cache / "vmfb").glob("*.vmfb"))


def test_a_difference_is_an_exit_code(cache: Path, tmp_path: Path) -> None:
    source = SCRIPT.read_text()
    line = "    twin = copy.deepcopy(eager)\n"
    assert source.count(line) == 1
    spoiled = tmp_path / SCRIPT.name
    spoiled.write_text(source.replace(line, line + "    twin.hidden.weight.data.mul_(1.5)\n"))
    process = run(spoiled, cache, tmp_path, "--epochs", "1")
    assert process.returncode == 1, process.stdout + process.stderr
    assert "The two DISAGREE" in process.stdout
