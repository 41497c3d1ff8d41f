# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Order statistics and running extremes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .elementwise import is_exact
from .registry import required

aten = torch.ops.aten
Pair = tuple[Tensor, Tensor]


@required(aten.kthvalue.default)
def kthvalue(tensor: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Pair:
    """Sort and select."""
    if tensor.dim() == 0:
        return tensor.clone(), torch.zeros_like(tensor, dtype=torch.int64)
    values, indices = torch.sort(tensor, dim)
    return _pick(values, dim, k - 1, keepdim), _pick(indices, dim, k - 1, keepdim)


def _pick(tensor: Tensor, dim: int, index: int, keepdim: bool) -> Tensor:
    return tensor.narrow(dim, index, 1) if keepdim else tensor.select(dim, index)


@required(aten.median.dim)
def median_dim(tensor: Tensor, dim: int = -1, keepdim: bool = False) -> Pair:
    """Take the lower of the middle values; a NaN anywhere is the median."""
    if tensor.dim() == 0:
        return tensor.clone(), torch.zeros_like(tensor, dtype=torch.int64)
    values, indices = kthvalue(tensor, (tensor.size(dim) + 1) // 2, dim, keepdim)
    if is_exact(tensor.dtype):
        return values, indices
    nan = torch.isnan(tensor)
    some = torch.any(nan, dim, keepdim)
    first = torch.argmax(nan.to(torch.int32), dim, keepdim)
    return torch.where(some, math.nan, values), torch.where(some, first, indices)


@required(aten.median.default)
def median(tensor: Tensor) -> Tensor:
    """Take the median of all elements."""
    if tensor.numel() == 0:
        return NotImplemented
    return median_dim(tensor.reshape(-1), 0)[0]


@required(aten.nanmedian.dim)
def nanmedian_dim(tensor: Tensor, dim: int = -1, keepdim: bool = False) -> Pair:
    """Take the lower of the middle values that are numbers."""
    if is_exact(tensor.dtype) or tensor.dim() == 0:
        return median_dim(tensor, dim, keepdim)
    nan = torch.isnan(tensor)
    values, indices = torch.sort(torch.where(nan, math.inf, tensor), dim)
    count = torch.sum(torch.logical_not(nan), dim, keepdim=True)
    place = torch.clamp((count - 1) // 2, min=0)
    value = torch.where(count == 0, math.nan, torch.gather(values, dim, place))
    index = torch.gather(indices, dim, place)
    return (value, index) if keepdim else (value.squeeze(dim), index.squeeze(dim))


@required(aten.nanmedian.default)
def nanmedian(tensor: Tensor) -> Tensor:
    """Take the median of all elements that are numbers."""
    if tensor.numel() == 0:
        return NotImplemented
    return nanmedian_dim(tensor.reshape(-1), 0)[0]


@required(aten.max.dim)
def max_dim(tensor: Tensor, dim: int, keepdim: bool = False) -> Pair:
    """Give a single number back; the compiler reduces everything else."""
    return _of_one(tensor)


@required(aten.min.dim)
def min_dim(tensor: Tensor, dim: int, keepdim: bool = False) -> Pair:
    """Give a single number back; the compiler reduces everything else."""
    return _of_one(tensor)


def _of_one(tensor: Tensor) -> Pair:
    if tensor.dim() > 0:
        return NotImplemented
    return tensor.clone(), torch.zeros_like(tensor, dtype=torch.int64)


@required(aten.aminmax.default)
def aminmax(tensor: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Pair:
    """Reduce twice."""
    if tensor.dim() == 0:
        return tensor.clone(), tensor.clone()
    dims = [] if dim is None else [dim]
    return torch.amin(tensor, dims, keepdim), torch.amax(tensor, dims, keepdim)


@required(aten.cummax.default)
def cummax(tensor: Tensor, dim: int) -> Pair:
    """Scan by doubling: each step joins runs of twice the length."""
    return _running(tensor, dim, torch.ge)


@required(aten.cummin.default)
def cummin(tensor: Tensor, dim: int) -> Pair:
    """Scan by doubling: each step joins runs of twice the length."""
    return _running(tensor, dim, torch.le)


def _running(tensor: Tensor, dim: int, better: Callable[[Tensor, Tensor], Tensor]) -> Pair:
    if tensor.dim() == 0:
        return tensor.clone(), torch.zeros_like(tensor, dtype=torch.int64)
    size = tensor.size(dim)
    if not isinstance(size, int):
        return NotImplemented
    shape = [1] * tensor.dim()
    shape[dim] = size
    indices = torch.arange(size, device=tensor.device).reshape(shape).expand(tensor.shape)
    values, step = tensor, 1
    while step < size:
        earlier, later = values.narrow(dim, 0, size - step), values.narrow(dim, step, size - step)
        take = better(later, earlier)
        if not is_exact(tensor.dtype):
            number = torch.logical_not(torch.isnan(earlier))
            take = torch.logical_or(torch.isnan(later), torch.logical_and(number, take))
        joined = torch.where(take, later, earlier)
        index = torch.where(
            take, indices.narrow(dim, step, size - step), indices.narrow(dim, 0, size - step)
        )
        values = torch.cat([values.narrow(dim, 0, step), joined], dim)
        indices = torch.cat([indices.narrow(dim, 0, step), index], dim)
        step *= 2
    return values.clone(), indices.clone()


@required(aten.logcumsumexp.default)
def logcumsumexp(tensor: Tensor, dim: int) -> Tensor:
    """Scan by doubling with logaddexp, which does not run over."""
    if tensor.dim() == 0:
        return tensor.clone()
    size = tensor.size(dim)
    if not isinstance(size, int) or tensor.dtype.is_complex:
        return NotImplemented
    values, step = tensor, 1
    while step < size:
        earlier, later = values.narrow(dim, 0, size - step), values.narrow(dim, step, size - step)
        joined = torch.logaddexp(later, earlier)
        values = torch.cat([values.narrow(dim, 0, step), joined], dim)
        step *= 2
    return values.clone()


@required(aten.cumprod.default)
def cumprod(tensor: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """Give a single number back; the compiler scans everything else."""
    if tensor.dim() > 0:
        return NotImplemented
    return _running_of_one(tensor, dtype)


@required(aten.cumsum.default)
def cumsum(tensor: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """Give a single number back; the compiler scans everything else."""
    if tensor.dim() > 0:
        return NotImplemented
    return _running_of_one(tensor, dtype)


def _running_of_one(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    if dtype is None:
        dtype = torch.int64 if is_exact(tensor.dtype) else tensor.dtype
    return tensor.to(dtype, copy=True)
