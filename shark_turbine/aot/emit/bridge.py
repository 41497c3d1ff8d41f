# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The bridge between builtin values (procedures) and torch values (jit functions)."""

from __future__ import annotations

from typing import Any

import torch

from shark_turbine import ir

from ..types import AbstractI32, AbstractI64, AbstractScalar, TensorType, ValueType
from .scalars import emit_cast
from .types import builtin_type

_FROM_BUILTIN = {"i64": "torch_c.from_i64", "f64": "torch_c.from_f64", "bool": "torch_c.from_i1"}
_TO_BUILTIN = {"i64": "torch_c.to_i64", "f64": "torch_c.to_f64", "bool": "torch_c.to_i1"}


def to_torch(
    value: Any, given: ValueType, parameter: ValueType, torch_type: Any, context: Any
) -> Any:
    """Convert a value of a procedure to what a jit function takes.

    A number is passed as a tensor of no dims where the function has a tensor parameter, and as
    `!torch.int`, `!torch.float` or `!torch.bool` where it has a symbolic one.
    """
    if isinstance(parameter, AbstractScalar):
        wide = AbstractI64 if parameter.is_integer else parameter
        if isinstance(given, AbstractScalar):
            value = emit_cast(value, given, wide, context)
        return _convert(_FROM_BUILTIN[wide.name], torch_type, value)
    target = builtin_type(parameter, context)
    if isinstance(given, AbstractScalar):
        value = _to_tensor(value, given, target, context)
    elif value.type != target:
        # IREE would check the size itself, before our own check and in its own words.
        hidden = _convert("util.optimization_barrier", value.type, value)
        value = ir.tensor.CastOp(target, hidden).result
    return _convert("torch_c.from_builtin_tensor", torch_type, value)


def from_torch(value: Any, kind: ValueType, context: Any) -> Any:
    """Convert a result of a jit function to a builtin value."""
    target = builtin_type(kind, context)
    if isinstance(kind, AbstractScalar):
        return _convert(_TO_BUILTIN[kind.name], target, value)
    return _convert("torch_c.to_builtin_tensor", target, value)


def _to_tensor(value: Any, given: AbstractScalar, target: Any, context: Any) -> Any:
    """Make a tensor of no dims of a number; IREE cannot make one of an `i1` that is an argument."""
    if given.name != "bool":
        return _convert("tensor.from_elements", target, value)
    wide = emit_cast(value, given, AbstractI32, context)
    elements = builtin_type(TensorType(torch.int32, ()), context)
    number = _convert("tensor.from_elements", elements, wide)
    zero = ir.Attribute.parse("dense<0> : tensor<i32>", context)
    not_equal = ir.IntegerAttr.get(ir.IntegerType.get_signless(64, context), 1)
    return ir.Operation.create(
        "arith.cmpi",
        results=[target],
        operands=[number, ir.arith.ConstantOp(elements, zero).result],
        attributes={"predicate": not_equal},
    ).result


def _convert(operation: str, target: Any, value: Any) -> Any:
    return ir.Operation.create(operation, results=[target], operands=[value]).result
