# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arithmetic on the numbers of a procedure: Python's promotion, recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shark_turbine.errors import TracingError

from ..steps import Check, ScalarValue
from ..types import (
    AbstractBool,
    AbstractF64,
    AbstractI64,
    AbstractIndex,
    AbstractScalar,
)
from .values import ScalarProxy

if TYPE_CHECKING:
    from .procedure import ProcedureRecorder

_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_DIVISIONS = ("//", "%")
_BITWISE = ("&", "|", "^")
ORDER = ("bool", "i32", "i64", "index", "f32", "f64")


def record_operation(
    recorder: ProcedureRecorder, operator: str, operands: Sequence[Any]
) -> ScalarProxy:
    """Record an operation on scalars and Python numbers.

    Both sides take the wider type; a Python number takes the type of the other side, and an int
    with a Python float becomes f64, as `/` does. `//` and `%` of integers round down, and refuse a
    zero divisor when they run.

    Raises:
        TracingError: an operand is no number, or a float is used with `//` or `%`.
    """
    recorder.owned(list(operands))
    if operator == "abs":
        return _record_absolute(recorder, operands[0])
    for operand in operands:
        if not isinstance(operand, (ScalarProxy, bool, int, float)):
            raise TracingError(
                f"operator {operator} takes numbers",
                where=recorder.where,
                location=recorder.user_location(),
                got=repr(operand),
                expected="scalars of the procedure and Python numbers",
                fix="compute with tensors in an aot.jittable",
            )
    if operator in _BITWISE:
        _check_bitwise(recorder, operator, operands)
    common = _common_type(recorder, operator, operands)
    left, right = (_cast(recorder, operand, common) for operand in operands)
    if operator in _DIVISIONS and not _is_nonzero(operands[1]):
        message = f"{recorder.spec.name}: division by zero in {left._name} {operator} {right._name}"
        recorder.steps.append(Check(ScalarValue(right.value), "!=", 0, message))
    result = AbstractBool if operator in _COMPARISONS else common
    return recorder.append_operation(operator, (left, right), result)


def _is_nonzero(divisor: Any) -> bool:
    return not isinstance(divisor, ScalarProxy) and divisor != 0


def _common_type(
    recorder: ProcedureRecorder, operator: str, operands: Sequence[Any]
) -> AbstractScalar:
    declared = [operand.type for operand in operands if isinstance(operand, ScalarProxy)]
    common = max(declared, key=lambda kind: ORDER.index(kind.name))
    has_float = any(isinstance(operand, float) for operand in operands)
    if (has_float or operator == "/") and not common.is_float:
        common = AbstractF64
    if operator in _COMPARISONS:
        return common
    if common == AbstractBool and operator in _BITWISE:
        has_number = any(type(operand) is int for operand in operands)
        return AbstractI64 if has_number else common
    if common == AbstractBool:
        common = AbstractI64
    if operator in _DIVISIONS and common.is_float:
        raise TracingError(
            f"operator {operator} on floats is not recorded",
            where=recorder.where,
            location=recorder.user_location(),
            got=", ".join(repr(operand) for operand in operands),
            expected="integers, or the operator /",
            fix="use torch.div(..., rounding_mode='floor') in an aot.jittable",
        )
    return common


def _cast(recorder: ProcedureRecorder, operand: Any, common: AbstractScalar) -> ScalarProxy:
    if not isinstance(operand, ScalarProxy):
        value = float(operand) if common.is_float else int(operand)
        if common == AbstractBool:
            value = bool(operand)
        if common in (AbstractIndex, AbstractI64) or common.is_float or common == AbstractBool:
            return recorder.constant(value, common)
        if not -(2**31) <= value < 2**31:
            raise TracingError(
                "this number does not fit into the other side's type",
                where=recorder.where,
                location=recorder.user_location(),
                got=repr(operand),
                expected=f"an {common.name}",
                fix="declare the other side as aot.AbstractI64",
            )
        return recorder.constant(value, common)
    if operand.type == common:
        return operand
    return recorder.append_operation("cast", (operand,), common)


def adapted(
    recorder: ProcedureRecorder, value: Any, kind: AbstractScalar, what: str
) -> ScalarProxy:
    """Return a number as a scalar of a given type: whole numbers and floats may be widened.

    Whole numbers of type index and i64 pass for each other.

    Raises:
        TracingError: it is no number, or not one that the type holds.
    """
    if isinstance(value, ScalarProxy):
        recorder.owned([value])
        is_wider = (value.type.name, kind.name) in _WIDENED
        if value.type == kind or is_wider:
            return _cast(recorder, value, kind)
    elif isinstance(value, bool):
        if kind == AbstractBool:
            return recorder.constant(value, kind)
    elif isinstance(value, int) and (kind.is_integer or kind.is_float):
        return _cast(recorder, value, kind)
    elif isinstance(value, float) and kind.is_float:
        return recorder.constant(value, kind)
    is_traced = isinstance(value, ScalarProxy)
    raise TracingError(
        f"{what} is no number of type {kind}",
        where=recorder.where,
        location=recorder.user_location(),
        got=f"{value._name}: {value.type}" if is_traced else repr(value),
        expected=f"a scalar of type {kind}, or a Python number that is one",
        fix=f"declare the value as aot.{kind!r}" if is_traced else f"pass a number of type {kind}",
    )


_WIDENED = {
    ("i32", "i64"),
    ("i32", "index"),
    ("i64", "index"),
    ("index", "i64"),
    ("f32", "f64"),
}


def _record_absolute(recorder: ProcedureRecorder, operand: ScalarProxy) -> ScalarProxy:
    if operand.type == AbstractBool:
        operand = _cast(recorder, operand, AbstractI64)
    return recorder.append_operation("abs", (operand,), operand.type)


def _check_bitwise(recorder: ProcedureRecorder, operator: str, operands: Sequence[Any]) -> None:
    for operand in operands:
        is_float = isinstance(operand, ScalarProxy) and operand.type.is_float
        if is_float or isinstance(operand, float):
            raise TracingError(
                f"operator {operator} combines bools, or the bits of whole numbers",
                where=recorder.where,
                location=recorder.user_location(),
                got=", ".join(repr(operand) for operand in operands),
                expected="bools or whole numbers",
                fix="compare the numbers first: (a < 1) & (b < 1)",
            )
