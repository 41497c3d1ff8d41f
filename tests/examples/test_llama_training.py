# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The script that trains inside a vmfb: its losses fall, and are those of PyTorch's AdamW."""

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples/llama/train_tiny.py"


def test_it_trains_as_pytorch_does_and_writes() -> None:
    process = subprocess.run(
        [sys.executable, SCRIPT, "--steps", "60", "--compare", "12"],
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert "Warning" not in process.stderr
    assert "12 steps: " in process.stdout
    assert "The two agree." in process.stdout
    (loss,) = re.findall(r"after +60 steps: loss ([\d.]+)", process.stdout)
    assert float(loss) < 4
    written = process.stdout.split("It writes:\n\n")[1]
    assert written.startswith("The ")
    assert len(written) > 400
