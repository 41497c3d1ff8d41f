# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Functions of single elements."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .registry import required

aten = torch.ops.aten


def is_exact(dtype: torch.dtype) -> bool:
    """Tell whether a dtype holds integers or booleans."""
    return not (dtype.is_floating_point or dtype.is_complex)


@required(aten.isfinite.default)
def isfinite(tensor: Tensor) -> Tensor:
    """Compare the magnitude with infinity: PyTorch's own form compares a number with itself."""
    if is_exact(tensor.dtype):
        return torch.ones_like(tensor, dtype=torch.bool)
    if tensor.dtype.is_complex:
        return torch.logical_and(torch.isfinite(tensor.real), torch.isfinite(tensor.imag))
    return torch.abs(tensor) < math.inf


@required(aten.isclose.default)
def isclose(
    left: Tensor, right: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Compare with a tolerance; infinities are close to themselves only."""
    if left.dtype.is_complex or right.dtype.is_complex:
        return NotImplemented
    if is_exact(left.dtype):
        wide = torch.float64 if rtol else left.dtype
        left, right = left.to(wide), right.to(wide)
    near = torch.abs(left - right) <= atol + torch.abs(rtol * right)
    result = torch.logical_or(left == right, torch.logical_and(near, torch.isfinite(right)))
    if equal_nan and left.dtype.is_floating_point:
        both = torch.logical_and(torch.isnan(left), torch.isnan(right))
        result = torch.logical_or(result, both)
    return result


@required(aten.fmax.default)
def fmax(left: Tensor, right: Tensor) -> Tensor:
    """Take the larger number; NaN only where both are."""
    return _ignoring_nan(torch.maximum, left, right)


@required(aten.fmin.default)
def fmin(left: Tensor, right: Tensor) -> Tensor:
    """Take the smaller number; NaN only where both are."""
    return _ignoring_nan(torch.minimum, left, right)


def _ignoring_nan(choose: Any, left: Tensor, right: Tensor) -> Tensor:
    if is_exact(torch.result_type(left, right)):
        return choose(left, right)
    left, right = torch.broadcast_tensors(left, right)
    chosen = torch.where(torch.isnan(right), left, choose(left, right))
    return torch.where(torch.isnan(left), right, chosen)


@required(aten.log10.default)
def log10(tensor: Tensor) -> Tensor:
    """Scale the natural logarithm: the artifact's mathematics has no log10."""
    if tensor.dtype.is_complex:
        return NotImplemented
    if is_exact(tensor.dtype):
        tensor = tensor.to(torch.get_default_dtype())
    return torch.log(tensor) * (1.0 / math.log(10.0))


@required(aten.signbit.default)
def signbit(tensor: Tensor) -> Tensor:
    """Tell the zeros apart by their inverse; a NaN counts as positive."""
    if tensor.dtype is torch.bool:
        return torch.zeros_like(tensor)
    if is_exact(tensor.dtype):
        return tensor < 0
    return torch.where(tensor == 0, torch.reciprocal(tensor), tensor) < 0


@required(aten.bitwise_left_shift.Tensor_Scalar)
def shift_left(tensor: Tensor, places: int) -> Tensor:
    """Shift by a tensor of one number: the compiler knows no other form."""
    return torch.bitwise_left_shift(tensor, torch.full((), places, dtype=tensor.dtype))


@required(aten.bitwise_right_shift.Tensor_Scalar)
def shift_right(tensor: Tensor, places: int) -> Tensor:
    """Shift by a tensor of one number: the compiler knows no other form."""
    return torch.bitwise_right_shift(tensor, torch.full((), places, dtype=tensor.dtype))


@required(aten.bitwise_or.Scalar)
def bitwise_or(tensor: Tensor, bits: int) -> Tensor:
    """Combine with a tensor of one number: the compiler knows no other form."""
    return torch.bitwise_or(tensor, torch.full((), bits, dtype=tensor.dtype))


@required(aten.bitwise_xor.Scalar)
def bitwise_xor(tensor: Tensor, bits: int) -> Tensor:
    """Combine with a tensor of one number: the compiler knows no other form."""
    return torch.bitwise_xor(tensor, torch.full((), bits, dtype=tensor.dtype))


@required(aten.copysign.Tensor)
def copysign(magnitude: Tensor, sign: Tensor) -> Tensor:
    """Give the magnitude the sign of another number."""
    if is_exact(torch.result_type(magnitude, sign)):
        magnitude = magnitude.to(torch.get_default_dtype())
    positive = torch.abs(magnitude)
    return torch.where(torch.signbit(sign), -positive, positive).to(
        torch.result_type(magnitude, sign)
    )


@required(aten.frexp.Tensor)
def frexp(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Read mantissa and exponent from the bits of a float32; narrower floats are widened."""
    if tensor.dtype is torch.float64:
        return NotImplemented
    wide = tensor.to(torch.float32)
    # A subnormal has no exponent of its own: scale it into the normal range.
    small = torch.logical_and(torch.abs(wide) < 2.0**-126, wide != 0)
    scaled = torch.where(small, wide * 2.0**32, wide)
    bits = scaled.view(torch.int32)
    exponent = torch.bitwise_and(torch.bitwise_right_shift(bits, 23), 255) - 126
    exponent = torch.where(small, exponent - 32, exponent)
    mantissa = torch.bitwise_or(torch.bitwise_and(bits, -2139095041), 126 << 23)
    mantissa = mantissa.view(torch.float32)
    plain = torch.logical_or(wide == 0, torch.logical_not(torch.isfinite(wide)))
    return (
        torch.where(plain, wide, mantissa).to(tensor.dtype),
        torch.where(plain, 0, exponent).to(torch.int32),
    )


@required(aten.i0.default)
def i0(tensor: Tensor) -> Tensor:
    """Evaluate the modified Bessel function of order 0 by its Chebyshev-like polynomials.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 9.8.1 and 9.8.2 (error below 2e-7).
    """
    if is_exact(tensor.dtype):
        tensor = tensor.to(torch.get_default_dtype())
    size = torch.abs(tensor.to(torch.float32))
    ratio = torch.square(size / 3.75)
    near = _polynomial(
        ratio, (1.0, 3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.0360768, 0.0045813)
    )
    inverse = 3.75 / torch.clamp(size, min=3.75)
    far = _polynomial(
        inverse,
        (
            0.39894228,
            0.01328592,
            0.00225319,
            -0.00157565,
            0.00916281,
            -0.02057706,
            0.02635537,
            -0.01647633,
            0.00392377,
        ),
    )
    far = far * torch.exp(size) * torch.rsqrt(torch.clamp(size, min=3.75))
    return torch.where(size < 3.75, near, far).to(tensor.dtype)


def _polynomial(value: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    result = torch.full_like(value, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = result * value + coefficient
    return result


@required(aten.gcd.default)
def gcd(left: Tensor, right: Tensor) -> Tensor:
    """Run Euclid's algorithm as long as the widest numbers may need it."""
    dtype = torch.result_type(left, right)
    left, right = torch.abs(left.to(dtype)), torch.abs(right.to(dtype))
    rounds = 1 + math.ceil(torch.iinfo(dtype).bits * 1.4405)
    for _ in range(rounds):
        divisor = torch.where(right == 0, 1, right)
        left, right = (
            torch.where(right == 0, left, right),
            torch.where(right == 0, 0, torch.fmod(left, divisor)),
        )
    return left


@required(aten.lcm.default)
def lcm(left: Tensor, right: Tensor) -> Tensor:
    """Divide by the greatest common divisor, which is 0 only for two zeros."""
    divisor = torch.gcd(left, right)
    divisor = torch.where(divisor == 0, 1, divisor)
    return torch.abs(torch.div(left, divisor, rounding_mode="trunc") * right)


@required(aten.gelu.default)
def gelu(tensor: Tensor, *, approximate: str = "none") -> Tensor:
    """Compute the tanh form as it is defined: the compiler's own is off by 5e-5."""
    if approximate != "tanh":
        return NotImplemented
    inner = math.sqrt(2 / math.pi) * (tensor + 0.044715 * tensor * tensor * tensor)
    return 0.5 * tensor * (1 + torch.tanh(inner))
