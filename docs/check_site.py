# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Check the built site: every link inside it leads somewhere, and no page needs the network.

    python docs/check_site.py docs/_build/html

Prints what is wrong, one line each, and exits with 1 if anything is.
"""

import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself, by tag; a link is fetched only when its `rel` says so.
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
LOADED_LINKS = {"stylesheet", "icon", "preload", "prefetch", "modulepreload"}


@dataclass
class Page:
    """What one page offers and asks for."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__()
        self.page = page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.page.anchors.add(given["id"])
        if tag == "a" and given.get("name"):
            self.page.anchors.add(given["name"])
        if tag == "a" and given.get("href"):
            self.page.links.append(given["href"])
        address = given.get(LOADED.get(tag, ""))
        if address and (tag != "link" or LOADED_LINKS & set(given.get("rel", "").split())):
            self.page.loaded.append(address)


def read_site(folder: Path) -> dict[Path, Page]:
    """Return every HTML page below a folder, by its resolved path."""
    pages = {}
    for path in sorted(folder.resolve().rglob("*.html")):
        pages[path] = Page()
        _Reader(pages[path]).feed(path.read_text(encoding="utf-8"))
    return pages


def faults_of(folder: Path) -> list[str]:
    """Return a line for each thing that is wrong with the site in a folder."""
    pages = read_site(folder)
    faults = [] if pages else [f"{folder}: no pages"]
    for path, page in pages.items():
        name = path.relative_to(folder.resolve())
        for address in page.loaded:
            split = urlsplit(address)
            if split.scheme not in {"", "data"} or split.netloc:
                faults.append(f"{name}: loads {address} from the network")
            elif split.path and not (path.parent / unquote(split.path)).exists():
                faults.append(f"{name}: loads {address}, which is not there")
        faults += [
            f"{name}: dead link {link}"
            for link in dict.fromkeys(page.links)
            if _is_dead(link, path, pages)
        ]
    return faults


def _is_dead(link: str, page: Path, pages: dict[Path, Page]) -> bool:
    split = urlsplit(link)
    if split.scheme or split.netloc:
        return False
    target = (page.parent / unquote(split.path)).resolve() if split.path else page
    if target.is_dir():
        target /= "index.html"
    if target not in pages:
        return not target.exists()
    anchor = unquote(split.fragment)
    return bool(anchor) and anchor not in pages[target].anchors


def main() -> int:
    """Check the folder that the command line names."""
    folder = Path(sys.argv[1])
    faults = faults_of(folder)
    for fault in faults:
        print(fault)
    pages = read_site(folder)
    links = sum(len(page.links) for page in pages.values())
    print(f"checked {len(pages)} pages, {links} links: {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
