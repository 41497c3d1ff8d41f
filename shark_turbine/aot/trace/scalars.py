# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arithmetic on the numbers of a procedure: Python's promotion, recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shark_turbine.errors import TracingError

from ..program import Check, ScalarValue
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
_ORDER = ("bool", "i32", "i64", "index", "f32", "f64")


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
    common = max(declared, key=lambda kind: _ORDER.index(kind.name))
    has_float = any(isinstance(operand, float) for operand in operands)
    if (has_float or operator == "/") and not common.is_float:
        common = AbstractF64
    if operator in _COMPARISONS:
        return common
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
