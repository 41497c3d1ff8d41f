# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes whose values are part of the tensor that they write into.

The compiler writes in place while it still reads the values: `x[[1, 9]] = x[:2]` gives other
numbers than eager. Taking the values through an index makes them a tensor of their own; a clone is
folded away.
"""

from __future__ import annotations

import operator
from collections import Counter
from typing import Any

import torch
from torch import fx

from .graph import Builder, calls

aten = torch.ops.aten

_WRITES = {
    aten.index_put.default,
    aten._unsafe_index_put.default,
}
_VIEWS = {
    aten.alias.default,
    aten.as_strided.default,
    aten.clone.default,
    aten.detach.default,
    aten.diagonal.default,
    aten.expand.default,
    aten.flatten.using_ints,
    aten.movedim.int,
    aten.movedim.intlist,
    aten.narrow.default,
    aten.permute.default,
    aten.reshape.default,
    aten.select.int,
    aten.slice.Tensor,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.t.default,
    aten.transpose.int,
    aten.unflatten.int,
    aten.unsqueeze.default,
    aten.view.default,
    aten._unsafe_view.default,
}


def separate_values(graph: fx.Graph) -> None:
    """Give each write values that are no part of its tensor, in place."""
    for node in calls(graph):
        if node.target not in _WRITES:
            continue
        tensor, values = node.args[0], node.args[2]
        if isinstance(values, fx.Node) and _base(tensor) is _base(values):
            node.update_arg(2, _copy(Builder(node), values))


def separate_selections(graph: fx.Graph) -> None:
    """Give each `topk` results of a shape of its own, in place.

    The compiler selects into buffers that it fills once for all selections of one shape: the second
    would go on from the results of the first. So the second asks for one element more, and so on.
    """
    seen: Counter[tuple[Any, ...]] = Counter()
    for node in calls(graph):
        if node.target is not aten.topk.default:
            continue
        tensor, *rest = node.args
        assert isinstance(tensor, fx.Node)
        k: Any = rest[0]
        shape = tensor.meta["val"].shape
        dim: Any = rest[1] if len(rest) > 1 else -1
        earlier = seen[tuple(map(str, shape)), k, dim]
        seen[tuple(map(str, shape)), k, dim] += 1
        room = shape[dim] - k if isinstance(shape[dim], int) and isinstance(k, int) else 0
        if 0 < earlier <= room:
            _select_more(node, k, dim, k + earlier)


def _select_more(node: fx.Node, k: Any, dim: int, more: int) -> None:
    builder = Builder(node)
    wider = builder.call(aten.topk.default, node.args[0], more, *node.args[2:])
    for item in list(node.users):
        part = builder.call(operator.getitem, wider, item.args[1])
        kept = builder.call(aten.slice.Tensor, part, dim, 0, k)
        Builder(item).replace(kept)
    node.graph.erase_node(node)


def _base(node: Any) -> Any:
    while isinstance(node, fx.Node) and node.target in _VIEWS:
        node = node.args[0]
    return node


def _copy(builder: Builder, values: fx.Node) -> fx.Node:
    if values.meta["val"].dim() == 0:
        return values  # one number cannot overlap what is written in turn
    places = builder.call(aten.arange.default, builder.size(values, 0))
    return builder.call(aten.index.Tensor, values, [places])
