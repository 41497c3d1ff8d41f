# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Decompositions of single operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .indexing import take
from .registry import REQUIRED, required, wrapping

aten = torch.ops.aten

# Python's operators on tensors: the compiler knows them by one name only.
REQUIRED.update(
    {
        aten.__and__.Tensor: torch.bitwise_and,
        aten.__and__.Scalar: torch.bitwise_and,
        aten.__or__.Tensor: torch.bitwise_or,
        aten.__or__.Scalar: torch.bitwise_or,
        aten.__xor__.Tensor: torch.bitwise_xor,
        aten.__xor__.Scalar: torch.bitwise_xor,
        aten.__lshift__.Tensor: torch.bitwise_left_shift,
        aten.__lshift__.Scalar: torch.bitwise_left_shift,
        aten.__rshift__.Tensor: torch.bitwise_right_shift,
        aten.__rshift__.Scalar: torch.bitwise_right_shift,
    }
)


@required(aten.meshgrid.default, aten.meshgrid.indexing)
def meshgrid(tensors: list[Tensor], indexing: str = "ij") -> list[Tensor]:
    """Expand each vector over the grid that they span."""
    swapped = indexing == "xy" and len(tensors) > 1
    vectors = [tensor.reshape(-1) for tensor in tensors]
    if swapped:
        vectors[0], vectors[1] = vectors[1], vectors[0]
    shape = [vector.size(0) for vector in vectors]
    grids = []
    for position, vector in enumerate(vectors):
        view = [1] * len(vectors)
        view[position] = -1
        grids.append(vector.reshape(view).expand(shape))
    if swapped:
        grids[0], grids[1] = grids[1], grids[0]
    return grids


@required(aten.histc.default)
def histc(tensor: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Count by comparing with each bin: there are few of them."""
    if min == max:
        return NotImplemented
    scaled = (tensor.reshape(-1, 1) - min) * (bins / (max - min))
    places = torch.clamp(torch.floor(scaled), max=bins - 1)
    inside = (tensor >= min) & (tensor <= max)
    hits = (places == torch.arange(bins, device=tensor.device)) & inside.reshape(-1, 1)
    return hits.sum(0).to(tensor.dtype)


@required(aten.split_with_sizes.default)
def split_with_sizes(tensor: Tensor, split_sizes: list[int], dim: int = 0) -> list[Tensor]:
    """Cut by slices: PyTorch's own reads raw memory by strides, which needs static sizes."""
    pieces: list[Tensor] = []
    start = 0
    for size in split_sizes:
        pieces.append(aten.slice.Tensor(tensor, dim, start, start + size))
        start = start + size
    return pieces


@required(aten.squeeze.dims)
def squeeze_dims(tensor: Tensor, dim: list[int]) -> Tensor:
    """Squeeze one dim after the other, the last first."""
    for each in sorted({each % max(tensor.dim(), 1) for each in dim}, reverse=True):
        tensor = tensor.squeeze(each)
    return tensor


@required(aten.log_softmax.int)
def log_softmax(tensor: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """Convert first: the compiler takes no dtype here."""
    if dtype is None:
        return NotImplemented
    return torch.log_softmax(tensor.to(dtype), dim)


@required(aten.addmm.default)
def addmm(
    tensor: Tensor, left: Tensor, right: Tensor, *, beta: complex = 1, alpha: complex = 1
) -> Tensor:
    """Add integers outside the product: the compiler fuses floats only."""
    if tensor.dtype.is_floating_point or tensor.dtype.is_complex:
        return NotImplemented
    return _scaled(tensor, beta) + _scaled(torch.mm(left, right), alpha)


@required(aten.addbmm.default)
def addbmm(
    tensor: Tensor, left: Tensor, right: Tensor, *, beta: complex = 1, alpha: complex = 1
) -> Tensor:
    """Sum the products of a batch."""
    if tensor.dtype in {torch.bfloat16, torch.float16}:
        left, right = left.to(torch.float32), right.to(torch.float32)
    total = torch.sum(torch.bmm(left, right), 0).to(tensor.dtype)
    return _scaled(tensor, beta) + _scaled(total, alpha)


def _scaled(tensor: Tensor, factor: complex) -> Tensor:
    return tensor if factor == 1 else tensor * factor


def grouped_mm_fallback(left: Tensor, right: Tensor, offs: Tensor) -> Tensor:
    """Multiply runs of rows by matrices of their own: transformers' operator for mixtures of experts.

    `left` is [rows, k], `right` [groups, k, n], `offs` [groups] the ends of the runs.
    """
    rows = torch.arange(left.size(0), device=left.device)
    result = left.new_zeros(left.size(0), right.size(2))
    start = torch.zeros((), dtype=offs.dtype, device=offs.device)
    for group in range(right.size(0)):
        end = offs.select(0, group)
        inside = torch.logical_and(rows >= start, rows < end).unsqueeze(1)
        result = torch.where(inside, torch.mm(left, right.select(0, group)), result)
        start = end
    return result


def fma(left: Tensor, right: Tensor, addend: Tensor) -> Tensor:
    """Multiply and add: what PyTorch's optimizers come apart into."""
    return left * right + addend


@required(aten.pad.default)
def pad(
    tensor: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Pad by indices in the modes that the compiler lacks; cut where a padding is negative."""
    if mode == "constant":
        return constant_pad(tensor, pad, 0 if value is None else value)
    whole = all(isinstance(size, int) for size in [*tensor.shape, *pad])
    kept = {"circular": False, "replicate": min(pad) > 0, "reflect": len(pad) < 6}
    if not whole or (kept[mode] and min(pad) >= 0):
        return NotImplemented
    for place in range(len(pad) // 2):
        before, after = pad[2 * place : 2 * place + 2]
        if before == after == 0:
            continue
        dim = tensor.dim() - 1 - place
        size = tensor.size(dim)
        index = torch.arange(-before, size + after, device=tensor.device)
        if mode == "replicate":
            index = torch.clamp(index, 0, size - 1)
        elif mode == "circular":
            index = torch.remainder(index, size)
        else:
            index = (size - 1) - torch.abs((size - 1) - torch.abs(index))
        tensor = take(tensor, dim, index)
    return tensor


@required(aten.constant_pad_nd.default)
def constant_pad(tensor: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    """Cut where a padding is negative, then pad: the compiler reads other elements, or refuses."""
    cut = [-size if isinstance(size, int) and size < 0 else 0 for size in pad]
    if not any(cut):
        return NotImplemented
    for place in range(len(pad) // 2):
        front, back = cut[2 * place : 2 * place + 2]
        dim = tensor.dim() - 1 - place
        tensor = torch.narrow(tensor, dim, front, tensor.size(dim) - front - back)
    return aten.constant_pad_nd(
        tensor, [size + less for size, less in zip(pad, cut, strict=True)], value
    )


@required(aten.view.dtype)
def view_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Read the bits of a single number through a vector: the compiler dies of the direct way."""
    if tensor.dim() > 0 or dtype.itemsize != tensor.dtype.itemsize:
        return NotImplemented
    return aten.view.dtype(tensor.unsqueeze(0), dtype).squeeze(0)


@wrapping(aten.select_scatter.default)
def select_scatter(tensor: Tensor, source: Tensor, dim: int, index: int) -> Tensor:
    """Count from the start: the compiler takes a negative index for a place before the tensor."""
    if index >= 0:
        return NotImplemented
    return torch.select_scatter(tensor, source, dim, index + tensor.size(dim))


@wrapping(aten.renorm.default)
def renorm(tensor: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Count dims from the first."""
    if dim >= 0:
        return NotImplemented
    return torch.renorm(tensor, p, dim + tensor.dim(), maxnorm)


@required(aten.angle.default)
def angle(tensor: Tensor) -> Tensor:
    """Tell negative numbers from positive ones."""
    if tensor.dtype.is_complex:
        return torch.atan2(tensor.imag, tensor.real)
    if not tensor.dtype.is_floating_point:
        tensor = tensor.to(torch.get_default_dtype())
    result = torch.where(tensor < 0, math.pi, 0.0).to(tensor.dtype)
    return torch.where(torch.isnan(tensor), math.nan, result)


@wrapping(torch.ops.prims.convert_element_type.default)
def convert_element_type(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Make true a one, not a minus one, of complex numbers."""
    if tensor.dtype is not torch.bool or not dtype.is_complex:
        return NotImplemented
    return tensor.to(torch.float32).to(dtype)


def _of_numbers(operator: Any) -> Any:
    """Reduce a single number as a vector of one: the compiler finds no dim in it."""

    def reduce(tensor: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
        if tensor.dim() > 0:
            return NotImplemented
        return operator(tensor.reshape(1), *arguments, **keywords).reshape(())

    reduce.__qualname__ = f"reduce_{operator}"
    return reduce


for _operator in (
    aten.all.dim,
    aten.any.dim,
    aten.any.dims,
    aten.amax.default,
    aten.amin.default,
    aten.sum.dim_IntList,
    aten.mean.dim,
    aten.prod.dim_int,
):
    wrapping(_operator)(_of_numbers(_operator))


def _adding_booleans(operator: Any) -> Any:
    """Add booleans as numbers: any true makes true."""

    def add(tensor: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
        if tensor.dim() == 0:
            _, index, source = arguments
            return operator(tensor.reshape(1), 0, index.reshape(1), source.reshape(1)).reshape(())
        if tensor.dtype is not torch.bool:
            return NotImplemented
        wide = [
            value.to(torch.int32)
            if isinstance(value, Tensor) and value.dtype is torch.bool
            else value
            for value in arguments
        ]
        return operator(tensor.to(torch.int32), *wide, **keywords) != 0

    add.__qualname__ = f"add_{operator}"
    return add


wrapping(aten.scatter_add.default)(_adding_booleans(aten.scatter_add.default))


@required(aten.index_add.default)
def index_add(
    tensor: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: complex = 1
) -> Tensor:
    """Add by indices, true and true being true."""
    if tensor.dim() == 0:
        return tensor + source.reshape(()) * alpha
    indices = [None] * (dim % tensor.dim()) + [index]
    return torch.ops.aten.index_put.default(tensor, indices, _scaled(source, alpha), True)
