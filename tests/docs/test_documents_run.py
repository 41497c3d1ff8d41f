# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The code in the documents runs: each document top to bottom, in one fresh process, with a user's warnings.

The rule: every block fenced as `python` or `shell` runs in CI. What is shown only is `console`, `text`,
`c` and so on. Comments above a block, which readers do not see, say more:

- `<!-- run -->` runs a shell block here; it must exit with 0, or with N after `<!-- run, exit N -->`,
- `<!-- runs in: FILE, ... -->` names the tests, or CI's own script, that run what the block holds: it takes too
  long, or needs what is not here,
- `<!-- prints -->` above a `text` block: what ran since the last such block must have printed its lines,
  or pieces of lines, in that order.

A document becomes a script whose lines are those of the document, so a traceback points into the
document. It runs in an empty folder, which has a link to the repository's examples.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([
    *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")
])  # fmt: skip
MARKER = "=====[ printed above is checked here ]====="
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[^`\n]*)\n(?P<code>.*?)^(?P=indent)```$", re.M | re.S
)
MARK = re.compile(r"^ *<!-- (?P<mark>[^>\n]*?) -->\n\Z", re.M)
# What the README promises in its text and in comments of its code.
ALSO_PRINTED = {"README.md": ["func.func @main", "a.shape[0]", "b.shape[0]", "[16. 16. 16.]"]}


class Block(NamedTuple):
    """A fenced block: the line of its first line of code, counted from 0, and the comment above it."""

    line: int
    language: str
    code: str
    mark: str
    is_indented: bool

    @property
    def runs_here(self) -> bool:
        """Whether this test runs it."""
        if self.language == "shell":
            return self.mark.split(",")[0] == "run"
        return self.language == "python" and not self.elsewhere

    @property
    def elsewhere(self) -> list[str]:
        """The files that run it instead."""
        names = self.mark.removeprefix("runs in: ")
        return [] if names == self.mark else [name.strip() for name in names.split(",")]


def blocks_of(text: str) -> list[Block]:
    """Return the fenced blocks of a document."""
    found: list[Block] = []
    for fence in FENCE.finditer(text):
        above = (
            MARK.search(text, 0, fence.start()) if text[: fence.start()].endswith("-->\n") else None
        )
        line = text.count("\n", 0, fence.start("code"))
        mark = above["mark"] if above else ""
        found.append(Block(line, fence["language"], fence["code"], mark, bool(fence["indent"])))
    return found


def script_of(text: str) -> tuple[str, list[str]]:
    """Return the script of a document, and what must be printed before each marker in its output."""
    script, expected, line = "", [], 0
    for block in blocks_of(text):
        if block.runs_here:
            shell = block.language == "shell"
            lines = shell_call(block.code, block.mark) if shell else block.code
        elif block.mark == "prints":
            expected.append(block.code)
            lines = f"print({MARKER!r})\n"
        else:
            continue
        script += "\n" * (block.line - line) + lines
        line = block.line + lines.count("\n")
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


def complaint(block: Block) -> str | None:
    """Say how a block breaks the rule."""
    if block.language in ("py", "python3", "bash", "sh", "zsh"):
        return f"is fenced as {block.language}: write python or shell, which run"
    if block.language not in ("python", "shell"):
        return None
    if block.is_indented:
        return "is indented: this test does not run it"
    if block.elsewhere:
        return not_run_by(block)
    return None if block.runs_here else "does not run: mark it, or fence it as console or text"


def not_run_by(block: Block) -> str | None:
    """Say which file that is to run a block is missing, or does not know what the block runs."""
    missing_files = [name for name in block.elsewhere if not (ROOT / name).is_file()]
    if missing_files:
        return f"is said to run in files that do not exist: {missing_files}"
    known = "".join((ROOT / name).read_text(encoding="utf-8") for name in block.elsewhere)
    wanted = re.findall(r"[\w-]+\.py\b|make \w+", re.sub("#.*", "", block.code))
    unknown = [name for name in wanted if name not in known]
    return f"is said to run in {block.elsewhere}, which do not name {unknown}" if unknown else None


def plain_environment() -> dict[str, str]:
    """Return the environment of a user in this virtual environment, without pytest's settings."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHONWARN"))
    }
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return environment


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


DOCUMENTS = [
    path
    for path in FILES
    if any(block.runs_here for block in blocks_of(path.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_a_document_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    script, expected = script_of(path.read_text(encoding="utf-8"))
    file = tmp_path / f"{path.stem.replace('-', '_')}.py"
    file.write_text(script, encoding="utf-8")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
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
    for piece in ALSO_PRINTED.get(name_of(path), ()):
        assert piece in process.stdout


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_block_of_python_and_shell_runs(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = [(block.line, complaint(block)) for block in blocks_of(text)]
    assert [f"line {line}: {said}" for line, said in found if said] == []
    # A fence that does not end swallows what follows.
    assert len(re.findall(r"^ *```", text, re.MULTILINE)) == 2 * len(found)


def test_the_documents_are_all_there() -> None:
    names = {name_of(path) for path in DOCUMENTS}
    guides = ("tutorial", "dynamic-shapes", "globals", "errors", "deployment", "debugging")
    assert {"README.md", "SECURITY.md", *(f"docs/{name}.md" for name in guides)} <= names


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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```shell\nls\n```\n", "does not run"),
        ("<!-- run -->\n```shell\nls\n```\n", None),
        ("<!-- run, exit 1 -->\n```shell\nfalse\n```\n", None),
        ("```console\n$ rm -r /\n```\n", None),
        ("```bash\nls\n```\n", "is fenced as bash"),
        ("- a list\n\n  ```python\n  x = 1\n  ```\n", "is indented"),
        ("<!-- runs in: Makefile -->\n```shell\nmake nonsense\n```\n", "do not name"),
        ("<!-- runs in: nowhere.py -->\n```python\nx = 1\n```\n", "do not exist"),
        ("<!-- runs in: .ci/run -->\n```shell\nmake test\n```\n", None),
    ],
)
def test_the_rule_is_held(text: str, said: str | None) -> None:
    (block,) = blocks_of(text)
    found = complaint(block)
    assert (found is None) if said is None else (found is not None and said in found)
