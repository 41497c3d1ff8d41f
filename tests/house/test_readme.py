# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The README's Python code runs as printed, from top to bottom, in one fresh interpreter."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_python_blocks_run_as_printed(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    script = tmp_path / "readme.py"
    script.write_text("\n".join(blocks))
    result = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert "func.func @main" in result.stdout
    assert "a.shape[0]" in result.stdout
    assert "b.shape[0]" in result.stdout
    assert "[16. 16. 16.]" in result.stdout
