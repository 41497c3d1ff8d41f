# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Discrete Fourier transforms as products with their matrices: the compiler has hardly any of its own.

The work grows with the square of the length, which suits the frames of audio front ends, not signals
of many thousands of samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .registry import required

aten = torch.ops.aten
Parts = tuple[Tensor, Tensor]


@required(aten._fft_r2c.default)
def fft_r2c(tensor: Tensor, dim: Sequence[int], normalization: int, onesided: bool) -> Tensor:
    """Transform real numbers; `onesided` leaves out the mirrored half of the last dim."""
    *others, last = dim
    size = tensor.size(last)
    cosine, sine = _waves(size, size // 2 + 1 if onesided else size, tensor)
    parts = (_along(tensor, last, cosine), -_along(tensor, last, sine))
    for each in others:
        parts = _transform(parts, each, forward=True)
    return _complex(parts, _scale(tensor, dim, normalization))


@required(aten._fft_c2c.default)
def fft_c2c(tensor: Tensor, dim: Sequence[int], normalization: int, forward: bool) -> Tensor:
    """Transform complex numbers."""
    parts = (tensor.real, tensor.imag)
    for each in dim:
        parts = _transform(parts, each, forward=forward)
    return _complex(parts, _scale(tensor, dim, normalization))


@required(aten._fft_c2r.default)
def fft_c2r(tensor: Tensor, dim: Sequence[int], normalization: int, last_dim_size: int) -> Tensor:
    """Transform the half of a mirrored spectrum back to real numbers."""
    *others, last = dim
    parts = (tensor.real, tensor.imag)
    for each in others:
        parts = _transform(parts, each, forward=False)
    half = last_dim_size // 2 + 1
    cosine, sine = _waves(last_dim_size, half, tensor.real)
    # Every number of the half stands for two, but the first and, for an even length, the last.
    place = torch.arange(half, device=tensor.device)
    once = torch.logical_or(place == 0, place * 2 == last_dim_size)
    weight = torch.where(once, 1.0, 2.0).to(tensor.real.dtype)
    real, imaginary = (part.narrow(last, 0, half) for part in parts)
    result = _along(real, last, (cosine * weight).t()) - _along(
        imaginary, last, (sine * weight).t()
    )
    count = last_dim_size
    for each in others:
        count *= tensor.size(each)
    return result * _factor(count, normalization)


def _transform(parts: Parts, dim: int, *, forward: bool) -> Parts:
    real, imaginary = parts
    cosine, sine = _waves(real.size(dim), real.size(dim), real)
    if forward:
        sine = -sine
    return (
        _along(real, dim, cosine) - _along(imaginary, dim, sine),
        _along(real, dim, sine) + _along(imaginary, dim, cosine),
    )


def _waves(size: int, count: int, like: Tensor) -> Parts:
    """Return cosines and sines, `[size, count]`, of the whole turns taken out of the angle."""
    time = torch.arange(size, device=like.device).unsqueeze(1)
    frequency = torch.arange(count, device=like.device).unsqueeze(0)
    angle = ((time * frequency) % size).to(like.dtype) * (2 * math.pi / size)
    return torch.cos(angle), torch.sin(angle)


def _along(tensor: Tensor, dim: int, matrix: Tensor) -> Tensor:
    return torch.matmul(tensor.movedim(dim, -1), matrix).movedim(-1, dim)


def _complex(parts: Parts, factor: float) -> Tensor:
    real, imaginary = parts
    return torch.complex(real * factor, imaginary * factor)


def _scale(tensor: Tensor, dim: Sequence[int], normalization: int) -> float:
    return _factor(math.prod(tensor.size(each) for each in dim), normalization)


def _factor(count: int, normalization: int) -> float:
    return {0: 1.0, 1: 1 / math.sqrt(count), 2: 1 / count}[normalization]


@required(aten._conj.default, aten._conj_physical.default, aten.conj_physical.default)
def conjugate(tensor: Tensor) -> Tensor:
    """Turn the imaginary part around."""
    if not tensor.dtype.is_complex:
        return tensor.clone()
    return torch.complex(tensor.real, -tensor.imag)
