# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Operations on turned images, written in front of the permutation that turns them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .elementwise import ELEMENTWISE
from .images_layout import (
    PERMUTE,
    channels_first,
    inverse,
    is_turned,
    order_of,
    source_of,
    to_first,
    turn_of,
    turned_back,
)
from .writer import Tensor, Writer, constant, is_none, tensor

_SUMS = frozenset({"torch.aten.sum.dim_IntList", "torch.aten.mean.dim"})
_VIEWS = frozenset({"torch.aten.view", "torch.aten.reshape"})
_CAT, _NEAREST = "torch.aten.cat", "torch.aten.upsample_nearest2d.vec"


def _permutation(operation: Any, writer: Writer) -> Any:
    """Write one permutation for two, and none where the second undoes the first."""
    outer, inner = order_of(operation.results[0]), order_of(operation.operands[0])
    if outer is None or inner is None:
        return None
    return _turned(source_of(operation.operands[0]), [inner[dim] for dim in outer], writer)


def _turned(given: Tensor, order: list[int], writer: Writer) -> Any:
    return (given if order == sorted(order) else writer.permute(given, order)).value


def _elements(operation: Any, writer: Writer) -> Any:
    """Write an operation on elements of operands that are turned like one of them."""
    result = tensor(operation.results[0])
    order = next(filter(None, map(turn_of, operation.operands)), None)
    if result is None or order is None or len(result.sizes) != len(order):
        return None
    operands = []
    for value in operation.operands:
        given = tensor(value)
        if given is None and "tensor" in str(value.type):
            return None
        moved = value
        if given is not None and given.sizes:
            missing = len(order) - len(given.sizes)
            if missing and None in given.sizes:
                return None
            whole = writer.view(given, [*[1] * missing, *given.sizes]) if missing else given
            moved = turned_back(whole, order, writer).value
        operands.append(moved)
    sizes = [result.sizes[dim] for dim in inverse(order)]
    made = Tensor(writer.again(operation, operands, sizes), tuple(sizes), result.dtype)
    return writer.permute(made, order).value


def _sum(operation: Any, writer: Writer) -> Any:
    """Write a sum or a mean along dims."""
    value, dims, keeps_dims, dtype = operation.operands
    order, result = order_of(value), tensor(operation.results[0])
    if order is None or result is None or not is_none(dtype):
        return None
    named, is_kept = constant(dims), constant(keeps_dims)
    given = source_of(value)
    if not named or given.dtype != result.dtype:
        return None
    gone = {dim % len(order) for dim in named}
    summed = sorted(order[dim] for dim in gone)
    rest = [dim for dim in range(len(order)) if is_kept or dim not in gone]
    places = sorted(order[dim] for dim in rest)
    turned = [places.index(order[dim]) for dim in rest]
    sizes = [result.sizes[at] for at in inverse(turned)]
    name = operation.name.removeprefix("torch.aten.")
    made = writer.call(name, given, summed, is_kept, None, sizes=sizes, like=given)
    return _turned(made, turned, writer)


def _view(operation: Any, writer: Writer) -> Any:
    """Write a view that splits channels into groups, or that puts them together again."""
    image, result = tensor(operation.operands[0]), tensor(operation.results[0])
    order = turn_of(operation.operands[0])
    if image is None or result is None or order is None:
        return None
    channels = len(order) - order[1]
    before, after = list(image.sizes), list(result.sizes)
    inner = before[1 + channels :]
    if None in (*before[1:], *after[1:]) or after[:1] != before[:1]:
        return None
    count = len(after) - 1 - len(inner)
    if not 1 <= count <= 2 or after[1 + count :] != inner:
        return None
    groups = [size or 0 for size in after[1 : 1 + count]]
    if math.prod(groups) != math.prod(size or 0 for size in before[1 : 1 + channels]):
        return None
    # The channels of what is written are fewer dims than its others, as `turn_of` wants them.
    if count > len(inner):
        return None
    sizes = [before[0], *inner, *groups]
    made = writer.view(source_of(operation.operands[0]), sizes)
    return writer.permute(made, to_first(len(sizes), count)).value


def _cat(operation: Any, writer: Writer) -> Any:
    """Write images, of which one was turned, side by side."""
    parts, result = operation.operands[0].owner, tensor(operation.results[0])
    if result is None or getattr(parts, "name", None) != "torch.prim.ListConstruct":
        return None
    images = [tensor(value) for value in parts.operands]
    given = [image for image in images if image is not None and image.dtype == result.dtype]
    order = next(filter(None, map(turn_of, parts.operands)), None)
    if order is None or len(given) != len(images):
        return None
    if any(len(image.sizes) != len(order) for image in given):
        return None
    turned = [turned_back(image, order, writer) for image in given]
    at = order[constant(operation.operands[1]) % len(order)]
    sizes = [result.sizes[dim] for dim in inverse(order)]
    made = writer.call("cat", turned, at, sizes=sizes, like=turned[0])
    return writer.permute(made, order).value


def _nearest(operation: Any, writer: Writer) -> Any:
    """Write an image each of whose points becomes several."""
    image, result = tensor(operation.operands[0]), tensor(operation.results[0])
    if image is None or result is None or not is_turned(image.value):
        return None
    dims = len(image.sizes) - 2
    known = (*image.sizes[1:], *result.sizes[1:])
    if None in known or 0 in known:
        return None
    pairs = [
        (large or 0, small or 1)
        for large, small in zip(known[-dims:], image.sizes[2:], strict=True)
    ]
    if any(large % small for large, small in pairs):
        return None
    given = source_of(image.value)
    batch, *spatial, channels = given.sizes
    apart = [batch, *(part for size in spatial for part in (size, 1)), channels]
    wide = [batch, *(part for large, small in pairs for part in (small, large // small)), channels]
    view = writer.view(given, apart)
    wanted = [-1 if size is None else size for size in wide]
    more = writer.call("expand", view, wanted, False, sizes=wide, like=view)
    full = writer.view(more, [batch, *result.sizes[2:], channels])
    return channels_first(full, writer).value


MOVES: dict[str, Callable[[Any, Writer], Any]] = {
    PERMUTE: _permutation,
    _CAT: _cat,
    _NEAREST: _nearest,
    **dict.fromkeys(ELEMENTWISE, _elements),
    **dict.fromkeys(_SUMS, _sum),
    **dict.fromkeys(_VIEWS, _view),
}
