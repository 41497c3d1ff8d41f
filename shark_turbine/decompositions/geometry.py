# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writing into views, and distances."""

from __future__ import annotations

import torch
from torch import Tensor

from .registry import required

aten = torch.ops.aten


@required(aten.diagonal_scatter.default)
def diagonal_scatter(
    tensor: Tensor, source: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """Write along a diagonal by two rows of indices."""
    moved = torch.movedim(tensor, (dim1, dim2), (0, 1))
    steps = torch.arange(source.size(-1), device=tensor.device)
    indices = (steps + max(-offset, 0), steps + max(offset, 0))
    written = torch.index_put(moved, indices, torch.movedim(source, -1, 0))
    return torch.movedim(written, (0, 1), (dim1, dim2)).contiguous()


@required(aten.as_strided_scatter.default)
def as_strided_scatter(
    tensor: Tensor,
    source: Tensor,
    size: list[int],
    stride: list[int],
    storage_offset: int | None = None,
) -> Tensor:
    """Write through strides into the elements in row-major order, where the tensor has that order."""
    if not tensor.is_contiguous():
        return NotImplemented
    places = torch.full((), storage_offset or 0, dtype=torch.int64, device=tensor.device)
    for length, step in zip(size, stride, strict=True):
        steps = torch.arange(length, device=tensor.device) * step
        places = places.unsqueeze(-1) + steps
    flat = torch.index_put(tensor.reshape(-1), [places.reshape(-1)], source.reshape(-1))
    return flat.reshape(tensor.shape)


@required(aten.cdist.default, aten._cdist_forward.default)
def cdist(left: Tensor, right: Tensor, p: float = 2.0, compute_mode: int | None = None) -> Tensor:
    """Take norms of all differences: exact, where a matrix product would cancel."""
    difference = torch.abs(left.unsqueeze(-2) - right.unsqueeze(-3))
    if p == 0.0:
        return torch.sum(difference != 0, -1).to(left.dtype)
    if p == 1.0:
        return torch.sum(difference, -1)
    if p == 2.0:
        return torch.sqrt(torch.sum(torch.square(difference), -1))
    if p == float("inf"):
        return torch.amax(difference, -1)
    return torch.pow(torch.sum(torch.pow(difference, p), -1), 1.0 / p)


@required(aten.masked_select.default)
def masked_select(tensor: Tensor, mask: Tensor) -> Tensor:
    """Find where the mask holds, then take."""
    tensor, mask = torch.broadcast_tensors(tensor, mask)
    found = torch.nonzero(mask.reshape(-1)).select(1, 0)
    return aten.index.Tensor(tensor.reshape(-1), [found])
