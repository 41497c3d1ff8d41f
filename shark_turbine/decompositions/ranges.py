# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which integers a tensor can hold, where the graph alone tells.

The ends of a range are ints, or symbolic sizes: so an arange over a dynamic length is known to lie
below that length.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

aten = torch.ops.aten
End = int | torch.SymInt
Range = tuple[End, End]

_DEPTH = 12
# What keeps every element it shows.
_SAME_VALUES = {
    aten.view.default,
    aten.reshape.default,
    aten._unsafe_view.default,
    aten.unsqueeze.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.expand.default,
    aten.expand_as.default,
    aten.permute.default,
    aten.transpose.int,
    aten.t.default,
    aten.clone.default,
    aten.alias.default,
    aten.detach.default,
    aten.contiguous.default,
    aten.slice.Tensor,
    aten.select.int,
    aten.repeat.default,
    aten.flip.default,
    aten.lift_fresh_copy.default,
    aten.lift_fresh.default,
    aten._to_copy.default,
    aten.to.dtype,
    torch.ops.prims.convert_element_type.default,
    aten.index_select.default,
    aten.gather.default,
    aten.flatten.using_ints,
    aten.narrow.default,
    aten.movedim.int,
}


def integer_range(
    node: Any, constants: Callable[[fx.Node], Any], depth: int = _DEPTH
) -> Range | None:
    """Return the smallest and largest value that a node can hold, or None where that is unknown.

    `constants` gives the tensor of a placeholder or attribute that never changes, or None.
    """
    if isinstance(node, bool) or not isinstance(node, (int, fx.Node)):
        return None
    if isinstance(node, int):
        return node, node
    if depth == 0:
        return None
    if node.op in {"placeholder", "get_attr"}:
        return _constant_range(constants(node))
    value = node.meta.get("val")
    if isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex()):
        return None

    def of(argument: Any) -> Range | None:
        return integer_range(argument, constants, depth - 1)

    if isinstance(value, torch.SymInt):
        return value, value
    if not isinstance(value, torch.Tensor):
        return None
    if value.dtype is torch.bool:
        return 0, 1
    if node.target in _SAME_VALUES:
        found = of(node.args[0]) if _is_integer(node.args[0]) else None
    else:
        rule = _RULES.get(node.target)
        found = rule(node, of) if rule is not None else None
    return found if found is not None and _holds(value.dtype, found) else None


def is_below(left: End, right: End) -> bool:
    """Tell whether one end is surely less than another."""
    difference = left - right
    return _highest(difference) < 0


def _highest(end: End) -> float:
    if isinstance(end, int):
        return end
    return float(end.node.shape_env.bound_sympy(end.node.expr).upper)


def _lowest(end: End) -> float:
    if isinstance(end, int):
        return end
    return float(end.node.shape_env.bound_sympy(end.node.expr).lower)


def _holds(dtype: torch.dtype, found: Range) -> bool:
    """Tell whether no number of a range wraps around in a dtype."""
    limits = torch.iinfo(dtype)
    if dtype is torch.int64 and not all(isinstance(end, int) for end in found):
        return True  # a size, or arithmetic on sizes
    return limits.min <= _lowest(found[0]) and _highest(found[1]) <= limits.max


def _is_integer(node: Any) -> bool:
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    return isinstance(value, torch.Tensor) and not (value.is_floating_point() or value.is_complex())


def _constant_range(tensor: Any) -> Range | None:
    if not isinstance(tensor, torch.Tensor) or tensor.is_floating_point() or tensor.is_complex():
        return None
    if tensor.numel() == 0:
        return 0, 0
    return int(tensor.min()), int(tensor.max())


def _argument(node: fx.Node, index: int, name: str, default: Any = None) -> Any:
    return node.args[index] if len(node.args) > index else node.kwargs.get(name, default)


_Of = Callable[[Any], Range | None]


def _arange(node: fx.Node, of: _Of) -> Range | None:
    if node.target is aten.arange.default:
        start, end, step = 0, node.args[0], 1
    else:
        start, end, step = node.args[0], node.args[1], _argument(node, 2, "step", 1)
    first, last = of(start), of(end)
    if first is None or last is None or not isinstance(step, int) or step <= 0:
        return None
    return first[0], last[1] - 1  # an empty arange holds nothing: any range is right


def _full(node: fx.Node, of: _Of) -> Range | None:
    return of(_argument(node, 1, "fill_value"))


def _fixed(low: int, high: int) -> Callable[[fx.Node, _Of], Range | None]:
    return lambda node, of: (low, high)


def _index_of_dim(node: fx.Node, of: _Of) -> Range | None:
    """Argmax and its like give positions within a dim, or within all elements."""
    shape = node.args[0].meta["val"].shape  # type: ignore[union-attr]
    dim = _argument(node, 1, "dim")
    sizes = shape if dim is None else shape[dim : dim + 1 or None]
    total = 1
    for size in sizes:
        if not isinstance(size, int):
            return None
        total *= size
    return 0, max(total - 1, 0)


def _clamp(node: fx.Node, of: _Of) -> Range | None:
    low, high = of(_argument(node, 1, "min")), of(_argument(node, 2, "max"))
    inner = of(node.args[0])
    lower, upper = low or inner, high or inner
    if lower is None or upper is None:
        return None
    if low is not None and high is not None and not is_below(lower[1], upper[0] + 1):
        return None
    return lower[0], upper[1]


def _add(node: fx.Node, of: _Of) -> Range | None:
    left, right = of(node.args[0]), of(node.args[1])
    if left is None or right is None or _argument(node, 2, "alpha", 1) != 1:
        return None
    return left[0] + right[0], left[1] + right[1]


def _subtract(node: fx.Node, of: _Of) -> Range | None:
    left, right = of(node.args[0]), of(node.args[1])
    if left is None or right is None or _argument(node, 2, "alpha", 1) != 1:
        return None
    return left[0] - right[1], left[1] - right[0]


def _multiply(node: fx.Node, of: _Of) -> Range | None:
    left, right = of(node.args[0]), of(node.args[1])
    ends = [*(left or ()), *(right or ())]
    if len(ends) < 4 or not all(isinstance(end, int) for end in ends):
        return None
    products = [a * b for a in ends[:2] for b in ends[2:]]
    return min(products), max(products)


def _where(node: fx.Node, of: _Of) -> Range | None:
    left, right = of(node.args[1]), of(node.args[2])
    if left is None or right is None:
        return None
    if left == right:
        return left
    ends = [*left, *right]
    return (min(ends), max(ends)) if all(isinstance(end, int) for end in ends) else None


def _second_of_pair(node: fx.Node, of: _Of) -> Range | None:
    """Know the second result of a search along a dim: a position in that dim."""
    source, which = node.args
    if which != 1 or not isinstance(source, fx.Node) or source.target not in _SEARCHES:
        return None
    tensor = source.args[0]
    assert isinstance(tensor, fx.Node)
    default = None if source.target in {aten.max.dim, aten.min.dim} else -1
    dim = _argument(source, _SEARCHES[source.target], "dim", default)  # pyright: ignore[reportArgumentType]
    shape = tensor.meta["val"].shape
    return (0, shape[dim] - 1) if shape and dim is not None else (0, 0)


_SEARCHES = {
    aten.max.dim: 1,
    aten.min.dim: 1,
    aten.sort.default: 1,
    aten.topk.default: 2,
}

_RULES: dict[Any, Callable[[fx.Node, _Of], Range | None]] = {
    aten.arange.default: _arange,
    aten.arange.start: _arange,
    aten.arange.start_step: _arange,
    aten.full.default: _full,
    aten.full_like.default: _full,
    aten.new_full.default: lambda node, of: of(_argument(node, 2, "fill_value")),
    aten.scalar_tensor.default: lambda node, of: of(node.args[0]),
    aten.zeros.default: _fixed(0, 0),
    aten.zeros_like.default: _fixed(0, 0),
    aten.new_zeros.default: _fixed(0, 0),
    aten.ones.default: _fixed(1, 1),
    aten.ones_like.default: _fixed(1, 1),
    aten.new_ones.default: _fixed(1, 1),
    operator.getitem: _second_of_pair,
    aten.argmax.default: _index_of_dim,
    aten.argmin.default: _index_of_dim,
    aten.argsort.default: lambda node, of: None,
    aten.clamp.default: _clamp,
    aten.clamp.Tensor: lambda node, of: None,
    aten.add.Tensor: _add,
    aten.add.Scalar: _add,
    aten.sub.Tensor: _subtract,
    aten.sub.Scalar: _subtract,
    aten.mul.Tensor: _multiply,
    aten.mul.Scalar: _multiply,
    aten.where.self: _where,
}
