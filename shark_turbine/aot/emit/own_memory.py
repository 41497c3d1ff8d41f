# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Mutable globals that start equal: each gets memory of its own.

IREE makes equal initial values once and lets all globals that start so share the memory; an update in place
of one of them then changes the others. What it cannot know to be equal it keeps apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

import torch

from shark_turbine import ir

from ..program import GlobalVar
from ..spec import Inline, Uninitialized, Zero
from ..types import AbstractI32, AbstractI64, AbstractTensor
from .scalars import emit_constant

_SAMPLE = 64


def sharing(globals: Iterable[GlobalVar]) -> set[str]:
    """Return the symbols of the mutable tensors that may start equal to an earlier one.

    Values are compared by their size and some of their bytes: one too many costs a copy at load.
    """
    seen: set[object] = set()
    found: set[str] = set()
    for item in globals:
        start = _start(item)
        if start in seen:
            found.add(item.symbol)
        if start is not None:
            seen.add(start)
    return found


def _start(item: GlobalVar) -> object:
    """Return what equal initial values have in common; None where memory is not shared."""
    if not item.mutable or not isinstance(item.type, AbstractTensor):
        return None
    size = prod(int(dim or 0) for dim in item.type.size) * item.type.dtype.itemsize
    match item.initial:
        case Inline(torch.Tensor() as tensor) if tensor.numel():
            sample = _sample(tensor)
            return (size, sample if any(sample) else b"")
        case Uninitialized() if size:
            return (size, None)
        case Zero() if size:
            return (size, b"")
        case _:
            return None


def _sample(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().resolve_conj().resolve_neg().flatten()
    middle = flat.numel() // 2
    parts = (flat[:_SAMPLE], flat[middle : middle + _SAMPLE], flat[-_SAMPLE:])
    return b"".join(part.clone().view(torch.uint8).numpy().tobytes() for part in parts)


def emit_initializer(item: GlobalVar, initial_value: Any, global_type: Any, context: Any) -> None:
    """Write an initializer that gives a global its first value, in memory of its own.

    Args:
        item: the global, written without an initial value.
        initial_value: the attribute with that value, which is not uninitialized.
        global_type: its builtin type.
        context: MLIR's.
    """
    operation = ir.Operation.parse("util.initializer { util.return }", context=context)
    ir.InsertionPoint.current.insert(operation)
    block = operation.regions[0].blocks[0]
    with ir.InsertionPoint.at_block_begin(block):
        if isinstance(item.initial, Inline) or not _can_be_filled(item.type):
            # Not by its builder, which knows no complex attribute.
            constant = ir.Operation.create(
                "arith.constant", results=[global_type], attributes={"value": initial_value}
            )
            value = ir.copied_tensor(constant.result)
        else:
            value = _zeros(global_type, context)
        symbol = ir.FlatSymbolRefAttr.get(item.symbol)
        ir.Operation.create("util.global.store", operands=[value], attributes={"global": symbol})


def _can_be_filled(declared: Any) -> bool:
    """Say whether IREE's VM can make the number: it knows no other floats at load."""
    dtype = declared.dtype
    return dtype is torch.float32 or not (dtype.is_floating_point or dtype.is_complex)


def _zeros(global_type: Any, context: Any) -> Any:
    """Write zeros that are not known to be zeros: a hidden number, less itself."""
    element = global_type.element_type
    is_float = not isinstance(element, ir.IntegerType)
    kind = AbstractI32 if is_float else AbstractI64
    number = emit_constant(1, kind, context)
    hidden = _create("util.optimization_barrier", number.type, number)
    zero = _create("arith.subi", number.type, hidden, number)
    if is_float:
        zero = _create("arith.sitofp", element, zero)
    elif zero.type != element:
        zero = _create("arith.trunci", element, zero)
    return _create("flow.tensor.splat", global_type, zero)


def _create(name: str, result: Any, *operands: Any) -> Any:
    return ir.Operation.create(name, results=[result], operands=list(operands)).result
