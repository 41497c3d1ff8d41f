# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Module state as `util.global` operations."""

from __future__ import annotations

import json
from typing import Any

import torch

from shark_turbine import dtypes, ir
from shark_turbine.errors import UnsupportedTypeError
from shark_turbine.fx_import import elements_attribute

from ..program import GlobalVar
from ..spec import External, Inline, Uninitialized, Zero
from ..types import AbstractScalar, AbstractTensor, AbstractValue
from .own_memory import emit_initializer
from .types import scalar_type


def emit_global(item: GlobalVar, context: Any, *, shares_start: bool = False) -> None:
    """Write one global at the insertion point.

    With `shares_start` an initializer gives it its first value: another global starts with the same.

    Raises:
        UnsupportedTypeError: the compiler cannot store the value.
    """
    try:
        _emit_global(item, context, shares_start)
    except UnsupportedTypeError as error:
        error.name_place(f"@{item.symbol}")
        raise


def _emit_global(item: GlobalVar, context: Any, shares_start: bool) -> None:
    global_type = type_of(item.type, context)
    if shares_start and isinstance(item.initial, Uninitialized):
        initial_value = _zero(item.type, global_type, context)
    else:
        initial_value = _initial_value(item, global_type, context)
    attributes = {
        "sym_name": ir.StringAttr.get(item.symbol),
        "sym_visibility": ir.StringAttr.get("private"),
        "type": ir.TypeAttr.get(global_type),
    }
    if not shares_start:
        attributes["initial_value"] = initial_value
    if item.mutable:
        attributes["is_mutable"] = ir.UnitAttr.get()
    ir.Operation.create("util.global", attributes=attributes)
    if shares_start:
        emit_initializer(item, initial_value, global_type, context)


def type_of(declared: AbstractValue, context: Any) -> Any:
    """Return the builtin type of a global."""
    if isinstance(declared, AbstractScalar):
        return scalar_type(declared, context)
    shape = [int(dim or 0) for dim in declared.size]
    return ir.tensor_type(dtypes.from_torch(declared.dtype), shape, context)


def _initial_value(item: GlobalVar, global_type: Any, context: Any) -> Any:
    if isinstance(item.type, AbstractTensor) and item.type.dtype.is_complex and 0 in item.type.size:
        # The bindings cannot hold a complex attribute of no elements, and there is none to hold.
        return ir.Attribute.parse(f"#util.uninitialized : {global_type}", context)
    match item.initial:
        case Inline(value):
            if isinstance(value, torch.Tensor):
                _check_values(value)
                return elements_attribute(value, dtypes.from_torch(value.dtype).mlir, context)
            return _number(value, global_type, context)
        case External(scope, key):
            _check_external(item.type)
            name = f"{json.dumps(scope)}::{json.dumps(key)}" if scope else json.dumps(key)
            text = f"#flow.parameter.named<{name}>"
            return ir.Attribute.parse(f"{text} : {global_type}", context)
        case Uninitialized():
            return ir.Attribute.parse(f"#util.uninitialized : {global_type}", context)
        case Zero():
            return _zero(item.type, global_type, context)


def _check_values(tensor: torch.Tensor) -> None:
    if tensor.is_meta:
        raise UnsupportedTypeError(
            "a tensor on the meta device has no values that could be stored",
            got=f"{dtypes.from_torch(tensor.dtype)}{list(tensor.shape)} on {tensor.device}",
            expected="a tensor with values, or one that is external",
            fix="aot.export(..., weights='external'), or weights= the path of a checkpoint",
        )


def _check_external(declared: AbstractValue) -> None:
    if isinstance(declared, AbstractTensor) and declared.dtype is torch.complex128:
        raise UnsupportedTypeError(
            "an external parameter is complex128, for which IREE's compiler crashes",
            got=f"complex128{list(declared.size)}",
            expected="complex64, or two float64 numbers for each element",
            fix="store torch.view_as_real(x), and use torch.view_as_complex in the function",
        )


def _number(value: bool | int | float, global_type: Any, context: Any) -> Any:
    if isinstance(value, bool):
        return ir.Attribute.parse("true" if value else "false", context)
    if isinstance(value, int):
        return ir.IntegerAttr.get(global_type, value)
    return ir.FloatAttr.get(global_type, value)


def _zero(declared: AbstractValue, global_type: Any, context: Any) -> Any:
    if isinstance(declared, AbstractScalar):
        if declared.name == "bool":
            return _number(False, global_type, context)
        return _number(0.0 if declared.is_float else 0, global_type, context)
    if declared.dtype.is_complex:
        # The bindings cannot hold a complex attribute that was made from text.
        zeros = torch.zeros([int(dim or 0) for dim in declared.size], dtype=declared.dtype)
        return elements_attribute(zeros, dtypes.from_torch(declared.dtype).mlir, context)
    if declared.dtype.is_floating_point:
        text = "0.0"
    else:
        text = "false" if declared.dtype == torch.bool else "0"
    if declared.dtype == torch.float8_e8m0fnu:
        text = '"0x00"'  # The type has no zero; all bits clear is its smallest number.
    return ir.Attribute.parse(f"dense<{text}> : {global_type}", context)
