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


def _round_scalars(node: fx.Node) -> None:
    """Round the Python floats of a comparison to the tensor's dtype, as eager does.

    The compiler compares in f64: there float32(0.3) is greater than 0.3.
    """
    tensor = node.args[0]
    if not isinstance(tensor, fx.Node) or not tensor.meta["val"].is_floating_point():
        return
    dtype = tensor.meta["val"].dtype
    node.args = (
        tensor,
        *(
            torch.tensor(argument, dtype=dtype).item() if isinstance(argument, float) else argument
            for argument in node.args[1:]
        ),
    )


def use_checked_forms(graph: fx.Graph) -> None:
    """Replace the operators that PyTorch trusts, after the checks: the compiler knows the others only."""
    for node in calls(graph):
        node.target = _TRUSTED.get(node.target, node.target)


_TRUSTED: dict[Any, Any] = {
    aten._unsafe_index.Tensor: aten.index.Tensor,
    aten._unsafe_index_put.default: aten.index_put.default,
}

_RULES: dict[Any, Callable[[fx.Node], None]] = {
    aten.eq.Tensor: _equal_to_itself,
    aten.ne.Tensor: _equal_to_itself,
    **dict.fromkeys(
        (
            aten.eq.Scalar,
            aten.ne.Scalar,
            aten.lt.Scalar,
            aten.le.Scalar,
            aten.gt.Scalar,
            aten.ge.Scalar,
            aten.threshold.default,
        ),
        _round_scalars,
    ),
}
