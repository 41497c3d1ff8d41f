# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Interpolation between pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .indexing import take
from .registry import required

aten = torch.ops.aten


@required(aten.upsample_bilinear2d.vec)
def upsample_bilinear2d(
    tensor: Tensor,
    output_size: Sequence[Any] | None,
    align_corners: bool,
    scale_factors: Sequence[float] | None,
) -> Tensor:
    """Interpolate rows, then columns: the compiler's own form does not lower."""
    for axis in (0, 1):
        size = tensor.size(axis + 2)
        factor = None if scale_factors is None else scale_factors[axis]
        if output_size is not None:
            target = output_size[axis]
        else:
            assert factor is not None
            target = _scaled(size, factor)
        if target is size or (factor is None and isinstance(target, int) and target == size):
            continue
        tensor = _along(tensor, axis + 2, target, align_corners, factor)
    return tensor


def _scaled(size: Any, factor: float) -> Any:
    """Scale a size and round down; a dynamic size stays one, which `int()` would fix.

    The compiler computes sizes from integers: 1.5 times is 3 halves. A factor like 0.1, which is no
    such fraction, does not compile for a dynamic size.
    """
    above, below = float(factor).as_integer_ratio()
    return size * above // below if below <= 1024 else torch.sym_int(size * factor)


def _along(
    tensor: Tensor, dim: int, target: Any, align_corners: bool, factor: float | None
) -> Tensor:
    size = tensor.size(dim)
    places = torch.arange(target, device=tensor.device).to(torch.float32)
    if align_corners:
        places = places * ((size - 1) / (target - 1) if target > 1 else 0.0)
    else:
        step = size / target if factor is None else 1.0 / factor
        places = torch.clamp((places + 0.5) * step - 0.5, min=0.0)
    low = torch.clamp(places.to(torch.int64), 0, size - 1)
    high = torch.clamp(low + 1, 0, size - 1)
    shape = [-1 if position == dim else 1 for position in range(tensor.dim())]
    weight = (places - low).to(tensor.dtype).reshape(shape)
    left, right = torch.index_select(tensor, dim, low), torch.index_select(tensor, dim, high)
    return left + (right - left) * weight


@required(aten._upsample_nearest_exact1d.default)
def nearest_exact_1d(
    tensor: Tensor, output_size: Sequence[Any], scales: float | None = None
) -> Tensor:
    """Take the pixel in whose area the middle of the new one lies."""
    return _nearest_exact(tensor, output_size, [scales])


@required(aten._upsample_nearest_exact2d.default)
def nearest_exact_2d(
    tensor: Tensor,
    output_size: Sequence[Any],
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Tensor:
    """Take the pixel in whose area the middle of the new one lies."""
    return _nearest_exact(tensor, output_size, [scales_h, scales_w])


@required(aten._upsample_nearest_exact3d.default)
def nearest_exact_3d(
    tensor: Tensor,
    output_size: Sequence[Any],
    scales_d: float | None = None,
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Tensor:
    """Take the pixel in whose area the middle of the new one lies."""
    return _nearest_exact(tensor, output_size, [scales_d, scales_h, scales_w])


def _nearest_exact(
    tensor: Tensor, output_size: Sequence[Any], scales: Sequence[float | None]
) -> Tensor:
    """Compute positions in integers where sizes give them: in floats the halves fall to either side."""
    for axis, (target, scale) in enumerate(zip(output_size, scales, strict=True)):
        size = tensor.size(axis + 2)
        place = torch.arange(target, device=tensor.device)
        if scale is None:
            place = ((2 * place + 1) * size) // (2 * target)
        else:
            place = ((place.to(torch.float32) + 0.5) * (1.0 / scale)).to(torch.int64)
        tensor = take(tensor, axis + 2, torch.clamp(place, 0, size - 1))
    return tensor


@required(
    aten._upsample_nearest_exact1d.vec,
    aten._upsample_nearest_exact2d.vec,
    aten._upsample_nearest_exact3d.vec,
)
def nearest_exact(
    tensor: Tensor, output_size: Sequence[Any] | None, scale_factors: Sequence[float] | None
) -> Tensor:
    """Take the pixel in whose area the middle of the new one lies."""
    if output_size is not None:
        return _nearest_exact(tensor, output_size, [None] * len(output_size))
    assert scale_factors is not None
    targets = [int(tensor.size(axis + 2) * factor) for axis, factor in enumerate(scale_factors)]
    return _nearest_exact(tensor, targets, scale_factors)
