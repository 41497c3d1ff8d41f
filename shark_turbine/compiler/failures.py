# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A compiler that did not succeed, told in the user's words."""

from __future__ import annotations

import re
from typing import Any

from shark_turbine.errors import CompileError, Diagnostic, SourceLocation

from .diagnostics import first_error, first_location, parse
from .probing import crashing_operation, refused_complex_operator, unsupported_operators
from .tools import ToolResult

_NO_LOWERING = "the compiler has no lowering for "
_OPTION_MISTAKE = re.compile(
    r"iree-compile(?:: |\S*: )(?P<what>Unknown command line argument '(?P<unknown>[^']*)'|for the .*)"
)
_MISSING_FUNCTION = re.compile(r"undefined symbol: (?P<symbol>\w+)")
_STACK = re.compile(r"exceeded stack allocation limit[^\n]*")
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
    """Return the error of a compiler that ended with a failure.

    Every operator to blame is looked for in `module`; None leaves it at what the compiler said.
    """
    diagnostics = parse(result.stderr)
    if result.signal_name is not None:
        return _crashed(result, name, module, diagnostics)
    mistake = _OPTION_MISTAKE.search(result.stderr)
    if mistake is not None and first_error(diagnostics) is None:
        return _bad_option(mistake, result.stderr)
    error = first_error(diagnostics)
    location = first_location(diagnostics)
    if error is not None and error.message.startswith(_NO_LOWERING):
        operator = error.message.removeprefix(_NO_LOWERING)
        return _unsupported(operator, name, module, diagnostics)
    if "does not contain a vm.module op" in result.stderr:
        return _nothing_to_compile(name)
    missing = _MISSING_FUNCTION.search(result.stderr)
    if missing is not None:
        return _no_function(missing["symbol"], name, diagnostics)
    stack = _STACK.search(result.stderr)
    if stack is not None:
        return _too_much_stack(stack[0], name, diagnostics)
    of_complex = None if module is None else refused_complex_operator(module)
    if of_complex is not None:
        return _not_of_complex(of_complex, name, diagnostics)
    what = error.message if error is not None else _last_words(result)
    return CompileError(
        f"the compiler refused the module: {what}",
        where=name,
        location=location,
        diagnostics=diagnostics,
        got=_source(location),
    )


def _crashed(
    result: ToolResult, name: str | None, module: Any, diagnostics: tuple[Diagnostic, ...]
) -> CompileError:
    """Name the operation and line that the compiler died of, as far as they can be found."""
    operation = None if module is None else crashing_operation(module)
    error = first_error(diagnostics)
    location = first_location((*diagnostics, *((operation,) if operation is not None else ())))
    cause, fix = "", "compile the model in halves to find the operation that it dies of"
    if operation is not None:
        cause, fix = f" on {operation.message}", "write that operation another way"
    said = error.message if error is not None else _last_words(result)
    return CompileError(
        f"the compiler crashed ({result.signal_name}){cause}",
        where=name,
        location=location,
        diagnostics=diagnostics,
        stage="crash",
        got=_source(location) or said,
        fix=fix,
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
    operator: str, name: str | None, module: Any, diagnostics: tuple[Diagnostic, ...]
) -> CompileError:
    """Name every operator without a lowering: the compiler itself stops at the first."""
    found = {item.message: item for item in diagnostics if item.message.startswith(_NO_LOWERING)}
    for item in () if module is None else unsupported_operators(module):
        found.setdefault(item.message, item)
    names = [message.removeprefix(_NO_LOWERING) for message in found]
    location = first_location(found.values())
    what = f"the compiler does not support the operator {operator}"
    if len(names) > 1:
        what = f"the compiler does not support {len(names)} operators: {', '.join(names)}"
    return CompileError(
        what,
        where=name,
        location=location,
        diagnostics=(*diagnostics, *(item for item in found.values() if item not in diagnostics)),
        got="\n".join(_described(item) for item in found.values()) or None,
        expected="operators that IREE's torch pipeline lowers, after decomposition",
        fix="write it with other operators, or give a decomposition_table that replaces it",
    )


def _not_of_complex(
    operator: Diagnostic, name: str | None, diagnostics: tuple[Diagnostic, ...]
) -> CompileError:
    return CompileError(
        f"the compiler does not support the operator {operator.message} of complex numbers",
        where=name,
        location=operator.location,
        diagnostics=diagnostics,
        got=_source(operator.location),
        expected="the operators of complex numbers that docs/op-support.md lists",
        fix="compute with the parts: x.real, x.imag, and torch.complex(real, imaginary)",
    )


def _described(item: Diagnostic) -> str:
    operator = item.message.removeprefix(_NO_LOWERING)
    if item.location is None:
        return operator
    return f"{operator}  {item.location}  {item.location.source_line()}".rstrip()


def _nothing_to_compile(name: str | None) -> CompileError:
    return CompileError(
        "the module has no public function: there is nothing to compile",
        where=name,
        expected="at least one exported function",
        fix="define a method that does something, with a name that does not start with _",
    )


def _no_function(
    symbol: str, name: str | None, diagnostics: tuple[Diagnostic, ...]
) -> CompileError:
    location = first_location(diagnostics)
    return CompileError(
        f"the target has no function {symbol} for this dtype",
        where=name,
        location=location,
        diagnostics=diagnostics,
        got=_source(location),
        expected="float64 only in arithmetic, comparison and sqrt: the CPU code links no libm",
        fix="compute it in float32 and widen the result: torch.cos(x.float()).double()",
    )


def _too_much_stack(
    words: str, name: str | None, diagnostics: tuple[Diagnostic, ...]
) -> CompileError:
    location = first_location(diagnostics)
    return CompileError(
        f"a piece of the generated code needs too much stack: {words}",
        where=name,
        location=location,
        diagnostics=diagnostics,
        got=_source(location),
        expected="at most 64 KiB, half the stack of a worker thread of IREE's runtime",
        fix="compile with a lower --iree-opt-level, or raise "
        "--iree-llvmcpu-stack-allocation-limit and run it on the local-sync device",
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
