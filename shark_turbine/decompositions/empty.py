# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tensors without elements, as an empty batch gives: the compiler refuses or dies of what works on them."""

from __future__ import annotations

import operator

import torch
from torch import fx
from torch._ops import OpOverload

from .graph import calls

aten = torch.ops.aten

# They return their first argument where no element is written.
_WRITES = {
    aten.index_put.default,
    aten._unsafe_index_put.default,
    aten.scatter.src,
    aten.scatter.value,
    aten.scatter_add.default,
    aten.scatter_reduce.two,
}
# Of these the compiler makes no constant.
_NOT_FILLED = {torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.complex128}


def skip_empty(graph: fx.Graph) -> None:
    """Take constants for results without elements, and leave out writes of no element, in place."""
    for node in calls(graph):
        if _gives_nothing(node):
            value = node.meta["val"]
            node.target, node.args = aten.full.default, (list(value.shape), 0)
            node.kwargs = {"dtype": value.dtype, "device": value.device}
        elif node.target in _WRITES and any(map(_is_empty, node.all_input_nodes)):
            node.target, node.args, node.kwargs = aten.clone.default, node.args[:1], {}


def _gives_nothing(node: fx.Node) -> bool:
    """Tell whether all that an operation does is to give a tensor without elements."""
    source = node.args[0] if node.target is operator.getitem else node
    target = source.target if isinstance(source, fx.Node) else None
    if not isinstance(target, OpOverload) or target._schema.is_mutable:
        return False
    return _is_empty(node) and node.meta["val"].dtype not in _NOT_FILLED


def _is_empty(node: fx.Node) -> bool:
    """Tell whether the sizes of a tensor are known, and one of them is 0."""
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return False
    # In this order: to compare a size that is not known would fix it, or fail.
    return all(isinstance(size, int) for size in value.shape) and 0 in value.shape
