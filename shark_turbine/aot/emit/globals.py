# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Module state as `util.global` operations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from math import prod
from typing import Any

import torch

from shark_turbine import dtypes, ir
from shark_turbine.errors import UnsupportedTypeError
from shark_turbine.fx_import import elements_attribute

from ..program import GlobalVar
from ..spec import External, Inline, Uninitialized, Zero
from ..types import AbstractScalar, AbstractTensor, AbstractValue
from .types import scalar_type


def emit_globals(items: Sequence[GlobalVar], context: Any) -> None:
    """Write all globals at the insertion point.

    Raises:
        UnsupportedTypeError: the compiler cannot store a value.
    """
    sizes = Counter(size for item in items if (size := _changing_bytes(item)))
    for item in items:
        emit_global(item, context, sizes[_changing_bytes(item)] > 1)


def _changing_bytes(item: GlobalVar) -> int:
    """Return the size of a mutable tensor that the module itself initializes, else 0."""
    declared = item.type
    if not item.mutable or isinstance(item.initial, External):
        return 0
    if not isinstance(declared, AbstractTensor):
        return 0
    return prod(int(dim or 0) for dim in declared.size) * declared.dtype.itemsize


def emit_global(item: GlobalVar, context: Any, has_twins: bool = False) -> None:
    """Write one global at the insertion point.

    Args:
        item: the global.
        context: the MLIR context.
        has_twins: whether another global that changes may have the same initial bytes. As
            attributes of both they would be one buffer, and a write to one a write to both.

    Raises:
        UnsupportedTypeError: the compiler cannot store the value.
    """
    try:
        _emit_global(item, context, has_twins)
    except UnsupportedTypeError as error:
        error.name_place(f"@{item.symbol}")
        raise


def _emit_global(item: GlobalVar, context: Any, has_twins: bool) -> None:
    global_type = type_of(item.type, context)
    attributes = {
        "sym_name": ir.StringAttr.get(item.symbol),
        "sym_visibility": ir.StringAttr.get("private"),
        "type": ir.TypeAttr.get(global_type),
    }
    if not has_twins:
        attributes["initial_value"] = _initial_value(item, global_type, context)
    if item.mutable:
        attributes["is_mutable"] = ir.UnitAttr.get()
    ir.Operation.create("util.global", attributes=attributes)
    if has_twins:
        _emit_initializer(item, global_type, context)


def _emit_initializer(item: GlobalVar, global_type: Any, context: Any) -> None:
    """Store the initial value when the module is loaded."""
    nothing = ir.FunctionType.get([], [], context)
    attributes = {"function_type": ir.TypeAttr.get(nothing)}
    initializer = ir.Operation.create("util.initializer", attributes=attributes, regions=1)
    with ir.InsertionPoint(ir.Block.create_at_start(initializer.regions[0], [])):
        if isinstance(item.initial, Uninitialized):
            value = ir.Operation.create("flow.tensor.empty", results=[global_type]).result
        else:
            constant = {"value": _initial_value(item, global_type, context)}
            value = ir.Operation.create(
                "arith.constant", results=[global_type], attributes=constant
            ).result
        ir.store_global(value, item.symbol)
        ir.Operation.create("util.return")


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
                return elements_attribute(value, dtypes.from_torch(value.dtype).mlir, context)
            return _number(value, global_type, context)
        case External(scope, key):
            name = f"{json.dumps(scope)}::{json.dumps(key)}" if scope else json.dumps(key)
            text = f"#flow.parameter.named<{name}>"
            return ir.Attribute.parse(f"{text} : {global_type}", context)
        case Uninitialized():
            return ir.Attribute.parse(f"#util.uninitialized : {global_type}", context)
        case Zero():
            return _zero(item.type, global_type, context)


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
