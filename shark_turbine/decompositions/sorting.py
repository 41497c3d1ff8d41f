# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sorting by ranks.

The compiler's own sort is not stable, mixes up NaN, and gives wrong results for booleans; it
compares every pair of neighbours again and again, so counting for every element how many come
before it is no more work.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .elementwise import is_exact
from .registry import wrapping

aten = torch.ops.aten
_LONGEST = 1 << 15
_SHORT = 1 << 10


@wrapping(aten.sort.default)
def sort(tensor: Tensor, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    """Sort stably, NaN as the largest, as eager does."""
    return sort_stable(tensor, stable=True, dim=dim, descending=descending)


@wrapping(aten.sort.stable)
def sort_stable(
    tensor: Tensor, *, stable: bool | None, dim: int = -1, descending: bool = False
) -> tuple[Tensor, Tensor]:
    """Sort stably, NaN as the largest, as eager does."""
    if tensor.dim() == 0:
        return tensor.clone(), torch.zeros_like(tensor, dtype=torch.int64)
    size = tensor.size(dim)
    if isinstance(size, int) and size > _LONGEST:
        return torch.sort(tensor, dim, descending)
    rows = tensor.movedim(dim, -1).reshape(-1, size)
    ranks = _ranks(rows, descending)
    count = torch.arange(rows.size(0), device=tensor.device).unsqueeze(1)
    places = torch.arange(size, device=tensor.device).unsqueeze(0).expand(rows.shape)
    order = aten._unsafe_index_put.default(torch.zeros_like(places), [count, ranks], places)
    values = aten._unsafe_index.Tensor(rows, [count, order])
    shape = tensor.movedim(dim, -1).shape
    return values.reshape(shape).movedim(-1, dim), order.reshape(shape).movedim(-1, dim)


@wrapping(aten.topk.default)
def topk_of_short_rows(
    tensor: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[Tensor, Tensor]:
    """Take the first of the sorted elements of short rows, as the choice of experts and of beams has."""
    if tensor.dim() == 0:
        return tensor.clone(), torch.zeros_like(tensor, dtype=torch.int64)
    size = tensor.size(dim)
    if not isinstance(size, int) or size > _SHORT:
        return NotImplemented
    values, indices = sort_stable(tensor, stable=True, dim=dim, descending=largest)
    return values.narrow(dim, 0, k), indices.narrow(dim, 0, k)


def _ranks(rows: Tensor, descending: bool) -> Tensor:
    """Count for each element of each row how many come before it."""
    keys = rows.to(torch.int32) if rows.dtype is torch.bool else rows
    here, other = keys.unsqueeze(2), keys.unsqueeze(1)
    first = _less(here, other) if descending else _less(other, here)
    later = _less(other, here) if descending else _less(here, other)
    place = torch.arange(rows.size(1), device=rows.device)
    earlier = place.unsqueeze(0) < place.unsqueeze(1)
    tied = torch.logical_and(torch.logical_not(torch.logical_or(first, later)), earlier)
    return torch.sum(torch.logical_or(first, tied), 2)


def _less(left: Tensor, right: Tensor) -> Any:
    if is_exact(left.dtype):
        return left < right
    number = torch.logical_not(torch.isnan(left))
    return torch.logical_or(left < right, torch.logical_and(number, torch.isnan(right)))
