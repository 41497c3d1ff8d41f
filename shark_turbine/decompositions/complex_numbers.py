# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Complex numbers by their parts: of its own the compiler has products of tensors, and hardly more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .registry import required

aten = torch.ops.aten
Parts = tuple[Any, Any]


@required(aten.abs.default)
def absolute(tensor: Tensor) -> Tensor:
    """Take the length; squares might run over."""
    if not tensor.dtype.is_complex:
        return NotImplemented
    return torch.hypot(tensor.real, tensor.imag)


@required(aten.sgn.default)
def sgn(tensor: Tensor) -> Tensor:
    """Divide by the length; zero stays zero."""
    if not tensor.dtype.is_complex:
        return NotImplemented
    size = torch.abs(tensor)
    return tensor / torch.where(size == 0, 1.0, size)


@required(aten.exp.default)
def exponential(tensor: Tensor) -> Tensor:
    """Turn by the imaginary part, and stretch by the exponential of the real one."""
    if not tensor.dtype.is_complex:
        return NotImplemented
    size = torch.exp(tensor.real)
    return torch.complex(size * torch.cos(tensor.imag), size * torch.sin(tensor.imag))


@required(aten.log.default)
def logarithm(tensor: Tensor) -> Tensor:
    """Take the logarithm of the length, and the angle."""
    if not tensor.dtype.is_complex:
        return NotImplemented
    return torch.complex(torch.log(torch.abs(tensor)), torch.angle(tensor))


@required(aten.isnan.default)
def isnan(tensor: Tensor) -> Tensor:
    """Tell whether either part is NaN."""
    if not tensor.dtype.is_complex:
        return NotImplemented
    return torch.logical_or(torch.isnan(tensor.real), torch.isnan(tensor.imag))


@required(aten.eq.Tensor, aten.eq.Scalar)
def equal(left: Tensor, right: Any) -> Tensor:
    """Compare both parts."""
    if not _is_complex(left, right):
        return NotImplemented
    (a, b), (c, d) = _parts(left), _parts(right)
    return torch.logical_and(a == c, b == d)


@required(aten.ne.Tensor, aten.ne.Scalar)
def unequal(left: Tensor, right: Any) -> Tensor:
    """Compare both parts."""
    if not _is_complex(left, right):
        return NotImplemented
    return torch.logical_not(torch.eq(left, right))


@required(aten.neg.default)
def negative(tensor: Tensor) -> Tensor:
    """Negate both parts."""
    return _each(torch.neg, tensor)


@required(aten.sum.default)
def sum_all(tensor: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
    """Add up both parts."""
    return NotImplemented if dtype is not None else _each(torch.sum, tensor)


@required(aten.sum.dim_IntList)
def sum_over(
    tensor: Tensor, dim: Any, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor:
    """Add up both parts over dims."""
    return NotImplemented if dtype is not None else _each(torch.sum, tensor, dim, keepdim)


@required(aten.mean.default)
def mean_all(tensor: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
    """Average both parts."""
    return NotImplemented if dtype is not None else _each(torch.mean, tensor)


@required(aten.mean.dim)
def mean_over(
    tensor: Tensor, dim: Any, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor:
    """Average both parts over dims."""
    return NotImplemented if dtype is not None else _each(torch.mean, tensor, dim, keepdim)


def _each(operator: Callable[..., Tensor], tensor: Tensor, *arguments: Any) -> Tensor:
    if not tensor.dtype.is_complex:
        return NotImplemented
    return torch.complex(operator(tensor.real, *arguments), operator(tensor.imag, *arguments))


@required(aten.add.Tensor)
def add(left: Any, right: Any, *, alpha: Any = 1) -> Tensor:
    """Add both parts."""
    if not _is_complex(left, right) or isinstance(alpha, complex):
        return NotImplemented
    (a, b), (c, d) = _parts(left), _parts(right)
    return torch.complex(a + c * alpha, b + d * alpha)


@required(aten.sub.Tensor)
def subtract(left: Any, right: Any, *, alpha: Any = 1) -> Tensor:
    """Add what is negated."""
    if not _is_complex(left, right):
        return NotImplemented
    return torch.add(left, right, alpha=-alpha)


@required(aten.rsub.Scalar)
def subtract_from(left: Tensor, right: Any, alpha: Any = 1) -> Tensor:
    """Subtract from a number."""
    if not _is_complex(left, right):
        return NotImplemented
    return torch.add(-left * alpha, right)


@required(aten.mul.Tensor)
def multiply(left: Any, right: Any) -> Tensor:
    """Multiply by a number; the compiler has the product of tensors."""
    is_product = isinstance(right, Tensor) and left.is_complex() and right.is_complex()
    if is_product or not _is_complex(left, right):
        return NotImplemented
    (a, b), (c, d) = _parts(left), _parts(right)
    return torch.complex(a * c - b * d, a * d + b * c)


@required(aten.div.Tensor)
def divide(left: Any, right: Any) -> Tensor:
    """Divide without squares, which might run over.

    Source: R. Smith, Algorithm 116: Complex division, Communications of the ACM 5, 1962.
    """
    if not _is_complex(left, right):
        return NotImplemented
    (a, b), (c, d) = _parts(left), _parts(right)
    if not _is_complex(right):
        return torch.complex(a / c, b / c)
    if not isinstance(right, Tensor):
        c, d = torch.full_like(a, c), torch.full_like(a, d)
    is_steep = torch.abs(c) < torch.abs(d)
    larger, smaller = torch.where(is_steep, d, c), torch.where(is_steep, c, d)
    ratio = smaller / torch.where(larger == 0, 1.0, larger)
    size = larger + smaller * ratio
    size = torch.where(size == 0, 0.0, size)  # no negative zero: eager divides by the length
    real = torch.where(is_steep, a * ratio + b, a + b * ratio)
    imaginary = torch.where(is_steep, b * ratio - a, b - a * ratio)
    return torch.complex(real / size, imaginary / size)


@required(aten.reciprocal.default)
def reciprocal(tensor: Tensor) -> Tensor:
    """Divide one."""
    if not tensor.dtype.is_complex:
        return NotImplemented
    return torch.ones_like(tensor.real) / tensor


def _parts(value: Any) -> Parts:
    if isinstance(value, Tensor) and not value.is_complex():
        return value, torch.zeros_like(value)
    return value.real, value.imag


def _is_complex(*values: Any) -> bool:
    return any(
        value.is_complex() if isinstance(value, Tensor) else isinstance(value, complex)
        for value in values
    )
