# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The script of examples/jit_train trains and draws, and says with its exit code that losses agree."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples/jit_train/train_gpt.py"


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def run(
    script: Path, cache: Path, folder: Path, *options: str
) -> "subprocess.CompletedProcess[str]":
    # matplotlib keeps a list of fonts in the user's folder, and a test writes nowhere but here.
    here = {"SHARK_TURBINE_CACHE_DIR": str(cache), "MPLCONFIGDIR": str(cache)}
    return subprocess.run(
        [sys.executable, script, *options],
        cwd=folder,
        env={**os.environ, **here},
        capture_output=True,
        text=True,
        timeout=300,
    )


def size_of_png(path: Path) -> tuple[int, int]:
    start = path.read_bytes()[:24]
    assert start[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(start[16:20]), int.from_bytes(start[20:24])


def test_it_trains_alike_and_draws(cache: Path, tmp_path: Path) -> None:
    process = run(SCRIPT, cache, tmp_path, "--steps", "12", "losses.png")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "Warning" not in process.stderr
    rows = re.findall(r"^ +(\d+) +([\d.]+) +([\d.]+) +(\S+)$", process.stdout, re.MULTILINE)
    assert [int(step) for step, *_ in rows] == [1, 10, 12]
    assert float(rows[-1][2]) < float(rows[0][2]) - 0.5
    speeds = re.search(r"PyTorch: ([\d.]+) steps/s. Compiled: ([\d.]+) steps/s", process.stdout)
    assert speeds is not None, process.stdout
    assert min(map(float, speeds.groups())) > 0
    assert re.search(r"The first compiled step, .*, took \d+\.\d s\.", process.stdout)
    assert "Both losses are drawn in losses.png." in process.stdout
    assert process.stdout.endswith("The two agree.\n")
    assert size_of_png(tmp_path / "losses.png") == (960, 720)
    assert (tmp_path / "losses.png").stat().st_size > 20_000
    assert [path.name for path in tmp_path.iterdir()] == ["losses.png"]


def test_a_difference_is_an_exit_code(cache: Path, tmp_path: Path) -> None:
    source = SCRIPT.read_text()
    line = "    torch.manual_seed(0)\n"
    assert source.count(line) == 1
    spoiled = tmp_path / SCRIPT.name
    spoiled.write_text(source.replace(line, "    torch.manual_seed(len(name))\n"))
    process = run(spoiled, cache, tmp_path, "--steps", "2", "losses.png")
    assert process.returncode == 1, process.stdout + process.stderr
    assert "The two DISAGREE" in process.stdout


def test_one_step_is_too_few(cache: Path, tmp_path: Path) -> None:
    process = run(SCRIPT, cache, tmp_path, "--steps", "1")
    assert process.returncode == 2
    assert "--steps" in process.stderr
