# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Pages for documents outside `docs/`: the READMEs of examples, the changelog, sources that pages link.

Documents link to each other by their places in the repository, as a forge shows them. Sphinx knows
only what lies beside `conf.py`. So before it reads, a page is written into `docs/_generated/` for
each document outside that belongs to the site, and for each source file that some page links to;
and while it reads, links to those files become links to their pages.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
GENERATED = DOCS / "_generated"
# Not `.md`: what looks for the documents of the repository does not find pages that a build left.
SUFFIX = ".markdown"
LANGUAGES = {
    ".py": "python",
    ".pyi": "python",
    ".c": "c",
    ".sh": "bash",
    ".toml": "toml",
    "": "text",
}
# The front page of the site stands for the front page of the repository.
FRONT_PAGE = {ROOT / "README.md": DOCS / "index.md"}

_FENCE = re.compile(r"^ *(```+|~~~+)")
_CODE = re.compile(r"(`+[^`]+`+)")
_LINK = re.compile(r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")


def outside_documents() -> list[Path]:
    """Return the Markdown documents outside `docs/` that have a page of their own."""
    names = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
    top = [ROOT / name for name in names if (ROOT / name).exists()]
    return [*top, *sorted((ROOT / "examples").glob("*/README.md"))]


def page_of(document: Path) -> Path:
    """Return the file of the page that shows a document or a source file outside `docs/`."""
    place = document.relative_to(ROOT)
    if place.name == "README.md":
        return GENERATED / f"{place.parent}{SUFFIX}"
    if place.suffix == ".md":
        return GENERATED / f"{place.stem.lower()}{SUFFIX}"
    return GENERATED / "source" / f"{place}{SUFFIX}"


def write_pages() -> None:
    """Write the generated pages, and remove those of documents that are gone."""
    pages: dict[Path, str] = {}
    documents = outside_documents()
    for document in documents:
        text = document.read_text(encoding="utf-8")
        pages[page_of(document)] = with_links_of_site(text, document, page_of(document))
    for document in [*documents, *own_documents()]:
        for source in linked_sources(document):
            pages[page_of(source)] = source_page(source)
    for old in set(GENERATED.rglob(f"*{SUFFIX}")) - pages.keys():
        old.unlink()
    for page, text in pages.items():
        # A page that did not change keeps its time: Sphinx does not read it again.
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")


def own_documents() -> list[Path]:
    """Return the Markdown documents of `docs/`."""
    return sorted(DOCS.rglob("*.md"))


def source_page(source: Path) -> str:
    """Return a page that shows one source file of the repository."""
    page, place = page_of(source), source.relative_to(ROOT)
    relative = os.path.relpath(source, page.parent)
    language = LANGUAGES[source.suffix]
    return (
        f"---\norphan: true\n---\n\n# `{place}`\n\n"
        f"```{{literalinclude}} {relative}\n:language: {language}\n```\n"
    )


def linked_sources(document: Path) -> Iterator[Path]:
    """Yield the source files of the repository that a document links to."""
    for line, is_code in lines_of(document.read_text(encoding="utf-8")):
        for link in () if is_code else _LINK.finditer(_CODE.sub("", line)):
            target = target_of(link["target"], document)
            if target is not None and is_source(target):
                yield target


def with_links_of_site(text: str, document: Path, page: Path) -> str:
    """Return the text of a document whose links lead to pages of the site, seen from `page`."""

    def replace(link: re.Match[str]) -> str:
        target = target_of(link["target"], document)
        if target is None:
            return link[0]
        place = place_on_site(target)
        if place is None:
            return link["text"]
        _, mark, anchor = link["target"].partition("#")
        relative = PurePosixPath(os.path.relpath(place, page.parent))
        return f"{link['image']}[{link['text']}]({relative}{mark}{anchor})"

    return "".join(
        line if is_code else outside_code(line, replace) for line, is_code in lines_of(text)
    )


def outside_code(line: str, replace: Callable[[re.Match[str]], str]) -> str:
    """Replace the links of a line; one that stands in backticks is no link."""
    hidden: list[str] = []

    def hide(code: re.Match[str]) -> str:
        hidden.append(code[0])
        return f"\0{len(hidden) - 1}\0"

    changed = _LINK.sub(replace, _CODE.sub(hide, line))
    return re.sub(r"\0(\d+)\0", lambda mark: hidden[int(mark[1])], changed)


def lines_of(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the lines of a Markdown text, each with whether it stands in a fenced block."""
    fence = ""
    for line in text.splitlines(keepends=True):
        found = _FENCE.match(line)
        if found and not fence:
            fence = found[1]
            yield line, True
        elif fence:
            if found and found[1].startswith(fence):
                fence = ""
            yield line, True
        else:
            yield line, False


def target_of(link: str, document: Path) -> Path | None:
    """Return the file in the repository that a link of a document leads to; None for other links."""
    place = link.partition("#")[0]
    if not place or re.match(r"[a-z]+:", place):
        return None
    return (document.parent / place).resolve()


def is_source(path: Path) -> bool:
    """Return whether a file outside `docs/` is shown as a page with its source text."""
    return path.is_file() and not path.is_relative_to(DOCS) and path.suffix in LANGUAGES


def place_on_site(target: Path) -> Path | None:
    """Return the file in `docs/` that shows a file of the repository; None where nothing does."""
    if target.is_dir() and (target / "README.md").exists():
        target /= "README.md"
    if target in FRONT_PAGE:
        return FRONT_PAGE[target]
    if target in outside_documents() or is_source(target):
        return page_of(target)
    if target.is_file():
        return target
    return None


def _before_reading(_: Sphinx) -> None:
    write_pages()


def _on_source_read(app: Sphinx, name: str, source: list[str]) -> None:
    path = Path(app.env.doc2path(name))
    if path.suffix == ".md":
        source[0] = with_links_of_site(source[0], path, path)


def setup(app: Sphinx) -> dict[str, object]:
    """Write the pages before Sphinx looks for documents, and change links while it reads."""
    app.connect("builder-inited", _before_reading)
    app.connect("source-read", _on_source_read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
