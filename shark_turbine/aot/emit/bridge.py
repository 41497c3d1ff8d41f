# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The bridge between builtin values (procedures) and torch values (jit functions)."""

from __future__ import annotations

from typing import Any

from shark_turbine import ir

from ..types import AbstractI64, AbstractScalar, ValueType
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
        value = _convert("tensor.from_elements", target, value)
    elif value.type != target:
        value = ir.tensor.CastOp(target, value).result
    return _convert("torch_c.from_builtin_tensor", torch_type, value)


def from_torch(value: Any, kind: ValueType, context: Any) -> Any:
    """Convert a result of a jit function to a builtin value."""
    target = builtin_type(kind, context)
    if isinstance(kind, AbstractScalar):
        return _convert(_TO_BUILTIN[kind.name], target, value)
    return _convert("torch_c.to_builtin_tensor", target, value)


def _convert(operation: str, target: Any, value: Any) -> Any:
    return ir.Operation.create(operation, results=[target], operands=[value]).result
