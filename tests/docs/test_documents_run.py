# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The code in docs/ runs: each document top to bottom, in one fresh process, with a user's warnings.

Every block fenced as `python` runs. A `shell` block runs when the comment `<!-- run -->` stands
above it, and must exit with 0, or with N after `<!-- run, exit N -->`. A `text` block after
`<!-- prints -->` holds pieces of lines that what ran since the last such block must have printed,
in that order. A document becomes a script whose lines are those of the document, so a traceback
points into the document.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for path in [*(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    if re.search(r"^```python$|^<!-- run", path.read_text(), re.MULTILINE)
)
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^>\n]*?) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
MARKER = "=====[ printed above is checked here ]====="


def script_of(text: str) -> tuple[str, list[str]]:
    """Return the script of a document, and what must be printed before each marker in its output."""
    script, expected, line = "", [], 0
    for block in BLOCK.finditer(text):
        start = text.count("\n", 0, block.start("code"))
        code, mark = block["code"], block["mark"] or ""
        if block["language"] == "python":
            lines = code
        elif block["language"] == "shell" and mark.startswith("run"):
            lines = shell_call(code, mark)
        elif mark == "prints":
            expected.append(code)
            lines = f"print({MARKER!r})\n"
        else:
            continue
        script += "\n" * (start - line) + lines
        line = start + lines.count("\n")
    return script, expected


def shell_call(code: str, mark: str) -> str:
    """Return one line of Python that runs shell code, shows what it prints and checks its exit code."""
    found = re.search(r"exit (\d+)", mark)
    command = ["bash", "-euc", code]
    return (
        f"import subprocess as sp; ran = sp.run({command!r}, text=True, stdout=sp.PIPE, "
        f"stderr=sp.STDOUT); print(ran.stdout); "
        f"assert ran.returncode == {found[1] if found else 0}, ran.returncode\n"
    )


def missing(expected: str, printed: str) -> list[str]:
    """Return the pieces that were not printed in this order."""
    position = 0
    for piece in expected.splitlines():
        found = printed.find(piece, position)
        if found < 0:
            return [piece]
        position = found + len(piece)
    return []


def plain_environment() -> dict[str, str]:
    """Return the environment of a user in this virtual environment, without pytest's settings."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHONWARN"))
    }
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return environment


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_document_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    script, expected = script_of(path.read_text(encoding="utf-8"))
    file = tmp_path / f"{path.stem.replace('-', '_')}.py"
    file.write_text(script, encoding="utf-8")
    process = subprocess.run(
        [sys.executable, file],
        cwd=tmp_path,
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-4000:]
    assert process.stderr == ""
    printed = process.stdout.split(MARKER)
    assert len(printed) == len(expected) + 1
    for wanted, output in zip(expected, printed, strict=False):
        assert missing(wanted, output) == [], output


def test_the_tutorial_and_the_guides_are_among_the_documents() -> None:
    names = {path.name for path in DOCUMENTS}
    assert {"tutorial.md", "dynamic-shapes.md", "globals.md", "errors.md"} <= names


def test_what_was_not_printed_is_noticed() -> None:
    assert missing("one\ntwo\n", "x one y\nz two\n") == []
    assert missing("two\none\n", "x one y\nz two\n") == ["one"]


def test_a_script_has_the_lines_of_its_document() -> None:
    text = "# Title\n\n```python\nx = 1\n```\n\n<!-- prints -->\n```text\n1\n```\n\n```python\ny = 2\n```\n"
    script, expected = script_of(text)
    assert expected == ["1\n"]
    assert [line for line in script.splitlines() if line][-1] == "y = 2"
    assert script.splitlines()[3] == "x = 1"
    assert script.splitlines()[12] == "y = 2"
