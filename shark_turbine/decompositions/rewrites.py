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
    """Round the Python numbers of a comparison to the tensor's dtype, as eager does.

    The compiler compares in f64: there float32(0.3) is greater than 0.3. And it folds a comparison of
    a constant float tensor with an int to a wrong result: `torch.tensor(0.25) < 0` is true.
    """
    tensor, *rest = node.args
    if not isinstance(tensor, fx.Node):
        return
    dtype = tensor.meta["val"].dtype
    if dtype.is_floating_point:
        node.args = (tensor, *(_rounded(argument, dtype) for argument in rest))
    elif not dtype.is_complex and any(isinstance(argument, float) for argument in rest):
        # An integer tensor and a float: the compiler dies of folding it. Eager compares floats.
        default = torch.get_default_dtype()
        wide = Builder(node).call(torch.ops.prims.convert_element_type.default, tensor, default)
        node.args = (wide, *(_rounded(argument, default) for argument in rest))


def _rounded(argument: Any, dtype: torch.dtype) -> Any:
    if not isinstance(argument, (int, float)):
        return argument
    return torch.tensor(float(argument), dtype=dtype).item()


def _float_scalars(node: fx.Node) -> None:
    """Give arithmetic on floats a float: folding a constant tensor, the compiler takes -1 for 2**64 - 1."""
    tensor, other = node.args[0], node.args[1]
    if type(other) is int and isinstance(tensor, fx.Node):
        value = tensor.meta["val"]
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            node.update_arg(1, float(other))


def _look_up_before_expanding(node: fx.Node) -> None:
    """Look each row up once, then repeat rows: the compiler cannot read at repeated dynamic indices.

    `embedding(w, index.expand(b, n))` over a gathered index fails to compile; the other order is
    less work too.
    """
    weight, index = node.args[0], node.args[1]
    while isinstance(index, fx.Node) and index.target is aten.clone.default:
        index = index.args[0]
    if not isinstance(index, fx.Node) or index.target is not aten.expand.default:
        return
    builder = Builder(node)
    rows = builder.call(aten.embedding.default, weight, index.args[0], *node.args[2:])
    sizes: Any = index.args[1]
    builder.replace(builder.call(aten.expand.default, rows, [*sizes, -1]))


def _count_dims_from_first(node: fx.Node) -> None:
    """Name dims from the first: the compiler dies of a scatter along a negative one."""
    tensor, dim = node.args[0], node.args[1]
    if isinstance(tensor, fx.Node) and isinstance(dim, int) and dim < 0:
        node.update_arg(1, dim + max(tensor.meta["val"].dim(), 1))


def _pad_by_numbers(node: fx.Node) -> None:
    """Write the padding `"same"` of a convolution out.

    The compiler pads one point too few where it is an odd number; PyTorch pads that one at the end.
    """
    given: Any = (*node.args, *_CONVOLUTION[len(node.args) :])
    tensor, weight, bias, stride, padding, dilation, groups = given
    builder = Builder(node)
    sizes = weight.meta["val"].shape[2:]
    steps = dilation * len(sizes) if len(dilation) == 1 else dilation
    if padding == "same":
        both = [step * (size - 1) for step, size in zip(steps, sizes, strict=True)]
        sides = [side for total in reversed(both) for side in (total // 2, total - total // 2)]
        tensor = builder.call(aten.constant_pad_nd.default, tensor, sides, 0)
    by_numbers = (aten.conv1d, aten.conv2d, aten.conv3d)[len(sizes) - 1].default
    zeros = [0] * len(sizes)
    builder.replace(builder.call(by_numbers, tensor, weight, bias, stride, zeros, steps, groups))


# What stands for the arguments of a convolution that are not given.
_CONVOLUTION: tuple[Any, ...] = (None, None, None, [1], "valid", [1], 1)


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
    aten.embedding.default: _look_up_before_expanding,
    aten.conv1d.padding: _pad_by_numbers,
    aten.conv2d.padding: _pad_by_numbers,
    aten.conv3d.padding: _pad_by_numbers,
    **dict.fromkeys(
        (
            aten.scatter.src,
            aten.scatter.value,
            aten.scatter.reduce,
            aten.scatter.value_reduce,
            aten.scatter_add.default,
            aten.scatter_reduce.two,
        ),
        _count_dims_from_first,
    ),
    **dict.fromkeys(
        (
            aten.add.Scalar,
            aten.add.Tensor,
            aten.sub.Scalar,
            aten.sub.Tensor,
            aten.mul.Scalar,
            aten.mul.Tensor,
            aten.div.Scalar,
            aten.div.Tensor,
            aten.rsub.Scalar,
            aten.remainder.Scalar,
            aten.fmod.Scalar,
        ),
        _float_scalars,
    ),
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
