# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The page of a profile: a template with the data in it, and nothing else to load."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .text import UNKNOWN, count, number, percent, rate, unit_of

_TEMPLATE = Path(__file__).with_name("page.html")
_PLACE = re.compile(r"\{\{(\w+)\}\}")


def to_html(data: dict[str, Any], subtitle: str, cards: Sequence[tuple[str, str]]) -> str:
    """Return the page of a profile.

    Args:
        data: as `Profile.to_json` gives it.
        subtitle: a line under the title.
        cards: the figures at the top, each with what it is.
    """
    unit, scale = unit_of(data["seconds"])
    parts = {
        "title": html.escape(str(data["title"])),
        "subtitle": html.escape(subtitle),
        "cards": "".join(map(_card, cards)),
        "rows": "\n".join(_row(row, unit, scale) for row in data["rows"]),
        # Inside a script element only an end tag would mean something.
        "data": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    }
    return _PLACE.sub(lambda match: parts[match[1]], _TEMPLATE.read_text(encoding="utf-8"))


def _card(card: tuple[str, str]) -> str:
    figure, meaning = map(html.escape, card)
    return f'<div class="card"><b>{figure}</b><span>{meaning}</span></div>'


def _row(row: dict[str, Any], unit: str, scale: float) -> str:
    path, name = row["module"], row["name"]
    fused = (f"{each['module']} {each['location']}" for each in row["fused"])
    told = "\n".join([row["kernel"], *fused])
    cells = [
        _number(row["seconds"], f"{number(row['seconds'] * scale)} {unit}"),
        _number(row["share"], percent(row["share"])),
        _number(row["calls"], count(row["calls"])),
        _number(row["gflops"], rate(row["gflops"])),
        _number(row["gbs"], rate(row["gbs"])),
        _number(row["of_peak"], percent(row["of_peak"])),
        f"<td>{html.escape(UNKNOWN if path is None else path or '(root)')}</td>",
        f"<td>{html.escape(row['location'] or UNKNOWN)}</td>",
        f'<td class="wide" title="{html.escape(told)}">{html.escape(name)}</td>',
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _number(value: float | None, shown: str) -> str:
    return f'<td class="n" data-value="{-1 if value is None else value}">{html.escape(shown)}</td>'
