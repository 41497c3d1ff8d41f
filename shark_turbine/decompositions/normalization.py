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


@required(aten.softmax.int)
def softmax(tensor: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """Convert first, as eager does."""
    return torch.ops.aten._softmax(tensor if dtype is None else tensor.to(dtype), dim, False)


@required(aten._softmax.default)
def softmax_of_floats(tensor: Tensor, dim: int, half_to_float: bool) -> Tensor:
    """Multiply by one over the sum, in f32 at least.

    Of the compiler's own form it makes code that takes 25 to 50 times as long for some sizes, rows of
    1,000 or 1,500 among them; this takes as long for all, and no longer for the others.
    """
    wide = tensor.float() if tensor.dtype in {torch.float16, torch.bfloat16} else tensor
    if tensor.dim() and tensor.size(dim) == 0:
        return tensor.float() if half_to_float else tensor.clone()
    weights = torch.exp(wide - wide.amax(dim, keepdim=True))
    result = weights * torch.reciprocal(weights.sum(dim, keepdim=True))
    return result if half_to_float else result.to(tensor.dtype)


@required(aten.var.correction)
def var(
    tensor: Tensor,
    dim: list[int] | None = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
) -> Tensor:
    """Average squared distances from the mean, in the tensor's own precision: the compiler's form is in f64."""
    return _moments(tensor, dim, correction, keepdim)[0]


@required(aten.var_mean.correction)
def var_mean(
    tensor: Tensor,
    dim: list[int] | None = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
) -> tuple[Tensor, Tensor]:
    """Give the variance and the mean."""
    return _moments(tensor, dim, correction, keepdim)


@required(aten.std.correction)
def std(
    tensor: Tensor,
    dim: list[int] | None = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
) -> Tensor:
    """Take the root of the variance."""
    return torch.sqrt(_moments(tensor, dim, correction, keepdim)[0])


@required(aten.std_mean.correction)
def std_mean(
    tensor: Tensor,
    dim: list[int] | None = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
) -> tuple[Tensor, Tensor]:
    """Give the root of the variance and the mean."""
    variance, mean = _moments(tensor, dim, correction, keepdim)
    return torch.sqrt(variance), mean


def _moments(
    tensor: Tensor, dim: list[int] | None, correction: float | None, keepdim: bool
) -> tuple[Tensor, Tensor]:
    dims = list(range(tensor.dim())) if not dim else [each % max(tensor.dim(), 1) for each in dim]
    count = 1
    for each in dims if tensor.dim() else []:
        count = count * tensor.size(each)
    narrow = tensor.dtype in {torch.float16, torch.bfloat16}
    wide = tensor.to(torch.float32) if narrow else tensor
    mean = torch.mean(wide, dims, keepdim=True)
    distance = wide - mean
    if tensor.dtype.is_complex:
        squares = torch.square(distance.real) + torch.square(distance.imag)
    else:
        squares = torch.square(distance)
    total = torch.sum(squares, dims, keepdim=keepdim)
    freedom = count - (1.0 if correction is None else correction)
    if isinstance(freedom, (int, float)):
        # Nothing left to average over: eager gives NaN of zero squares and infinity of others.
        variance = total / freedom if freedom > 0 else total / 0.0
    else:
        variance = total / torch.scalar_tensor(torch.sym_max(freedom, 0), dtype=total.dtype)
    if not keepdim:
        mean = mean.reshape(variance.shape)
    if narrow:
        return variance.to(tensor.dtype), mean.to(tensor.dtype)
    return variance, mean


@required(aten._weight_norm_interface_backward.default)
def weight_norm_backward(
    gradient: Tensor, direction: Tensor, magnitude: Tensor, norms: Tensor, dim: int
) -> tuple[Tensor, Tensor]:
    """Differentiate `direction * magnitude / norm(direction)`, the norm over all dims but one.

    The source is the forward decomposition, by the quotient rule.
    """
    others = [each for each in range(direction.dim()) if each != dim % direction.dim()]
    along = torch.sum(gradient * direction, others, keepdim=True)
    to_magnitude = along / norms
    to_direction = (magnitude / norms) * (gradient - direction * along / (norms * norms))
    return to_direction, to_magnitude.to(magnitude.dtype)


@required(aten.softshrink_backward.default)
def softshrink_backward(gradient: Tensor, tensor: Tensor, lambd: float) -> Tensor:
    """Pass the gradient where the absolute value is above the threshold: hardshrink's is the same."""
    return torch.where(torch.abs(tensor) > lambd, gradient, 0.0).to(gradient.dtype)
