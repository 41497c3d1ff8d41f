# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rewrites of single operations in a traced graph that the compiler would get wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from .graph import Builder, calls

aten = torch.ops.aten


def rewrite(graph: fx.Graph) -> None:
    """Replace operations by others of the same value and type, in place."""
    for node in calls(graph):
        rule = _RULES.get(node.target)
        if rule is not None:
            rule(node)
    graph.eliminate_dead_code()


def _equal_to_itself(node: fx.Node) -> None:
    """`x == x` is folded to true, NaN or not; `x != x` to false."""
    left, right = node.args[0], node.args[1]
    if left is not right or not isinstance(left, fx.Node):
        return
    if not left.meta["val"].is_floating_point():
        return
    builder = Builder(node)
    nan = builder.call(aten.isnan.default, left)
    same = node.target is aten.eq.Tensor
    builder.replace(builder.call(aten.logical_not.default, nan) if same else nan)


_RULES: dict[Any, Callable[[fx.Node], None]] = {
    aten.eq.Tensor: _equal_to_itself,
    aten.ne.Tensor: _equal_to_itself,
}
