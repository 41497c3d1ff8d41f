# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Numbers and tables as people read them; what is unknown is a dash."""

from __future__ import annotations

from collections.abc import Sequence

UNKNOWN = "–"


def unit_of(seconds: float) -> tuple[str, float]:
    """Return the unit that a time is read best in, and how many of it make a second."""
    return ("ms", 1e3) if seconds >= 1e-3 else ("µs", 1e6)


def number(value: float) -> str:
    """Return a time in its unit, with so many digits as mean something."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}" if value >= 1 else f"{value:.2f}"


def percent(share: float | None) -> str:
    """Return a share in percent."""
    return UNKNOWN if share is None else f"{share * 100:.1f} %"


def rate(value: float | None) -> str:
    """Return a speed."""
    return UNKNOWN if value is None else f"{value:.1f}" if value else "0"


def count(value: float) -> str:
    """Return how often something happens."""
    return f"{value:g}"


def size(nbytes: float) -> str:
    """Return bytes in the largest unit that leaves a number of one or more."""
    for unit in ("B", "KiB", "MiB"):
        if nbytes < 1024:
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1024
    return f"{nbytes:.1f} GiB"


def table(head: Sequence[str], lines: Sequence[Sequence[str]], numbers: int) -> str:
    """Return a table; the first `numbers` columns are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]

    def written(cells: Sequence[str]) -> str:
        placed = [
            cell.rjust(width) if place < numbers else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(placed).rstrip()

    return "\n".join(
        [written(head), "  ".join("─" * width for width in widths), *map(written, lines)]
    )


def end_of(text: str, width: int) -> str:
    """Return a text that is no longer than `width`: its end, where a path says most."""
    return text if len(text) <= width else "…" + text[-(width - 1) :]


def start_of(text: str, width: int) -> str:
    """Return a text that is no longer than `width`: its start, where a name says most."""
    return text if len(text) <= width else text[: width - 1] + "…"
