# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Long sums. Compiled code adds one element after the other: over 2 million float32 near 1000 a mean is 2 % off.

Eager adds pairwise. Here a long sum is made of sums of about the square root of its length, one dim
after the other, which bounds the error by that root (N. Higham, The Accuracy of Floating Point
Summation, SIAM J. Sci. Comput. 14, 1993).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt, prod

import torch
from torch import Tensor

from .registry import wrapping

aten = torch.ops.aten

# From here on the order of adding shows in the fifth digit.
LONG = 8192


@wrapping(aten.sum.dim_IntList)
def sum_over(
    tensor: Tensor,
    dim: Sequence[int] | None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Add up dims."""
    target = dtype or tensor.dtype
    dims = _dims(tensor, dim)
    if not _is_long(tensor, dims, target):
        return NotImplemented
    return _sum(tensor.to(_wide(target)), dims, keepdim).to(target)


@wrapping(aten.sum.default)
def sum_all(tensor: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
    """Add up everything."""
    if not _is_long(tensor, _dims(tensor, None), dtype or tensor.dtype):
        return NotImplemented
    return torch.sum(tensor, _dims(tensor, None), dtype=dtype)


@wrapping(aten.mean.dim)
def mean_over(
    tensor: Tensor,
    dim: Sequence[int] | None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Average over dims."""
    target = dtype or tensor.dtype
    dims = _dims(tensor, dim)
    if not _is_long(tensor, dims, target):
        return NotImplemented
    count = prod(tensor.size(each) for each in dims)
    return (_sum(tensor.to(_wide(target)), dims, keepdim) / count).to(target)


@wrapping(aten.mean.default)
def mean_all(tensor: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
    """Average over everything."""
    if not _is_long(tensor, _dims(tensor, None), dtype or tensor.dtype):
        return NotImplemented
    return torch.mean(tensor, _dims(tensor, None), dtype=dtype)


@wrapping(aten.layer_norm.default)
def layer_norm(
    tensor: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """Normalize by moments that are long sums."""
    dims = list(range(tensor.dim() - len(normalized_shape), tensor.dim()))
    if not _is_long(tensor, dims, tensor.dtype):
        return NotImplemented
    return _scaled(_normalized(tensor, dims, eps), weight, bias).to(tensor.dtype)


@wrapping(aten.group_norm.default)
def group_norm(
    tensor: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """Normalize groups of channels by moments that are long sums."""
    groups = tensor.unflatten(1, (num_groups, -1))
    dims = list(range(2, groups.dim()))
    if not _is_long(groups, dims, tensor.dtype):
        return NotImplemented
    result = _normalized(groups, dims, eps).reshape(tensor.shape)
    channels = [1, -1] + [1] * (tensor.dim() - 2)
    weight, bias = (None if each is None else each.reshape(channels) for each in (weight, bias))
    return _scaled(result, weight, bias).to(tensor.dtype)


def _normalized(tensor: Tensor, dims: list[int], eps: float) -> Tensor:
    wide = tensor.to(_wide(tensor.dtype))
    variance, mean = torch.var_mean(wide, dims, correction=0, keepdim=True)
    return (wide - mean) * torch.rsqrt(variance + eps)


def _scaled(tensor: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None:
        tensor = tensor * weight
    return tensor if bias is None else tensor + bias


def _dims(tensor: Tensor, dim: Sequence[int] | None) -> list[int]:
    rank = tensor.dim()
    return sorted(each % rank for each in dim) if dim and rank else list(range(rank))


def _is_long(tensor: Tensor, dims: Sequence[int], dtype: torch.dtype) -> bool:
    """Whether so many elements are known to be added that their order matters."""
    known = [size for size in (tensor.size(each) for each in dims) if isinstance(size, int)]
    return dtype.is_floating_point and dtype is not torch.float64 and prod(known) >= LONG


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype.itemsize < 4 else dtype


def _sum(tensor: Tensor, dims: Sequence[int], keepdim: bool) -> Tensor:
    for each in reversed(dims):
        tensor = _sum_one(tensor, each)
    if keepdim:
        for each in dims:
            tensor = tensor.unsqueeze(each)
    return tensor


def _sum_one(tensor: Tensor, dim: int) -> Tensor:
    size = tensor.size(dim)
    if not isinstance(size, int) or size < LONG:
        return torch.sum(tensor, dim)
    width = isqrt(size)
    whole = size // width * width
    rows = tensor.narrow(dim, 0, whole).unflatten(dim, (size // width, width))
    total = torch.sum(torch.sum(rows, dim + 1), dim)
    if whole == size:
        return total
    return total + torch.sum(tensor.narrow(dim, whole, size - whole), dim)
