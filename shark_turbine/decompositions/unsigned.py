# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arithmetic on bytes and other narrow or unsigned integers, done in int64.

The compiler takes unsigned elements for signed ones (`x == 200` never holds for a uint8, its sum is
negative), and dies of some operations on int8. Values go through int64 and back, which wraps around
as eager does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload

from .graph import Builder, calls

aten = torch.ops.aten

# uint64 does not fit; what is computed with it is right below 2**63.
_NARROW = {torch.uint8, torch.uint16, torch.uint32, torch.int8}
_REDUCTIONS = {
    aten.amax.default,
    aten.amin.default,
    aten.any.default,
    aten.any.dim,
    aten.cumsum.default,
    aten.max.default,
    aten.mean.default,
    aten.mean.dim,
    aten.min.default,
    aten.prod.default,
    aten.prod.dim_int,
    aten.sum.default,
    aten.sum.dim_IntList,
}
# They keep or convert elements, and do that right.
_MOVES = {
    aten._to_copy.default,
    aten.clone.default,
    aten.copy.default,
    aten.fill.Scalar,
    aten.fill.Tensor,
    aten.to.dtype,
}


def widen(graph: fx.Graph) -> None:
    """Compute with int64 wherever an operand is narrow, and give the result its own dtype back."""
    for node in calls(graph):
        if _computes(node.target) and isinstance(node.meta.get("val"), torch.Tensor):
            _widen(node)


def _computes(target: Any) -> bool:
    if not isinstance(target, OpOverload) or target in _MOVES:
        return False
    return torch.Tag.pointwise in target.tags or target in _REDUCTIONS


def _widen(node: fx.Node) -> None:
    narrow = [source for source in node.all_input_nodes if _is_narrow(source)]
    if not narrow:
        return
    builder = Builder(node)
    wide = {
        source: builder.call(aten._to_copy.default, source, dtype=torch.int64) for source in narrow
    }
    arguments = fx.map_arg(node.args, lambda source: wide.get(source, source))
    keywords = fx.map_arg(node.kwargs, lambda source: wide.get(source, source))
    result = builder.call(node.target, *arguments, **keywords)
    dtype = node.meta["val"].dtype
    if result.meta["val"].dtype != dtype:
        result = builder.call(aten._to_copy.default, result, dtype=dtype)
    builder.replace(result)


def _is_narrow(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.dtype in _NARROW
