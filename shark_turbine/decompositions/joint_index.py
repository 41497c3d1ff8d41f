# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reading by several index tensors of dynamic sizes, as `hidden[rows, last_token]` does.

The compiler must see which of two sizes is broadcast, and cannot for two dynamic ones. One index
into the flattened dims says the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from .graph import Builder, calls
from .ranges import integer_range, is_below

aten = torch.ops.aten
Constants = Callable[[fx.Node], Any]


def join_indices(graph: fx.Graph, constants: Constants) -> None:
    """Replace reads by several dynamic index tensors by reads through one, in place.

    Runs after the checks are written: an index past its own dim may lie within the flattened ones.
    """
    for node in calls(graph):
        if node.target in {aten.index.Tensor, aten._unsafe_index.Tensor}:
            places = _ambiguous(list(node.args[1]))  # type: ignore[arg-type]
            if places:
                _join(node, places, constants)


def _ambiguous(indices: list[fx.Node | None]) -> range | None:
    """Return the dims of adjacent integer indices two of which have an unknown size in one place."""
    present = [place for place, index in enumerate(indices) if index is not None]
    if len(present) < 2 or present != list(range(present[0], present[-1] + 1)):
        return None
    values = [indices[place].meta["val"] for place in present]  # type: ignore[union-attr]
    if any(value.dtype in {torch.bool, torch.uint8} for value in values):
        return None
    rank = max(value.dim() for value in values)
    for axis in range(1, rank + 1):
        sizes = [value.shape[-axis] for value in values if value.dim() >= axis]
        if sum(not isinstance(size, int) for size in sizes) > 1:
            return range(present[0], present[-1] + 1)
    return None


def _join(node: fx.Node, places: range, constants: Constants) -> None:
    builder = Builder(node)
    tensor, indices = node.args[0], list(node.args[1])  # type: ignore[arg-type]
    assert isinstance(tensor, fx.Node)
    joined: fx.Node | None = None
    for place in places:
        index = _from_start(builder, indices[place], builder.size(tensor, place), constants)
        if joined is not None:
            joined = builder.call(aten.mul.Tensor, joined, builder.size(tensor, place))
            index = builder.call(aten.add.Tensor, joined, index)
        joined = index
    flat = builder.call(aten.flatten.using_ints, tensor, places[0], places[-1])
    kept = [*indices[: places[0]], joined]
    builder.replace(builder.call(aten.index.Tensor, flat, kept))


def _from_start(builder: Builder, index: Any, size: int | fx.Node, constants: Constants) -> fx.Node:
    """Turn negative indices into positive ones."""
    if index.meta["val"].dtype is not torch.int64:
        index = builder.call(torch.ops.prims.convert_element_type.default, index, torch.int64)
    known = integer_range(index, constants)
    if known is not None and is_below(-1, known[0]):
        return index
    wrapped = builder.call(aten.add.Scalar, index, size)
    negative = builder.call(aten.lt.Scalar, index, 0)
    return builder.call(aten.where.self, negative, wrapped, index)
