# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arithmetic on symbolic sizes: Python's operators on ints, floats and bools, in the torch dialect.

Each function takes and gives `!torch.int`, `!torch.float` or `!torch.bool` values and writes at the
insertion point. Integer division and remainder follow Python: they round down.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch

from shark_turbine import ir

INT, FLOAT, BOOL = "!torch.int", "!torch.float", "!torch.bool"


def emit(name: str, result: str, *operands: Any) -> Any:
    """Write one operation with one result."""
    operation = ir.Operation.create(
        name,
        results=[ir.Type.parse(result, operands[0].context)],
        operands=list(operands),
    )
    return operation.result


def convert(value: Any, wanted: Any) -> Any:
    """Convert a scalar to a scalar type, as Python's `int()`, `float()` and `bool()` would."""
    have, want = str(value.type), str(wanted)
    if have == want:
        return value
    match (have, want):
        case ("!torch.int", "!torch.float"):
            return emit("torch.aten.Float.Scalar", FLOAT, value)
        case ("!torch.float", "!torch.int"):
            return emit("torch.aten.Int.float", INT, value)
        case ("!torch.bool", "!torch.int"):
            return emit("torch.aten.Int.bool", INT, value)
        case ("!torch.bool", "!torch.float"):
            return emit("torch.aten.Float.Scalar", FLOAT, emit("torch.aten.Int.bool", INT, value))
        case ("!torch.int", "!torch.bool"):
            return emit("torch.aten.ne.int", BOOL, value, _int(value, 0))
        case _:
            raise NotImplementedError(f"no conversion from {have} to {want}")


def _int(like: Any, value: int) -> Any:
    attribute = ir.IntegerAttr.get(ir.IntegerType.get_signless(64, like.context), value)
    operation = ir.Operation.create(
        "torch.constant.int",
        results=[ir.Type.parse(INT, like.context)],
        attributes={"value": attribute},
    )
    return operation.result


def _is_float(*values: Any) -> bool:
    return any(str(value.type) == FLOAT for value in values)


def _as(kind: str, value: Any) -> Any:
    return convert(value, ir.Type.parse(kind, value.context))


def _arithmetic(name: str) -> Callable[[Any, Any], Any]:
    def write(left: Any, right: Any) -> Any:
        if not _is_float(left, right):
            return emit(f"torch.aten.{name}.int", INT, _as(INT, left), _as(INT, right))
        left, right = _as(FLOAT, left), _as(FLOAT, right)
        if name == "add":
            return emit("torch.aten.add.float_int", FLOAT, left, right)
        return emit(f"torch.aten.{name}.float", FLOAT, left, right)

    return write


def _comparison(name: str) -> Callable[[Any, Any], Any]:
    def write(left: Any, right: Any) -> Any:
        if not _is_float(left, right):
            return emit(f"torch.aten.{name}.int", BOOL, _as(INT, left), _as(INT, right))
        return emit(f"torch.aten.{name}.float", BOOL, _as(FLOAT, left), _as(FLOAT, right))

    return write


def _true_division(left: Any, right: Any) -> Any:
    return emit("torch.aten.div.float", FLOAT, _as(FLOAT, left), _as(FLOAT, right))


def _floor_division(left: Any, right: Any) -> Any:
    return emit("torch.aten.floordiv.int", INT, _as(INT, left), _as(INT, right))


def _remainder(left: Any, right: Any) -> Any:
    # Python's: left - floor(left / right) * right.
    left, right = _as(INT, left), _as(INT, right)
    whole = emit("torch.aten.mul.int", INT, _floor_division(left, right), right)
    return emit("torch.aten.sub.int", INT, left, whole)


def _extremum(name: str) -> Callable[..., Any]:
    def write(*values: Any) -> Any:
        result = values[0]
        for value in values[1:]:
            if _is_float(result, value):
                raise NotImplementedError(f"{name} of symbolic floats")
            result = emit(f"torch.prim.{name}.int", INT, _as(INT, result), _as(INT, value))
        return result

    return write


def _sum(*values: Any) -> Any:
    result = values[0]
    for value in values[1:]:
        result = OPERATIONS[operator.add](result, value)
    return result


def _negation(value: Any) -> Any:
    if _is_float(value):
        return emit("torch.aten.neg.float", FLOAT, value)
    return emit("torch.aten.neg.int", INT, _as(INT, value))


def _not(value: Any) -> Any:
    return emit("torch.aten.__not__", BOOL, _as(BOOL, value))


def _both(left: Any, right: Any) -> Any:
    return _if_else(_as(BOOL, left), _as(BOOL, right), _as(BOOL, left))


def _either(left: Any, right: Any) -> Any:
    return _if_else(_as(BOOL, left), _as(BOOL, left), _as(BOOL, right))


def _if_else(condition: Any, on_true: Any, on_false: Any) -> Any:
    kind = FLOAT if _is_float(on_true, on_false) else str(on_true.type)
    branch = ir.Operation.create(
        "torch.prim.If",
        results=[ir.Type.parse(kind, condition.context)],
        operands=[_as(BOOL, condition)],
        regions=2,
    )
    for region, value in zip(branch.regions, (on_true, on_false), strict=True):
        with ir.InsertionPoint(ir.Block.create_at_start(region, [])):
            ir.Operation.create("torch.prim.If.yield", operands=[_as(kind, value)])
    return branch.result


def _absolute(value: Any) -> Any:
    if _is_float(value):
        raise NotImplementedError("abs of a symbolic float")
    return emit("torch.prim.max.int", INT, value, _negation(value))


def _ceiling(value: Any) -> Any:
    return emit("torch.aten.ceil.float", INT, value) if _is_float(value) else value


def _floor(value: Any) -> Any:
    if not _is_float(value):
        return value
    return _negation(emit("torch.aten.ceil.float", INT, _negation(value)))


def _truncate(value: Any) -> Any:
    if _is_float(value):
        raise NotImplementedError("a symbolic float made a whole number")
    return value


def _square_root(value: Any) -> Any:
    """Take the root of a size, also of one that was made a float for it."""
    if _is_float(value) and getattr(value.owner, "name", None) == "torch.aten.Float.Scalar":
        value = value.owner.operands[0]
    if _is_float(value):
        raise NotImplementedError("the square root of a symbolic float")
    return emit("torch.aten.sqrt.int", FLOAT, _as(INT, value))


def _power(base: Any, exponent: Any) -> Any:
    """Raise to a constant whole power, or to 0.5; the compiler has no other power of sizes."""
    if exponent == 0.5:
        return _square_root(base)
    if not isinstance(exponent, int) or not 0 <= exponent <= 16:
        raise NotImplementedError(f"{exponent} as the exponent of a symbolic size")
    result = base if exponent else _int(base, 1)
    for _ in range(exponent - 1):
        result = OPERATIONS[operator.mul](result, base)
    return result


# Operations whose second argument must be a Python number.
BY_CONSTANT = {operator.pow}

OPERATIONS: dict[Any, Callable[..., Any]] = {
    operator.add: _arithmetic("add"),
    operator.sub: _arithmetic("sub"),
    operator.mul: _arithmetic("mul"),
    operator.truediv: _true_division,
    operator.floordiv: _floor_division,
    operator.mod: _remainder,
    operator.pow: _power,
    operator.neg: _negation,
    operator.pos: lambda value: value,
    operator.abs: _absolute,
    abs: _absolute,
    operator.eq: _comparison("eq"),
    operator.ne: _comparison("ne"),
    operator.lt: _comparison("lt"),
    operator.le: _comparison("le"),
    operator.gt: _comparison("gt"),
    operator.ge: _comparison("ge"),
    operator.and_: _both,
    operator.or_: _either,
    operator.not_: _not,
    torch.sym_not: _not,
    torch.sym_max: _extremum("max"),
    torch.sym_min: _extremum("min"),
    max: _extremum("max"),
    min: _extremum("min"),
    torch.sym_float: lambda value: _as(FLOAT, value),
    torch.sym_int: _truncate,
    torch.sym_ite: _if_else,
    torch.sym_sum: _sum,
    torch._sym_sqrt: _square_root,  # pyright: ignore[reportAttributeAccessIssue]
    math.ceil: _ceiling,
    math.floor: _floor,
    math.trunc: _truncate,
    math.sqrt: _square_root,
    round: _truncate,
}
