# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Convolution and pooling of one picture without a batch, and pools that the compiler does not take."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .elementwise import is_exact
from .indexing import take
from .registry import REQUIRED, required

aten = torch.ops.aten

# From operators to the rank that their input has with a batch.
_BATCHED_RANK = {
    aten.conv1d.default: 3,
    aten.conv1d.padding: 3,
    aten.conv2d.default: 4,
    aten.conv2d.padding: 4,
    aten.conv3d.default: 5,
    aten.conv3d.padding: 5,
    aten.conv_transpose1d.default: 3,
    aten.conv_transpose2d.input: 4,
    aten.conv_transpose3d.input: 5,
    aten.avg_pool1d.default: 3,
    aten.adaptive_avg_pool1d.default: 3,
    aten._adaptive_avg_pool2d.default: 4,
    aten.adaptive_avg_pool2d.default: 4,
    aten._adaptive_avg_pool3d.default: 5,
    aten.adaptive_avg_pool3d.default: 5,
}


def _with_batch(operator: Any, rank: int) -> Callable[..., Any]:
    def batched(tensor: Tensor, *arguments: Any, **keywords: Any) -> Any:
        if tensor.dim() == rank:
            return NotImplemented
        result = operator(tensor.unsqueeze(0), *arguments, **keywords)
        if isinstance(result, tuple):
            return tuple(item.squeeze(0) for item in result)
        return result.squeeze(0)

    return batched


REQUIRED.update({operator: _with_batch(operator, rank) for operator, rank in _BATCHED_RANK.items()})


def _exact_max_pool(operator: Any, rank: int) -> Callable[..., Any]:
    """Give a pool just the elements that its windows reach.

    The compiler fails to verify a pool with a single window that leaves elements over; rounding up
    becomes padding, dim by dim.
    """
    batched = _with_batch(operator, rank + 2)

    def pool(
        tensor: Tensor,
        kernel_size: Sequence[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = (0,) * rank,
        dilation: Sequence[int] = (1,) * rank,
        ceil_mode: bool = False,
    ) -> Any:
        if tensor.dim() != rank + 2:
            steps = list(stride or kernel_size)
            return batched(tensor, kernel_size, steps, list(padding), list(dilation), ceil_mode)
        kernel, steps, edges, spread = (
            list(sizes) * (rank if len(sizes) == 1 else 1)
            for sizes in (kernel_size, stride or kernel_size, padding, dilation)
        )
        sizes = list(tensor.shape[2:])
        if not all(isinstance(size, int) for size in sizes):
            return NotImplemented
        wanted = [
            _reached(size, *window, ceil_mode)  # pyright: ignore[reportCallIssue]
            for size, *window in zip(sizes, kernel, steps, edges, spread, strict=True)
        ]
        if wanted == sizes and not ceil_mode:
            return NotImplemented
        lowest = -math.inf if tensor.dtype.is_floating_point else torch.iinfo(tensor.dtype).min
        amounts = [(0, want - size) for size, want in zip(sizes, wanted, strict=True)]
        fitted = tensor
        for dim, (_, more) in enumerate(amounts):
            if more < 0:
                fitted = fitted.narrow(dim + 2, 0, wanted[dim])
        if any(more > 0 for _, more in amounts):
            pads = [max(amount, 0) for pair in reversed(amounts) for amount in pair]
            fitted = aten.constant_pad_nd.default(fitted, pads, lowest)
        result = operator(fitted, kernel, steps, edges, spread, False)
        if isinstance(result, tuple):
            return result[0], _renumbered(result[1], wanted, sizes)
        return result

    return pool


def _reached(size: int, kernel: int, step: int, edge: int, spread: int, ceil_mode: bool) -> int:
    """Return how many elements the windows reach: more than there are where the last one sticks out."""
    width = (kernel - 1) * spread + 1
    room = size + 2 * edge - width
    windows = -(-room // step) + 1 if ceil_mode else room // step + 1
    if ceil_mode and (windows - 1) * step >= size + edge:
        windows -= 1
    reached = (windows - 1) * step + width - 2 * edge
    return reached if reached > size or (windows == 1 and edge == 0) else size


def _renumbered(places: Tensor, wanted: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """Turn positions among the fitted elements into positions among the given ones."""
    result = torch.zeros_like(places)
    factor = 1
    for want, size in zip(reversed(wanted), reversed(sizes), strict=True):
        result = result + torch.remainder(places, want) * factor
        places = torch.div(places, want, rounding_mode="floor")
        factor *= size
    return result


for _rank, _names in enumerate(
    (
        (aten.max_pool1d.default,),
        (aten.max_pool2d.default, aten.max_pool2d_with_indices.default),
        (aten.max_pool3d.default, aten.max_pool3d_with_indices.default),
    ),
    start=1,
):
    REQUIRED.update({operator: _exact_max_pool(operator, _rank) for operator in _names})


@required(aten.avg_pool2d.default)
def avg_pool2d(
    tensor: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Leave out what no window reaches, where there is a single window."""
    options = (list(padding), ceil_mode, count_include_pad, divisor_override)
    stride = list(stride or kernel_size)
    if tensor.dim() == 3:
        return aten.avg_pool2d.default(tensor.unsqueeze(0), kernel_size, stride, *options).squeeze(
            0
        )
    fitted = tensor
    if not ceil_mode:
        kernel, steps, edges = (
            list(sizes) * (2 if len(sizes) == 1 else 1)
            for sizes in (kernel_size, stride or kernel_size, padding)
        )
        for dim, window in enumerate(zip(kernel, steps, edges, strict=True)):
            size = tensor.size(dim + 2)
            reached = _reached(size, *window, 1, False) if isinstance(size, int) else size
            if isinstance(size, int) and reached < size:
                fitted = fitted.narrow(dim + 2, 0, reached)
    if fitted is tensor:
        return NotImplemented
    return aten.avg_pool2d.default(fitted, kernel_size, stride, *options)


@required(aten.avg_pool3d.default)
def avg_pool3d(
    tensor: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Average over height and width, then over depth."""
    padded = any(padding) and not count_include_pad
    if ceil_mode or padded or tensor.dim() not in {4, 5} or is_exact(tensor.dtype):
        return NotImplemented
    kernel, steps, edges = (
        list(sizes) * (3 if len(sizes) == 1 else 1)
        for sizes in (kernel_size, stride or kernel_size, padding)
    )
    batched = tensor if tensor.dim() == 5 else tensor.unsqueeze(0)
    batch, channels, depth, height, width = batched.shape
    flat = batched.reshape(batch * channels, depth, height, width)
    flat = aten.avg_pool2d.default(flat, kernel[1:], steps[1:], edges[1:])
    _, depth, height, width = flat.shape
    flat = flat.reshape(batch * channels, 1, depth, height * width)
    flat = aten.avg_pool2d.default(flat, [kernel[0], 1], [steps[0], 1], [edges[0], 0])
    result = flat.reshape(batch, channels, flat.size(2), height, width)
    if divisor_override is not None:
        result = result * (math.prod(kernel) / divisor_override)
    return result if tensor.dim() == 5 else result.squeeze(0)


@required(aten.adaptive_max_pool1d.default)
def adaptive_max_pool1d(tensor: Tensor, output_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Pool windows of uneven sizes."""
    return _adaptive_max_pool(tensor, output_size)


@required(aten.adaptive_max_pool2d.default)
def adaptive_max_pool2d(tensor: Tensor, output_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Pool windows of uneven sizes."""
    return _adaptive_max_pool(tensor, output_size)


@required(aten.adaptive_max_pool3d.default)
def adaptive_max_pool3d(tensor: Tensor, output_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Pool windows of uneven sizes."""
    return _adaptive_max_pool(tensor, output_size)


def _adaptive_max_pool(tensor: Tensor, output_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Take each window's elements beside each other, the last repeated in short ones, and reduce."""
    rank = len(output_size)
    sizes = list(tensor.shape[-rank:])
    if not all(isinstance(size, int) for size in [*sizes, *output_size]):
        return NotImplemented
    lead = tensor.dim() - rank
    place = torch.zeros((), dtype=torch.int64, device=tensor.device)
    taken = tensor
    for axis, (size, windows) in enumerate(zip(sizes, output_size, strict=True)):
        members = _window_members(size, windows, tensor.device)
        taken = take(taken, lead + 2 * axis, members.reshape(-1))
        taken = taken.unflatten(lead + 2 * axis, members.shape)
        shape = [1] * (2 * rank)
        shape[2 * axis : 2 * axis + 2] = list(members.shape)
        place = place * size + members.reshape(shape)
    outer = [lead + 2 * axis for axis in range(rank)]
    inner = [lead + 2 * axis + 1 for axis in range(rank)]
    taken = taken.permute([*range(lead), *outer, *inner]).flatten(lead + rank)
    place = place.expand(
        [
            size
            for pair in zip(output_size, _widths(sizes, output_size), strict=True)
            for size in pair
        ]
    )
    place = place.permute([dim - lead for dim in [*outer, *inner]]).flatten(rank)
    values, which = torch.max(taken, -1)
    place = place.expand([*taken.shape]).gather(-1, which.unsqueeze(-1)).squeeze(-1)
    return values, place


def _widths(sizes: Sequence[int], windows: Sequence[int]) -> list[int]:
    return [_width(size, count) for size, count in zip(sizes, windows, strict=True)]


def _width(size: int, windows: int) -> int:
    return max(
        ((index + 1) * size + windows - 1) // windows - index * size // windows
        for index in range(windows)
    )


def _window_members(size: int, windows: int, device: torch.device) -> Tensor:
    index = torch.arange(windows, device=device)
    start = (index * size) // windows
    end = ((index + 1) * size + (windows - 1)) // windows
    offsets = torch.arange(_width(size, windows), device=device)
    return torch.minimum(start.unsqueeze(1) + offsets, end.unsqueeze(1) - 1)


@required(aten.im2col.default)
def im2col(
    tensor: Tensor,
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Tensor:
    """Put the shifted pictures beside each other, one for each place of the kernel."""
    if tensor.dim() == 3:
        return im2col(tensor.unsqueeze(0), kernel_size, dilation, padding, stride).squeeze(0)
    kernel, spread, edges, steps = (
        list(sizes) * (2 if len(sizes) == 1 else 1)
        for sizes in (kernel_size, dilation, padding, stride)
    )
    padded = aten.constant_pad_nd.default(tensor, [edges[1], edges[1], edges[0], edges[0]])
    count = [
        (padded.size(axis + 2) - spread[axis] * (kernel[axis] - 1) - 1) // steps[axis] + 1
        for axis in range(2)
    ]
    shifted = []
    for row in range(kernel[0]):
        top = row * spread[0]
        rows = padded[:, :, top : top + steps[0] * (count[0] - 1) + 1 : steps[0]]
        for column in range(kernel[1]):
            left = column * spread[1]
            part = rows[:, :, :, left : left + steps[1] * (count[1] - 1) + 1 : steps[1]]
            shifted.append(part.flatten(2))
    return torch.stack(shifted, 2).flatten(1, 2)
