# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A compiler that did not succeed, told in the user's words."""

from __future__ import annotations

import re
from typing import Any

from shark_turbine.errors import CompileError, Diagnostic, SourceLocation

from .diagnostics import first_error, first_location, parse
from .tools import ToolResult

_NO_LOWERING = "the compiler has no lowering for "
_OPTION_MISTAKE = re.compile(
    r"iree-compile(?:: |\S*: )(?P<what>Unknown command line argument '(?P<unknown>[^']*)'|for the .*)"
)
_SUGGESTION = re.compile(r"Did you mean '(?P<option>[^']+)'")


def took_too_long(name: str | None, timeout: float | None) -> CompileError:
    """Return the error of a compiler that was killed for its time."""
    return CompileError(
        f"the compiler was stopped after {timeout:g} s",
        where=name,
        stage="timeout",
        got=f"timeout={timeout:g}",
        fix="give it more time: compile(..., timeout=7200), or None for no limit",
    )


def explain(result: ToolResult, name: str | None, module: Any) -> CompileError:
    """Return the error of a compiler that ended with a failure."""
    diagnostics = parse(result.stderr)
    if result.signal_name is not None:
        return _crashed(result, name, diagnostics)
    mistake = _OPTION_MISTAKE.search(result.stderr)
    if mistake is not None and first_error(diagnostics) is None:
        return _bad_option(mistake, result.stderr)
    error = first_error(diagnostics)
    location = first_location(diagnostics)
    if error is not None and error.message.startswith(_NO_LOWERING):
        operator = error.message.removeprefix(_NO_LOWERING)
        return _unsupported(operator, name, diagnostics, location)
    what = error.message if error is not None else _last_words(result)
    return CompileError(
        f"the compiler refused the module: {what}",
        where=name,
        location=location,
        diagnostics=diagnostics,
        got=_source(location),
    )


def _crashed(
    result: ToolResult, name: str | None, diagnostics: tuple[Diagnostic, ...]
) -> CompileError:
    location = first_location(diagnostics)
    return CompileError(
        f"the compiler crashed ({result.signal_name})",
        where=name,
        location=location,
        diagnostics=diagnostics,
        stage="crash",
        got=_source(location) or _last_words(result),
        fix="leave out half of the model to find the operation; other flags may avoid it",
    )


def _bad_option(mistake: re.Match[str], stderr: str) -> CompileError:
    suggestion = _SUGGESTION.search(stderr)
    what = mistake["what"]
    if mistake["unknown"]:
        what = f"it knows no option {mistake['unknown']!r}"
    return CompileError(
        f"the compiler refused an option: {what}",
        stage="options",
        expected="options that `iree-compile --help` lists",
        fix=f"did you mean {suggestion['option']!r}?" if suggestion else None,
    )


def _unsupported(
    operator: str,
    name: str | None,
    diagnostics: tuple[Diagnostic, ...],
    location: SourceLocation | None,
) -> CompileError:
    return CompileError(
        f"the compiler does not support the operator {operator}",
        where=name,
        location=location,
        diagnostics=diagnostics,
        got=_source(location),
        expected="operators that IREE's torch pipeline lowers, after decomposition",
        fix="write it with other operators, or give a decomposition_table that replaces it",
    )


def _source(location: SourceLocation | None) -> str | None:
    return (location.source_line() or None) if location is not None else None


def _last_words(result: ToolResult) -> str:
    """Return the first line that says something, or how the compiler ended."""
    for line in result.stderr.splitlines():
        text = line.strip()
        if text and not text.startswith(("PLEASE", "Please", "Stack dump", "WARNING", "#")):
            return text[:400]
    return f"it ended with status {result.status} and said nothing"
