# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Quantized matrices: how they are stored, and the operators that compute with them.

A matrix `w` of shape `[out, in]` is stored as integers and one f32 scale for each row and group of
columns: `w[o, i] ≈ scales[o, i // group] * data[o, i]`, symmetric around zero. Rows come in tiles
of 16 that lie side by side, so that a vector instruction reads one column of a tile:

    data:   i8[tiles, groups, group, 16], or for 4 bits u8[tiles, groups, group, 8] with the lane
            of even number in the low half of each byte (IREE's `i4`)
    scales: f32[tiles, groups, 16]

The operators of the namespace `shark_turbine` run eagerly as they are written here; in a compiled
module they are loops that widen each integer in a register (`fx_import/quantized.py`): the matrix
never exists in floating point.
"""

from __future__ import annotations

import torch
from torch.nn import functional

TILE = 16
LARGEST = {4: 7, 8: 127}  # The integers are symmetric: no error is more than half a step.


def quantize_matrix(
    matrix: torch.Tensor, bits: int, group_size: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `(data, scales)` of a finite floating-point matrix `[out, in]`.

    `scale = max|w| / (2 ** (bits - 1) - 1)` for each row and group of `group_size` columns (None:
    the whole row), and `data = round(w / scale)`; rows and groups of zeros have scale 0.
    `group_size` divides `in`.
    """
    rows, columns = matrix.shape
    group = columns if group_size is None else group_size
    with torch.no_grad():
        groups = matrix.detach().float().reshape(rows, -1, group)
        scales = groups.abs().amax(dim=2) / LARGEST[bits]
        steps = torch.where(scales == 0, 1.0, scales)
        rounded = torch.round(groups / steps[:, :, None]).clamp_(-LARGEST[bits], LARGEST[bits])
        data = _tiled(rounded.to(torch.int8))
        if bits == 4:
            data = data.view(torch.uint8)
            data = (data[..., 0::2] & 15) | (data[..., 1::2] << 4)
        return data.contiguous(), _tiled(scales).contiguous()


def dequantize_matrix(data: torch.Tensor, scales: torch.Tensor, rows: int) -> torch.Tensor:
    """Return the f32 matrix `[rows, in]` that is stored."""
    tiles = _integers(data).float() * scales[:, :, None, :]
    return tiles.permute(0, 3, 1, 2).reshape(data.shape[0] * TILE, -1)[:rows]


def columns_of(data: torch.Tensor) -> int:
    """Return the size `in` of the matrix behind `data`."""
    return data.shape[1] * data.shape[2]


def _tiled(values: torch.Tensor) -> torch.Tensor:
    """Turn `[out, ...]` into `[tiles, ..., 16]`, with zeros for the rows that fill the last tile."""
    missing = -values.shape[0] % TILE
    if missing:
        values = torch.cat([values, values.new_zeros(missing, *values.shape[1:])])
    return values.unflatten(0, (-1, TILE)).movedim(1, -1)


def _integers(data: torch.Tensor) -> torch.Tensor:
    """Return data as i8, one integer each."""
    if data.dtype is torch.int8:
        return data
    halves = torch.stack([data & 15, data >> 4], dim=-1).flatten(-2).to(torch.int8)
    return (halves ^ 8) - 8


@torch.library.custom_op("shark_turbine::quantized_linear", mutates_args=())
def quantized_linear(
    x: torch.Tensor, data: torch.Tensor, scales: torch.Tensor, out_features: int
) -> torch.Tensor:
    """Return `x @ w.T` for `x` of shape `[..., in]`: summed in f32, of the dtype of `x`."""
    weight = dequantize_matrix(data, scales, out_features)
    return functional.linear(x.float(), weight).to(x.dtype)


@quantized_linear.register_fake
def _(x: torch.Tensor, data: torch.Tensor, scales: torch.Tensor, out_features: int) -> torch.Tensor:
    torch._check(
        x.shape[-1] == columns_of(data),
        lambda: f"the last dim of x is {x.shape[-1]}, the quantized weight has {columns_of(data)}",
    )
    return x.new_empty(*x.shape[:-1], out_features)


@torch.library.custom_op("shark_turbine::quantized_embedding", mutates_args=())
def quantized_embedding(
    indices: torch.Tensor,
    data: torch.Tensor,
    scales: torch.Tensor,
    num_embeddings: int,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Return the rows of `w` that `indices` name: shape `[*indices.shape, in]`.

    Raises:
        IndexError: an index is not in `[0, num_embeddings)`.
    """
    if bool(((indices < 0) | (indices >= num_embeddings)).any()):
        raise IndexError(f"index out of range: the embedding has {num_embeddings} rows")
    tiles, lanes = indices // TILE, indices % TILE
    if data.dtype is torch.int8:
        integers = data.permute(0, 3, 1, 2)[tiles, lanes]
    else:
        pairs = data.permute(0, 3, 1, 2)[tiles, lanes // 2]
        shift = (lanes % 2 * 4).to(torch.uint8)[..., None, None]
        integers = (((pairs >> shift) & 15).to(torch.int8) ^ 8) - 8
    rows = integers.float() * scales.permute(0, 2, 1)[tiles, lanes][..., None]
    return rows.flatten(-2).to(dtype)


@quantized_embedding.register_fake
def _(
    indices: torch.Tensor,
    data: torch.Tensor,
    scales: torch.Tensor,
    num_embeddings: int,
    dtype: torch.dtype,
) -> torch.Tensor:
    return data.new_empty(*indices.shape, columns_of(data), dtype=dtype)


@torch.library.custom_op("shark_turbine::dequantize", mutates_args=())
def dequantize(
    data: torch.Tensor, scales: torch.Tensor, rows: int, dtype: torch.dtype
) -> torch.Tensor:
    """Return the matrix `[rows, in]` that is stored, in `dtype`."""
    return dequantize_matrix(data, scales, rows).to(dtype).contiguous()


@dequantize.register_fake
def _(data: torch.Tensor, scales: torch.Tensor, rows: int, dtype: torch.dtype) -> torch.Tensor:
    return data.new_empty(rows, columns_of(data), dtype=dtype)
