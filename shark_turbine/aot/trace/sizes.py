# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sizes of an exported program's inputs: where each symbol is measured, and what must hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sympy

from shark_turbine.errors import DimensionError

from ..steps import Arithmetic, Check, SizeExpression


@dataclass(frozen=True, slots=True)
class Measured:
    """One size of an input: torch's expression for it, where it is, what the user calls it."""

    expression: sympy.Expr
    source: SizeExpression
    label: str


def input_checks(
    function: str,
    sizes: list[Measured],
    ranges: Mapping[Any, Any],
    names: Mapping[str, str],
) -> list[Check]:
    """Return the checks that hold a program's inputs to what it was exported for.

    Sizes that share a symbol must be equal, a size that is an expression (`2*n`, `n + 1`) must be
    what the expression gives, and each symbol must lie in its range. `names` says what the user calls
    a symbol.

    Raises:
        DimensionError: a size is an expression that no size of the inputs determines.
    """
    symbols: dict[sympy.Symbol, Measured] = {}
    checks: list[Check] = []
    for size in sizes:
        if isinstance(size.expression, sympy.Symbol):
            symbols.setdefault(size.expression, size)
    for size in sizes:
        if not isinstance(size.expression, sympy.Symbol):
            checks.extend(_solve(function, size, symbols))
    for size in sizes:
        checks.extend(_agreement(function, size, symbols, names))
    for symbol, size in symbols.items():
        checks.extend(_range_checks(function, size, ranges.get(symbol)))
    return checks


def _solve(function: str, size: Measured, symbols: dict[sympy.Symbol, Measured]) -> Iterator[Check]:
    """Determine the one unknown symbol of `a*symbol + b`."""
    unknown = [symbol for symbol in size.expression.free_symbols if symbol not in symbols]
    if not unknown:
        return
    factor = size.expression.coeff(unknown[0], 1)
    rest = sympy.expand(size.expression - factor * unknown[0])
    if len(unknown) > 1 or not factor.is_Integer or not rest.is_Integer:
        raise DimensionError(
            f"{size.label} is {size.expression}, which the inputs do not determine",
            where=function,
            got=str(size.expression),
            expected="a multiple of one dim, plus a number",
            fix="name the dim itself in dynamic_shapes",
        )
    shifted = _plus(size.source, -int(rest))
    label = f"{size.label} ({size.expression})"
    if factor != 1:
        message = (
            f"{function}: {size.label} must be {_readable(size.expression)} for a whole number"
        )
        yield Check(Arithmetic("%", shifted, int(factor)), "==", 0, message)
        shifted = Arithmetic("//", shifted, int(factor))
    symbols[unknown[0]] = Measured(unknown[0], shifted, label)


def _agreement(
    function: str,
    size: Measured,
    symbols: Mapping[sympy.Symbol, Measured],
    names: Mapping[str, str],
) -> Iterator[Check]:
    """Check a size against where its symbols are measured."""
    expression = size.expression
    if isinstance(expression, sympy.Symbol):
        reference = symbols[expression]
        if reference.source != size.source:
            message = f"{function}: {reference.label} must equal {size.label}"
            if str(expression) in names:
                message += f" (both are '{names[str(expression)]}')"
            yield Check(reference.source, "==", size.source, message)
        return
    expected = to_size_expression(expression, {s: m.source for s, m in symbols.items()})
    labels = {s: sympy.Symbol(m.label.split(" (")[0]) for s, m in symbols.items()}
    if len(expression.free_symbols) == 1 and all(
        m.label.startswith(size.label) for s, m in symbols.items() if s in expression.free_symbols
    ):
        return
    message = f"{function}: {size.label} must equal {expression.subs(labels)}"
    yield Check(size.source, "==", expected, message)


def _range_checks(function: str, size: Measured, bounds: Any) -> Iterator[Check]:
    if bounds is None:
        return
    low = int(bounds.lower) if bounds.lower.is_Integer else None
    if low == 0 and ".shape[" in size.label:
        low = None
    high = int(bounds.upper) if bounds.upper.is_Integer and bounds.upper < 2**62 else None
    if low is not None and high is not None:
        text = f"must be {low}" if low == high else f"must be {low} to {high}"
    else:
        text = f"must be >= {low}" if high is None else f"must be <= {high}"
    message = f"{function}: {size.label} {text}"
    if low is not None:
        yield Check(size.source, ">=", low, message)
    if high is not None:
        yield Check(size.source, "<=", high, message)


def to_size_expression(
    expression: sympy.Expr, sources: Mapping[sympy.Symbol, SizeExpression]
) -> SizeExpression:
    """Translate torch's expression for a size.

    Raises:
        DimensionError: it contains an operation on sizes that cannot be checked.
    """
    if expression.is_Integer:
        return int(expression)
    if isinstance(expression, sympy.Symbol):
        return sources[expression]
    operands = [to_size_expression(operand, sources) for operand in expression.args]
    operator = {
        "Add": "+",
        "Mul": "*",
        "FloorDiv": "//",
        "CleanDiv": "//",
        "Mod": "%",
        "PythonMod": "%",
    }.get(type(expression).__name__)
    if operator is None:
        raise DimensionError(
            "a size of the program's inputs cannot be checked when it runs",
            got=str(expression),
            expected="sums, products, whole quotients and remainders of dims",
        )
    result = operands[0]
    for operand in operands[1:]:
        result = Arithmetic(operator, result, operand)  # type: ignore[arg-type]
    return result


def _plus(source: SizeExpression, number: int) -> SizeExpression:
    if number == 0:
        return source
    return Arithmetic("+", source, number) if number > 0 else Arithmetic("-", source, -number)


def _readable(expression: sympy.Expr) -> str:
    symbols = sorted(expression.free_symbols, key=str)
    return str(expression.subs(dict(zip(symbols, sympy.symbols("n m k"), strict=False))))
