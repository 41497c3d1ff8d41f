# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks that eager PyTorch makes on values and compiled code does not.

An index out of range reads or writes foreign memory there, and an integer division by zero kills
the process. Each such operation gets a run-time assertion in front of it, unless the graph shows
that it holds. Clamping instead would give wrong numbers silently.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from shark_turbine.quantized import quantized_embedding  # noqa: F401  (defines the operator)

from .graph import Builder, calls, source_line
from .ranges import End, integer_range, is_below

aten = torch.ops.aten
Constants = Callable[[fx.Node], Any]


@dataclass(frozen=True, slots=True)
class _IndexUse:
    """An index tensor that must lie in `[-size, size)` or, without wrapping, in `[0, size)`."""

    index: fx.Node
    tensor: fx.Node
    dim: int | None  # None: an index into all elements
    wraps: bool
    size: int | None = None  # None: what `tensor` has in `dim`

    def what(self) -> str:
        return "a tensor" if self.dim is None else f"dimension {self.dim}"


def insert_checks(graph: fx.Graph, constants: Constants) -> None:
    """Write an assertion in front of each operation whose indices or divisors are not proven."""
    done: set[tuple[Any, ...]] = set()
    for node in calls(graph):
        for use in _index_uses(node):
            _check_index(node, use, constants, done)
        if node.target in _WRITES:
            _count_from_start(node, constants)
        divisor = _integer_divisor(node)
        if divisor is not None:
            _check_divisor(node, divisor, constants, done)


# ---------------------------------------------------------------------------------------- indices --


def _index_uses(node: fx.Node) -> Iterator[_IndexUse]:
    target, args = node.target, node.args
    if target in _BY_DIM:
        tensor, dim, index = args[0], args[1], args[2]
        if isinstance(tensor, fx.Node) and isinstance(index, fx.Node) and isinstance(dim, int):
            rank = tensor.meta["val"].dim()
            yield _IndexUse(index, tensor, dim % rank if rank else None, wraps=False)
    elif target in _EMBEDDINGS:
        yield _IndexUse(args[1], args[0], 0, wraps=False)  # type: ignore[arg-type]
    elif target is torch.ops.shark_turbine.quantized_embedding.default:
        yield _IndexUse(args[0], args[1], 0, wraps=False, size=args[3])  # type: ignore[arg-type]
    elif target in _TAKES:
        yield _IndexUse(args[1], args[0], None, wraps=True)  # type: ignore[arg-type]
    elif target in _ADVANCED:
        yield from _advanced_uses(args[0], args[1])  # type: ignore[arg-type]


def _advanced_uses(tensor: fx.Node, indices: Sequence[fx.Node | None]) -> Iterator[_IndexUse]:
    dim = 0
    for index in indices:
        if index is None:
            dim += 1
            continue
        value = index.meta["val"]
        if value.dtype in {torch.bool, torch.uint8}:
            dim += value.dim()
            continue
        yield _IndexUse(index, tensor, dim, wraps=True)
        dim += 1


_BY_DIM = {
    aten.index_select.default,
    aten.gather.default,
    aten.scatter.src,
    aten.scatter.value,
    aten.scatter.reduce,
    aten.scatter.value_reduce,
    aten.scatter_add.default,
    aten.scatter_reduce.two,
    aten.index_add.default,
    aten.index_copy.default,
    aten.index_fill.int_Scalar,
    aten.index_fill.int_Tensor,
    aten.index_reduce.default,
}
_EMBEDDINGS = {
    aten.embedding.default,
    aten.embedding_bag.default,
    aten.embedding_bag.padding_idx,
    aten._embedding_bag.default,
    aten._embedding_bag_forward_only.default,
}
_TAKES = {aten.take.default, aten.put.default}
_ADVANCED = {
    aten.index.Tensor,
    aten.index_put.default,
    aten._index_put_impl.default,
}
_WRITES = {
    aten.index_put.default,
    aten._unsafe_index_put.default,
    aten._index_put_impl.default,
}


def _check_index(
    node: fx.Node, use: _IndexUse, constants: Constants, done: set[tuple[Any, ...]]
) -> None:
    value = use.index.meta["val"]
    if any(isinstance(size, int) and size == 0 for size in value.shape):
        return
    builder = Builder(node)
    known = integer_range(use.index, constants)
    size = _size_value(use)
    lowest: End = -size if use.wraps else 0
    above = known is not None and not is_below(known[0], lowest) and _at_least(known[0], lowest)
    below = known is not None and is_below(known[1], size)
    if (above and below) or (use.index, str(lowest), str(size)) in done:
        return
    done.add((use.index, str(lowest), str(size)))
    limit = _size_node(builder, use)
    index = _comparable(builder, use.index)
    conditions = []
    if not above:
        least = _negated(builder, limit) if use.wraps else 0
        conditions.append(builder.call(aten.ge.Scalar, index, least))
    if not below:
        conditions.append(builder.call(aten.lt.Scalar, index, limit))
    _assert(builder, conditions, f"{_name(node)}: index out of range in {use.what()}")


def _count_from_start(node: fx.Node, constants: Constants) -> None:
    """Turn negative indices of a write into positive ones: the compiler would write before the buffer."""
    indices = list(node.args[1])  # type: ignore[arg-type]
    builder = Builder(node)
    for use in _advanced_uses(node.args[0], indices):  # type: ignore[arg-type]
        known = integer_range(use.index, constants)
        if known is not None and _at_least(known[0], 0):
            continue
        index = _comparable(builder, use.index)
        wrapped = builder.call(aten.add.Scalar, index, _size_node(builder, use))
        negative = builder.call(aten.lt.Scalar, index, 0)
        positive = builder.call(aten.where.self, negative, wrapped, index)
        indices = [positive if given is use.index else given for given in indices]
    node.update_arg(1, indices)


def _at_least(left: End, right: End) -> bool:
    return is_below(right, left + 1)


def _size_value(use: _IndexUse) -> End:
    if use.size is not None:
        return use.size
    value = use.tensor.meta["val"]
    if use.dim is None:
        return value.numel()
    return value.shape[use.dim]


def _size_node(builder: Builder, use: _IndexUse) -> int | fx.Node:
    if use.size is not None:
        return use.size
    if use.dim is not None:
        return builder.size(use.tensor, use.dim)
    count = use.tensor.meta["val"].numel()
    if isinstance(count, int):
        return count
    return builder.call(aten.sym_numel.default, use.tensor)


def _negated(builder: Builder, limit: int | fx.Node) -> int | fx.Node:
    return builder.call(operator.neg, limit) if isinstance(limit, fx.Node) else -limit


def _comparable(builder: Builder, index: fx.Node) -> fx.Node:
    """Widen narrow integers: a limit of 300 does not fit a comparison in int8."""
    if index.meta["val"].dtype in {torch.int64, torch.int32}:
        return index
    return builder.call(torch.ops.prims.convert_element_type.default, index, torch.int64)


# --------------------------------------------------------------------------------------- divisors --


def _integer_divisor(node: fx.Node) -> Any:
    if node.target not in _DIVISIONS or not isinstance(node.meta.get("val"), torch.Tensor):
        return None
    dtype = node.meta["val"].dtype
    return None if dtype.is_floating_point or dtype.is_complex else node.args[1]


_DIVISIONS = {
    aten.div.Tensor_mode,
    aten.div.Scalar_mode,
    aten.floor_divide.default,
    aten.floor_divide.Scalar,
    aten.remainder.Tensor,
    aten.remainder.Scalar,
    aten.remainder.Scalar_Tensor,
    aten.fmod.Tensor,
    aten.fmod.Scalar,
}


def _check_divisor(
    node: fx.Node, divisor: Any, constants: Constants, done: set[tuple[Any, ...]]
) -> None:
    known = integer_range(divisor, constants)
    if known is not None and (is_below(0, known[0]) or is_below(known[1], 0)):
        return
    if not isinstance(divisor, fx.Node) or (divisor, "divisor") in done:
        return
    done.add((divisor, "divisor"))
    if not isinstance(divisor.meta["val"], torch.Tensor):
        return
    builder = Builder(node)
    _assert(
        builder,
        [builder.call(aten.ne.Scalar, divisor, 0)],
        f"{_name(node)}: integer division by zero",
    )


# ------------------------------------------------------------------------------------- the assert --


def _assert(builder: Builder, conditions: Sequence[fx.Node], message: str) -> None:
    holds = conditions[0]
    for condition in conditions[1:]:
        holds = builder.call(aten.logical_and.default, holds, condition)
    if holds.meta["val"].dim() > 0:
        holds = builder.call(aten.all.default, holds)
    line = source_line(builder.node)
    text = f"{message} ({line})" if line else message
    builder.call(aten._assert_async.msg, holds, text)


def _name(node: fx.Node) -> str:
    return str(node.target).rpartition(".")[0]
