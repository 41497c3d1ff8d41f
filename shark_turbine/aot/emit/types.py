# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""MLIR types of traced values."""

from __future__ import annotations

from typing import Any

from shark_turbine import dtypes, ir

from ..types import AbstractScalar, TensorType, ValueType


def scalar_type(declared: AbstractScalar, context: Any) -> Any:
    """Return `index`, `i32`, `i64`, `f32`, `f64`, or `i1` for bool."""
    return ir.Type.parse("i1" if declared.name == "bool" else declared.name, context)


def builtin_type(value_type: ValueType, context: Any) -> Any:
    """Return the builtin type of a value: a tensor, or a scalar."""
    if isinstance(value_type, AbstractScalar):
        return scalar_type(value_type, context)
    return ir.tensor_type(dtypes.from_torch(value_type.dtype), static_shape(value_type), context)


def element_type(value_type: TensorType, context: Any) -> Any:
    """Return the builtin type of a tensor's elements."""
    return ir.Type.parse(dtypes.from_torch(value_type.dtype).mlir, context)


def static_shape(value_type: TensorType) -> list[int | None]:
    """Return the sizes of a tensor type; None where dynamic."""
    return [dim if isinstance(dim, int) else None for dim in value_type.shape]
