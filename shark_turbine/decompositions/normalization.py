# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Normalization and moments."""

from __future__ import annotations

import torch
from torch import Tensor

from .registry import required

aten = torch.ops.aten


@required(aten._native_batch_norm_legit_no_training.default)
def batch_norm_inference(
    tensor: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Scale and shift by constants: the compiler folds them into a convolution before it."""
    scale = torch.rsqrt(running_var + eps)
    if weight is not None:
        scale = scale * weight
    shift = -running_mean * scale
    if bias is not None:
        shift = shift + bias
    shape = [1, -1] + [1] * (tensor.dim() - 2)
    result = tensor * scale.reshape(shape) + shift.reshape(shape)
    return result.to(tensor.dtype), tensor.new_zeros(0), tensor.new_zeros(0)
