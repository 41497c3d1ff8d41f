# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The page of a profile: a template with the data in it, and nothing else to load."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

_TEMPLATE = Path(__file__).with_name("page.html")


def to_html(data: dict[str, Any], summary: str) -> str:
    """Return the page of a profile, given as `Profile.to_json` gives it."""
    # Inside a script element only an end tag would mean something.
    embedded = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "{{title}}": html.escape(str(data["title"])),
        "{{summary}}": html.escape(summary),
        "{{data}}": embedded,
    }
    page = _TEMPLATE.read_text(encoding="utf-8")
    for place, part in parts.items():
        page = page.replace(place, part)
    return page
