# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Operators that the compiler computes, but not for every number: NaN, infinities, zeros, bytes.

Each wraps the operator itself, and mends what eager PyTorch gives otherwise.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .elementwise import is_exact
from .registry import required, wrapping

aten = torch.ops.aten

# ------------------------------------------------------------------------------- NaN goes through --


@wrapping(aten.maximum.default)
def maximum(left: Tensor, right: Tensor) -> Tensor:
    """Give NaN where either is."""
    return _with_nan(torch.maximum(left, right), left, right)


@wrapping(aten.minimum.default)
def minimum(left: Tensor, right: Tensor) -> Tensor:
    """Give NaN where either is."""
    return _with_nan(torch.minimum(left, right), left, right)


@wrapping(aten.clamp.default)
def clamp(tensor: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Let NaN through; clamp an integer tensor by float limits in floats, as eager promotes."""
    if is_exact(tensor.dtype):
        if not (isinstance(min, float) or isinstance(max, float)):
            return NotImplemented
        tensor = tensor.to(torch.get_default_dtype())
    return _with_nan(torch.clamp(tensor, min, max), tensor)


@required(aten.clamp.Tensor)
def clamp_tensor(tensor: Tensor, min: Tensor | None = None, max: Tensor | None = None) -> Tensor:
    """Clamp by the larger and the smaller of two."""
    if min is not None:
        tensor = torch.maximum(tensor, min)
    return tensor if max is None else torch.minimum(tensor, max)


@required(aten.clamp_min.default)
def clamp_min(tensor: Tensor, min: Any) -> Tensor:
    """Clamp from below."""
    return torch.clamp(tensor, min=min)


@required(aten.clamp_max.default)
def clamp_max(tensor: Tensor, max: Any) -> Tensor:
    """Clamp from above."""
    return torch.clamp(tensor, max=max)


@required(aten.hardtanh.default)
def hardtanh(tensor: Tensor, min_val: float = -1, max_val: float = 1) -> Tensor:
    """Clamp."""
    return torch.clamp(tensor, min_val, max_val)


@required(aten.relu6.default)
def relu6(tensor: Tensor) -> Tensor:
    """Clamp."""
    return torch.clamp(tensor, 0, 6)


def _with_nan(result: Tensor, *tensors: Tensor) -> Tensor:
    if is_exact(result.dtype):
        return result
    for tensor in tensors:
        if tensor.dtype.is_floating_point:
            result = torch.where(torch.isnan(tensor), math.nan, result)
    return result


@wrapping(aten.argmax.default)
def argmax(tensor: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Count NaN as the largest."""
    if tensor.dim() == 0:
        return torch.zeros_like(tensor, dtype=torch.int64)
    return torch.argmax(_nan_as(tensor, math.inf), dim, keepdim)


@wrapping(aten.argmin.default)
def argmin(tensor: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Count NaN before every number."""
    if tensor.dim() == 0:
        return torch.zeros_like(tensor, dtype=torch.int64)
    return torch.argmin(_nan_as(tensor, -math.inf), dim, keepdim)


@wrapping(aten.topk.default)
def topk(
    tensor: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[Tensor, Tensor]:
    """Count NaN as the largest: the compiler's comparison cannot order it."""
    if is_exact(tensor.dtype) or tensor.dim() == 0:
        return NotImplemented
    values, indices = torch.topk(_nan_as(tensor, math.inf), k, dim, largest, sorted)
    return _restore_nan(tensor, values, dim, first=largest), indices


def _nan_as(tensor: Tensor, value: float) -> Tensor:
    return tensor if is_exact(tensor.dtype) else torch.where(torch.isnan(tensor), value, tensor)


def _restore_nan(tensor: Tensor, values: Tensor, dim: int, *, first: bool) -> Tensor:
    """Put as many NaN as there were to the end of the order where they belong."""
    count = torch.sum(torch.isnan(tensor), dim, keepdim=True)
    shape = [1] * tensor.dim()
    shape[dim] = values.size(dim)
    places = torch.arange(values.size(dim), device=tensor.device).reshape(shape)
    nan = places < count if first else places >= tensor.size(dim) - count
    return torch.where(nan, math.nan, values)


# ------------------------------------------------------------------------- zeros and infinities --


@wrapping(aten.pow.Tensor_Tensor)
def power(base: Tensor, exponent: Tensor) -> Tensor:
    """Take the power of the magnitude, then the sign: the compiler gives NaN for negative bases."""
    dtype = torch.result_type(base, exponent)
    if dtype.is_complex:
        return NotImplemented
    if is_exact(dtype):
        return _pow_of_integers(base, exponent)
    base, exponent = torch.broadcast_tensors(base.to(dtype), exponent.to(dtype))
    return _signed_power(base, exponent, torch.pow(torch.abs(base), exponent))


@wrapping(aten.pow.Scalar)
def power_of_number(base: float, exponent: Tensor) -> Tensor:
    """Take the power of the magnitude, then the sign."""
    if is_exact(exponent.dtype) or exponent.dtype.is_complex or base > 0:
        return NotImplemented
    wide = torch.full_like(exponent, base)
    return _signed_power(wide, exponent, torch.pow(torch.abs(wide), exponent))


def _signed_power(base: Tensor, exponent: Tensor, size: Tensor) -> Tensor:
    infinite = torch.isinf(exponent)
    whole = torch.logical_or(exponent == torch.floor(exponent), infinite)
    half = exponent * 0.5
    odd = torch.logical_and(whole, half != torch.floor(half))
    odd = torch.logical_and(odd, torch.logical_not(infinite))
    negative = torch.signbit(base)
    finite = torch.logical_and(base < 0, torch.logical_not(torch.isinf(base)))
    size = torch.where(_powers_at_infinity(base, exponent), _limit(base, exponent), size)
    result = torch.where(torch.logical_and(negative, odd), -size, size)
    result = torch.where(torch.logical_and(finite, torch.logical_not(whole)), math.nan, result)
    unknown = torch.logical_or(torch.isnan(base), torch.isnan(exponent))
    result = torch.where(unknown, math.nan, result)
    return torch.where(torch.logical_or(exponent == 0, base == 1), 1.0, result)


def _powers_at_infinity(base: Tensor, exponent: Tensor) -> Tensor:
    return torch.logical_or(torch.logical_or(torch.isinf(base), base == 0), torch.isinf(exponent))


def _limit(base: Tensor, exponent: Tensor) -> Tensor:
    """Give the power where base or exponent is at an end: 0, 1 or infinity."""
    size = torch.abs(base)
    grows = torch.where(exponent > 0, size > 1, size < 1)
    return torch.where(size == 1, 1.0, torch.where(grows, math.inf, 0.0)).to(base.dtype)


def _pow_of_integers(base: Tensor, exponent: Tensor) -> Tensor:
    """Raise integers to integers by squaring: six bits of exponent reach every int64."""
    dtype = torch.result_type(base, exponent)
    base, exponent = base.to(torch.int64), exponent.to(torch.int64)
    result, factor = torch.ones_like(base * exponent), base
    for bit in range(6):
        odd = torch.bitwise_and(torch.bitwise_right_shift(exponent, bit), 1) != 0
        result = torch.where(odd, result * factor, result)
        factor = factor * factor
    even = torch.bitwise_and(exponent, 1) == 0
    # Beyond 63 only 0, 1 and -1 stay what they are; everything even has run over to 0.
    small = torch.where(base == -1, torch.where(even, 1, -1), torch.where(base == 1, 1, 0))
    whole = torch.logical_and(exponent >= 0, exponent < 64)
    result = torch.where(whole, result, small)
    return result.to(dtype)


@wrapping(aten.atan2.default)
def atan2(y: Tensor, x: Tensor) -> Tensor:
    """Take the angle of the upper half plane, then the sign of y; know the origin and the far corners."""
    if is_exact(torch.result_type(y, x)):
        y, x = y.to(torch.get_default_dtype()), x.to(torch.get_default_dtype())
    high = torch.abs(y)
    corner = torch.logical_and(torch.isinf(y), torch.isinf(x))
    angle = torch.atan2(
        torch.where(corner, 1.0, high),
        torch.where(corner, torch.sign(x), torch.where(y == 0, 1.0, x)),
    )
    ends = torch.logical_or(y == 0, torch.logical_and(x == -math.inf, torch.logical_not(corner)))
    level = torch.where(torch.signbit(x), math.pi, 0.0)
    result = torch.where(ends, level.to(angle.dtype), angle)
    unknown = torch.logical_or(torch.isnan(x), torch.isnan(y))
    return torch.where(unknown, math.nan, torch.copysign(result, y))


@wrapping(aten.pow.Tensor_Scalar)
def power_by_number(base: Tensor, exponent: Any) -> Tensor:
    """Invert a whole power: the compiler's negative power of zero is no infinity."""
    if not isinstance(exponent, (int, float)) or is_exact(base.dtype) or base.dtype.is_complex:
        return NotImplemented
    if exponent >= 0 or exponent != int(exponent):
        return NotImplemented
    return torch.reciprocal(torch.pow(base, -exponent) if exponent != -1 else base)


@required(aten.asinh.default)
def asinh(tensor: Tensor) -> Tensor:
    """Use the logarithm of twice the number where its square runs over."""
    if tensor.dtype.is_complex:
        return NotImplemented
    tensor = tensor.to(torch.get_default_dtype()) if is_exact(tensor.dtype) else tensor
    wide = tensor.to(torch.float32) if tensor.dtype.itemsize < 4 else tensor
    size = torch.abs(wide)
    square = torch.square(torch.clamp(size, max=1e6))
    near = torch.log1p(torch.clamp(size, max=1e6) + square / (1 + torch.sqrt(square + 1)))
    far = torch.log(size) + math.log(2.0)
    return torch.copysign(torch.where(size < 1e6, near, far), wide).to(tensor.dtype)


@required(aten.acosh.default)
def acosh(tensor: Tensor) -> Tensor:
    """Use the logarithm of twice the number where its square runs over."""
    if tensor.dtype.is_complex:
        return NotImplemented
    tensor = tensor.to(torch.get_default_dtype()) if is_exact(tensor.dtype) else tensor
    wide = tensor.to(torch.float32) if tensor.dtype.itemsize < 4 else tensor
    capped = torch.clamp(wide, max=1e6)
    near = torch.log(capped + torch.sqrt(capped - 1) * torch.sqrt(capped + 1))
    result = torch.where(wide < 1e6, near, torch.log(wide) + math.log(2.0))
    return torch.where(wide < 1, math.nan, result).to(tensor.dtype)


@required(aten.hypot.default)
def hypot(left: Tensor, right: Tensor) -> Tensor:
    """Scale by the larger side, whose square might run over."""
    left, right = torch.abs(left), torch.abs(right)
    larger, smaller = torch.maximum(left, right), torch.minimum(left, right)
    ratio = smaller / torch.where(larger == 0, 1.0, larger)
    length = larger * torch.sqrt(1 + torch.square(ratio))
    infinite = torch.logical_or(torch.isinf(left), torch.isinf(right))
    return torch.where(infinite, math.inf, length).to(torch.result_type(left, right))


@required(aten.erfc.default)
def erfc(tensor: Tensor) -> Tensor:
    """Subtract from one: right to the precision of numbers near one, not of small ones."""
    return 1.0 - torch.erf(tensor)


# ------------------------------------------------------------------------------- narrow integers --

_UNSIGNED = {torch.uint8, torch.uint16, torch.uint32, torch.uint64}


def _widened(*tensors: Any) -> tuple[Any, ...] | None:
    """Return bytes and unsigned numbers as int64; None where nothing is one."""
    dtypes = {tensor.dtype for tensor in tensors if isinstance(tensor, Tensor)}
    if not dtypes & {*_UNSIGNED, torch.int8}:
        return None
    return tuple(
        tensor.to(torch.int64) if isinstance(tensor, Tensor) and is_exact(tensor.dtype) else tensor
        for tensor in tensors
    )


@wrapping(aten.div.Tensor_mode)
def divide_rounded(left: Tensor, right: Tensor, *, rounding_mode: str | None) -> Tensor:
    """Divide bytes as wider numbers: the compiler takes unsigned ones for signed."""
    wide = _widened(left, right)
    if wide is None:
        return NotImplemented
    dtype = torch.result_type(left, right)
    if rounding_mode is None:
        return torch.div(*wide)
    return torch.div(*wide, rounding_mode=rounding_mode).to(dtype)


_PRODUCTS = {aten.mm.default, aten.bmm.default, aten.mv.default, aten.dot.default}


def _sums_nothing(left: Tensor) -> bool:
    """Tell whether a product runs over no numbers: the compiler dies of it."""
    return isinstance(left.size(-1), int) and left.size(-1) == 0


def _wide_binary(operator: Any, *, promotes: bool) -> Any:
    def compute(left: Any, right: Any) -> Tensor:
        if operator in _PRODUCTS and _sums_nothing(left):
            shape = [*left.shape[:-1], *right.shape[right.dim() - 1 :]]
            return left.new_zeros(shape if right.dim() > 1 else shape[:-1])
        wide = _widened(left, right)
        if wide is None:
            return NotImplemented
        result = operator(*wide)
        return result if promotes else result.to(torch.result_type(left, right))

    compute.__qualname__ = f"wide_{operator}"
    return compute


for _operator, _promotes in {
    aten.div.Tensor: True,
    aten.div.Scalar: True,
    aten.floor_divide.default: False,
    aten.floor_divide.Scalar: False,
    aten.remainder.Tensor: False,
    aten.remainder.Scalar: False,
    aten.fmod.Tensor: False,
    aten.fmod.Scalar: False,
    aten.mm.default: False,
    aten.bmm.default: False,
    aten.mv.default: False,
    aten.dot.default: False,
}.items():
    wrapping(_operator)(_wide_binary(_operator, promotes=_promotes))


@wrapping(aten.matmul.default)
def matmul(left: Tensor, right: Tensor) -> Tensor:
    """Multiply bytes as wider numbers, and give zeros for a sum of nothing: the compiler dies of it."""
    inner = left.size(-1)
    if isinstance(inner, int) and inner == 0 and left.dim() > 1 and right.dim() > 1:
        batch = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        return left.new_zeros([*batch, left.size(-2), right.size(-1)])
    if is_exact(left.dtype):
        wide = _widened(left, right)
        return NotImplemented if wide is None else torch.matmul(*wide).to(left.dtype)
    return NotImplemented
