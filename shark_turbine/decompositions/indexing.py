# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writing through masks and indices.

The compiler's own `index_put` takes leading integer indices only; with a boolean mask it gives
wrong numbers, and with a None it does not compile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .registry import required, wrapping

aten = torch.ops.aten


def take(tensor: Tensor, dim: int, index: Tensor) -> Tensor:
    """Select by an index of our own making, which is in range and needs no check."""
    return aten._unsafe_index.Tensor(tensor, [None] * dim + [index])


@required(aten.index_put.default, aten._unsafe_index_put.default)
def index_put(
    tensor: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    """Write where a mask holds by selecting; bring the indexed dims to the front otherwise."""
    indices = list(indices)
    if accumulate and tensor.dtype is torch.bool:
        wide, more = tensor.to(torch.int32), values.to(torch.int32)
        return aten.index_put.default(wide, indices, more, True) != 0
    masks = [place for place, index in enumerate(indices) if _is_mask(index)]
    given = [place for place, index in enumerate(indices) if index is not None]
    if masks and given == masks[:1]:
        return _put_by_mask(tensor, indices[masks[0]], masks[0], values, accumulate)
    if masks:
        return NotImplemented
    if given == list(range(len(given))) and len(given) == len(indices):
        return NotImplemented
    return _put_after_permute(tensor, indices, given, values, accumulate)


@wrapping(aten.index.Tensor)
def index(tensor: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    """Find where a mask holds, then take: the compiler's own lowering does not verify."""
    if not any(_is_mask(index) for index in indices):
        return NotImplemented
    found: list[Tensor | None] = []
    for index in indices:
        if index is not None and _is_mask(index):
            found.extend(torch.nonzero(index.to(torch.bool)).unbind(1))
        else:
            found.append(index)
    only_masks = all(index is None or _is_mask(index) for index in indices)
    select = aten._unsafe_index.Tensor if only_masks else aten.index.Tensor
    return select(tensor, found)


@required(aten.masked_scatter.default)
def masked_scatter(tensor: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """Give each place under the mask the element of `source` whose turn it is."""
    tensor, mask = torch.broadcast_tensors(tensor, mask)
    flat = mask.reshape(-1).to(torch.int64)
    aten._assert_async.msg(
        flat.sum() <= source.numel(),
        "aten.masked_scatter: the mask holds more often than there are elements in source",
    )
    # One element more, which no place under the mask takes: `source` may be empty.
    padded = torch.cat([source.reshape(-1), source.new_zeros(1)])
    return torch.where(mask, take(padded, 0, _turns(flat)).reshape(mask.shape), tensor)


@required(aten.masked_scatter_backward.default)
def masked_scatter_backward(grad_output: Tensor, mask: Tensor, sizes: Sequence[int]) -> Tensor:
    """Give each element of `source` the gradient of the place that took it, the others zero."""
    grad_output, mask = torch.broadcast_tensors(grad_output, mask)
    count = math.prod(sizes)
    flat = mask.reshape(-1)
    # Places that took nothing write behind the end, each the same zero.
    places = torch.where(flat, torch.cumsum(flat.to(torch.int64), 0) - 1, count)
    taken = torch.where(flat, grad_output.reshape(-1), 0)
    total = grad_output.new_zeros(count + 1)
    return aten.index_put.default(total, [places], taken, True)[:count].reshape(sizes)


def _turns(flat: Tensor) -> Tensor:
    """Count how often a flat mask of integers held before each place."""
    return torch.clamp(torch.cumsum(flat, 0) - 1, min=0)


def _is_mask(index: Tensor | None) -> bool:
    return index is not None and index.dtype in {torch.bool, torch.uint8}


def _put_by_mask(
    tensor: Tensor, mask: Tensor | None, first: int, values: Tensor, accumulate: bool
) -> Tensor:
    assert mask is not None
    mask = mask.to(torch.bool)
    after = tensor.dim() - first - mask.dim()
    wide = mask.reshape([1] * first + list(mask.shape) + [1] * after)
    if isinstance(values.numel(), int) and values.numel() == 1:
        chosen = values.reshape(())
    elif values.dim() <= after:
        chosen = values
    elif values.size(values.dim() - after - 1) == 1:
        chosen = _over_masked_dims(values, first, mask.dim(), after)
    else:
        chosen = _by_position(mask, values, first, after)
    if accumulate:
        return torch.where(wide, tensor + chosen, tensor)
    return torch.where(wide, chosen.to(tensor.dtype), tensor)


def _over_masked_dims(values: Tensor, first: int, masked: int, after: int) -> Tensor:
    """Repeat values over the masked dims: their one dim of size 1 stands for all of these."""
    place = values.dim() - after - 1
    return values.reshape([*values.shape[:place], *[1] * masked, *values.shape[place + 1 :]])


def _by_position(mask: Tensor, values: Tensor, first: int, after: int) -> Tensor:
    """Give each place under the mask the value of its turn."""
    place = values.dim() - after - 1
    flat = mask.reshape(-1).to(torch.int64)
    aten._assert_async.msg(
        flat.sum() == values.size(place),
        "aten.index_put: the mask does not hold as often as there are values",
    )
    taken = torch.index_select(values, place, _turns(flat))
    return taken.reshape([*values.shape[:place], *mask.shape, *values.shape[place + 1 :]])


def _put_after_permute(
    tensor: Tensor,
    indices: Sequence[Tensor | None],
    given: Sequence[int],
    values: Tensor,
    accumulate: bool,
) -> Tensor:
    rest = [dim for dim in range(tensor.dim()) if dim not in given]
    order = [*given, *rest]
    found = torch.broadcast_tensors(*[index for index in indices if index is not None])
    index_rank = found[0].dim()
    adjacent = list(given) == list(range(given[0], given[0] + len(given)))
    before = given[0] if adjacent else 0
    rest_sizes = [tensor.size(dim) for dim in rest]
    shape = [*rest_sizes[:before], *found[0].shape, *rest_sizes[before:]]
    index_dims = list(range(before, before + index_rank))
    others = [dim for dim in range(len(shape)) if dim not in index_dims]
    moved = values.expand(shape).permute([*index_dims, *others])
    written = aten.index_put.default(tensor.permute(order), list(found), moved, accumulate)
    return written.permute([order.index(dim) for dim in range(tensor.dim())])


def _of_numbers(operator: Any) -> Any:
    """Write into a single number as into a vector of one: the compiler dies of it."""

    def write(tensor: Tensor, dim: int, index: Tensor, *rest: Any, **keywords: Any) -> Tensor:
        if tensor.dim() > 0:
            return NotImplemented
        vectors = [value.reshape(1) if isinstance(value, Tensor) else value for value in rest]
        return operator(tensor.reshape(1), 0, index.reshape(1), *vectors, **keywords).reshape(())

    write.__qualname__ = f"write_{operator}"
    return write


for _operator in (aten.scatter.src, aten.scatter.value):
    wrapping(_operator)(_of_numbers(_operator))
