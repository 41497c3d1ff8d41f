# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Decompositions of single operators."""

from __future__ import annotations

import torch
from torch import Tensor

from .registry import REQUIRED, required

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
        grids = [grid.transpose(0, 1) for grid in grids]
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
