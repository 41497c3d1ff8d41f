# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Numbers in procedures: the `arith` operations of scalar steps."""

from __future__ import annotations

from typing import Any

from shark_turbine import ir

from ..types import AbstractF32, AbstractI32, AbstractI64, AbstractScalar
from .types import scalar_type

_INTEGER = {"+": "arith.addi", "-": "arith.subi", "*": "arith.muli", "//": "arith.floordivsi"}
_BITWISE = {"&": "arith.andi", "|": "arith.ori", "^": "arith.xori"}
_FLOAT = {"+": "arith.addf", "-": "arith.subf", "*": "arith.mulf", "/": "arith.divf"}
# Predicates of arith.cmpi (signed) and arith.cmpf (ordered; != is unordered, as in Python).
_COMPARE_INTEGER = {"==": 0, "!=": 1, "<": 2, "<=": 3, ">": 4, ">=": 5}
_COMPARE_FLOAT = {"==": 1, ">": 2, ">=": 3, "<": 4, "<=": 5, "!=": 13}


def emit_constant(value: bool | int | float, declared: AbstractScalar, context: Any) -> Any:
    """Write a constant number."""
    kind = scalar_type(declared, context)
    if declared.is_float:
        attribute = ir.FloatAttr.get(kind, float(value))
    else:
        attribute = ir.IntegerAttr.get(kind, int(value))
    return _create("arith.constant", kind, (), {"value": attribute})


def emit_operation(
    operator: str, operands: list[Any], kind: AbstractScalar, result: AbstractScalar, context: Any
) -> Any:
    """Write an operation on operands that are all of type `kind`."""
    if operator == "cast":
        return emit_cast(operands[0], kind, result, context)
    if operator in _COMPARE_INTEGER:
        return emit_comparison(operator, operands[0], operands[1], kind, context)
    value_type = scalar_type(kind, context)
    if operator == "%":
        return _emit_modulo(operands[0], operands[1], value_type)
    if operator == "abs":
        return _emit_absolute(operands[0], kind, context)
    names = _FLOAT if kind.is_float else {**_INTEGER, **_BITWISE}
    return _create(names[operator], value_type, operands)


def emit_comparison(
    operator: str, left: Any, right: Any, kind: AbstractScalar, context: Any
) -> Any:
    """Write a comparison of two numbers of type `kind`; gives an `i1`."""
    if kind.is_float and operator in ("==", "!=", "<=", ">=") and left == right:
        return _emit_self_comparison(operator, left, kind, context)
    if kind.is_float and operator == ">=":
        # IREE's VM says that NaN >= x; it knows better of <=.
        return emit_comparison("<=", right, left, kind, context)
    flag = ir.IntegerType.get_signless(1, context)
    table, name = (
        (_COMPARE_FLOAT, "arith.cmpf") if kind.is_float else (_COMPARE_INTEGER, "arith.cmpi")
    )
    predicate = _predicate(table[operator], context)
    if kind.name == "bool" and operator not in ("==", "!="):
        # An i1 that is 1 would compare as -1.
        predicate = _predicate(table[operator] + 4, context)
    return _create(name, flag, (left, right), {"predicate": predicate})


def _emit_self_comparison(operator: str, value: Any, kind: AbstractScalar, context: Any) -> Any:
    """Write `x == x`, false for NaN alone: IREE folds it to true where it is written so."""
    zero = emit_constant(0.0, kind, context)
    below = emit_comparison("<", value, zero, kind, context)
    above = emit_comparison(">=", value, zero, kind, context)
    flag = ir.IntegerType.get_signless(1, context)
    is_number = _create("arith.ori", flag, (below, above))
    if operator != "!=":
        return is_number
    return _create("arith.cmpi", flag, (below, above), {"predicate": _predicate(0, context)})


def _predicate(number: int, context: Any) -> Any:
    return ir.IntegerAttr.get(ir.IntegerType.get_signless(64, context), number)


def emit_cast(value: Any, source: AbstractScalar, target: AbstractScalar, context: Any) -> Any:
    """Write a widening conversion of a number."""
    if source == target:
        return value
    if target.is_float and not source.is_float:
        return _emit_to_float(value, source, target, context)
    is_index = "index" in (source.name, target.name)
    if source.name == "bool":
        name = "arith.index_castui" if is_index else "arith.extui"
    elif is_index:
        name = "arith.index_cast"
    else:
        name = "arith.extf" if source.is_float else "arith.extsi"
    return _create(name, scalar_type(target, context), (value,))


def _emit_to_float(value: Any, source: AbstractScalar, target: AbstractScalar, context: Any) -> Any:
    """Write an integer as a float.

    IREE's VM has no conversion from i32 to f64, and MLIR folds the widening that would avoid it; so
    an i32 goes as two halves, each exact in f32.
    """
    if source.name == "index":
        value = emit_cast(value, source, AbstractI64, context)
    if target.name == "f32" or source.name in ("i64", "index"):
        name = "arith.uitofp" if source.name == "bool" else "arith.sitofp"
        return _create(name, scalar_type(target, context), (value,))
    if source.name == "bool":
        small = _emit_to_float(value, source, AbstractF32, context)
        return emit_cast(small, AbstractF32, target, context)
    kind = scalar_type(AbstractI32, context)
    high = _create("arith.shrsi", kind, (value, emit_constant(16, AbstractI32, context)))
    low = _create("arith.andi", kind, (value, emit_constant(0xFFFF, AbstractI32, context)))
    halves = [
        emit_cast(
            _emit_to_float(half, AbstractI32, AbstractF32, context), AbstractF32, target, context
        )
        for half in (high, low)
    ]
    scale = emit_constant(65536.0, target, context)
    scaled = _create("arith.mulf", scalar_type(target, context), (halves[0], scale))
    return _create("arith.addf", scalar_type(target, context), (scaled, halves[1]))


def _emit_absolute(value: Any, kind: AbstractScalar, context: Any) -> Any:
    """Write the distance from zero; a comparison and a choice are what IREE's VM has for all types."""
    kind_type = scalar_type(kind, context)
    if kind.is_float:
        return _create("math.absf", kind_type, (value,))
    zero = emit_constant(0, kind, context)
    negated = _create("arith.subi", kind_type, (zero, value))
    is_negative = emit_comparison("<", value, zero, kind, context)
    return _create("arith.select", kind_type, (is_negative, negated, value))


def _emit_modulo(left: Any, right: Any, value_type: Any) -> Any:
    """Write Python's remainder: it has the sign of the divisor."""
    quotient = _create("arith.floordivsi", value_type, (left, right))
    product = _create("arith.muli", value_type, (quotient, right))
    return _create("arith.subi", value_type, (left, product))


def _create(name: str, result: Any, operands: Any, attributes: dict[str, Any] | None = None) -> Any:
    return ir.Operation.create(
        name, results=[result], operands=list(operands), attributes=attributes or {}
    ).result
