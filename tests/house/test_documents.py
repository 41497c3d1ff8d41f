# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The Markdown documents: every link inside the repository leads somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def without_code(text: str) -> str:
    return re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors_of(path: Path) -> set[str]:
    """Return the names that a forge gives to the headings of a document."""
    headings = re.findall(r"^#+ +(.+?) *$", without_code(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links_of(path: Path) -> list[str]:
    text = re.sub(r"`[^`\n]*`", "", without_code(path.read_text()))
    return re.findall(r"\]\(([^)\s]+)\)", text)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_inside_the_repository_resolve(path: Path) -> None:
    broken: list[str] = []
    for link in links_of(path):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    assert broken == []


def test_the_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b(?! it)", (ROOT / "README.md").read_text()))
    assert {"demo", "test"} <= named <= targets


def test_the_architecture_names_every_module_of_the_floor_and_of_the_corridor() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    package = ROOT / "shark_turbine"
    modules = [*package.glob("[a-z]*.py"), *(package / "aot").glob("[a-z]*.py")]
    rooms = [path.parent for path in package.rglob("__init__.py") if path.parent != package]
    names = [path.name for path in modules] + [f"{path.name}/" for path in rooms]
    assert [name for name in names if f"{name}`" not in text] == []


def test_the_guide_to_debugging_lists_every_variable_of_the_environment() -> None:
    sources = (path.read_text() for path in (ROOT / "shark_turbine").rglob("*.py"))
    used = {name for source in sources for name in re.findall(r"\bSHARK_TURBINE_[A-Z_]+", source)}
    guide = (ROOT / "docs/debugging.md").read_text()
    table = guide[guide.index("## Variables") :]
    assert used == set(re.findall(r"^\| `(SHARK_TURBINE_[A-Z_]+)", table, re.MULTILINE))
