# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Embedding bags: the compiler's own form gives other sums than eager."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .registry import required

aten = torch.ops.aten
Bags = tuple[Tensor, Tensor, Tensor, Tensor]
_SUM, _MEAN, _MAX = 0, 1, 2


@required(aten._embedding_bag.default, aten._embedding_bag_forward_only.default)
def embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = _SUM,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> Bags:
    """Reduce the rows of each bag; bag `b` starts at `offsets[b]`.

    The second to fourth results serve the backward pass only and hold zeros.
    """
    starts = offsets.narrow(0, 0, offsets.size(0) - 1) if include_last_offset else offsets
    places = torch.arange(indices.size(0), device=indices.device)
    bag = torch.sum(starts.unsqueeze(1) <= places.unsqueeze(0), 0) - 1
    bags = torch.arange(starts.size(0), device=indices.device)
    member = bag.unsqueeze(0) == bags.unsqueeze(1)
    if padding_idx >= 0:
        member = torch.logical_and(member, (indices != padding_idx).unsqueeze(0))
    rows = torch.nn.functional.embedding(indices.to(torch.int64), weight)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    count = torch.sum(member, 1, keepdim=True)
    if mode == _MAX:
        spread = torch.where(member.unsqueeze(2), rows.unsqueeze(0), -math.inf)
        result = torch.where(count == 0, 0.0, torch.amax(spread, 1)).to(weight.dtype)
    else:
        wide = torch.float32 if weight.dtype.itemsize < 4 else weight.dtype
        chosen = torch.where(member.unsqueeze(2), rows.unsqueeze(0).to(wide), 0.0)
        total = torch.sum(chosen, 1)
        if mode == _MEAN:
            total = total / torch.clamp(count, min=1)
        result = total.to(weight.dtype)
    unused = offsets.new_zeros(offsets.shape)
    return result, torch.zeros_like(indices), unused, unused.clone()
