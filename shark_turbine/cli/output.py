# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the commands print: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from shark_turbine.errors import TurbineError

_RED = "1;31"
_YELLOW = "1;33"


def say(text: str) -> None:
    """Print a line on stderr."""
    print(text, file=sys.stderr, flush=True)


def say_error(error: TurbineError) -> None:
    """Print an error, in its four parts."""
    say(f"{_painted('error:', _RED)} {error}")


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning in one line; takes what `warnings.showwarning` takes."""
    if file is None:
        # A line of ours tells nobody what to change.
        is_ours = Path(__file__).parents[1] in Path(filename).parents
        place = "" if is_ours else f"  ({filename}:{lineno})"
        say(f"{_painted('warning:', _YELLOW)} {message}{place}")
    else:
        file.write(warnings.formatwarning(message, category, filename, lineno, line))


def is_terminal(stream: TextIO) -> bool:
    """Tell whether somebody looks at a stream who can see lines change."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _painted(text: str, color: str) -> str:
    if is_terminal(sys.stderr) and not os.environ.get("NO_COLOR"):
        return f"\033[{color}m{text}\033[0m"
    return text


def error_to_json(error: TurbineError) -> dict[str, Any]:
    """Return the parts of an error."""
    parts = {
        "where": error.where,
        "location": error.location,
        "got": error.got,
        "expected": error.expected,
        "fix": error.fix,
    }
    shown = {name: None if part is None else str(part) for name, part in parts.items()}
    return {"kind": type(error).__name__, "what": error.what, **shown}


def print_json(value: object) -> None:
    """Print one JSON document on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout: folded to the width of a terminal, with a line for each row elsewhere."""
    if is_terminal(sys.stdout):
        # Only who looks at a terminal pays for the import.
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_header=any(headers))
        for header in headers:
            table.add_column(header, overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        Console(highlight=False).print(table)
        return
    lines = [headers, *rows] if any(headers) else rows
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join(cells).rstrip())


def readable_size(count: float) -> str:
    """Return a number of bytes as people say it, such as `12.3 KiB`."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def readable_time(seconds: float) -> str:
    """Return a time as people say it, such as `1.24 s` or `36.1 µs`."""
    if seconds >= 1:
        return f"{seconds:.0f} s" if seconds >= 100 else f"{seconds:.3g} s"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"
