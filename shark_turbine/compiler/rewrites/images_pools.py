# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Pools of images with their channels last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .images_layout import channels_first, is_turned, source_of
from .linalg import maximum
from .reading import DTYPES, reach
from .writer import Tensor, Writer, constant, tensor

_LARGEST = frozenset(f"torch.aten.max_pool{dims}d" for dims in (1, 2, 3))
_MEANS = frozenset(f"torch.aten.adaptive_avg_pool{dims}d" for dims in (1, 2, 3))
POOLS = _LARGEST | _MEANS
# More places of a window make a graph that takes long to compile.
_MOST_PLACES = 15


def pool(operation: Any, writer: Writer) -> Any:
    """Write a pool of an image that was turned; None of others.

    Raises:
        LookupError: an option is not a constant.
    """
    image, result = tensor(operation.operands[0]), tensor(operation.results[0])
    if image is None or result is None or image.dtype not in DTYPES:
        return None
    known = (*image.sizes[1:], *result.sizes[1:])
    if not is_turned(image.value) or None in known or 0 in known:
        return None
    if operation.name in _LARGEST:
        made = _largest(image, result, operation, writer)
    else:
        made = _mean(image, result, writer)
    return None if made is None else channels_first(made, writer).value


def _mean(image: Tensor, result: Tensor, writer: Writer) -> Tensor | None:
    """Return the mean over all points, where that is the whole result."""
    dims = list(range(1, len(image.sizes) - 1))
    if set(result.sizes[2:]) != {1}:
        return None
    given = source_of(image.value)
    sizes = [given.sizes[0], *[1] * len(dims), given.sizes[-1]]
    return writer.call("mean.dim", given, dims, True, None, sizes=sizes, like=given)


def _largest(image: Tensor, result: Tensor, operation: Any, writer: Writer) -> Tensor | None:
    """Return the largest numbers of windows: along each dim by itself."""
    dims = len(image.sizes) - 2
    options = [constant(value) for value in list(operation.operands)[1:5]]
    kernel, stride, padding, dilation = (
        list(values) * dims if len(values) == 1 else list(values) for values in options
    )
    stride = stride or kernel
    if sum(kernel) > _MOST_PLACES:
        return None
    out = [size or 0 for size in result.sizes[2:]]
    given = _padded(source_of(image.value), out, kernel, stride, padding, dilation, writer)
    for dim in range(dims):
        windows = [
            writer.part(given, 1 + dim, at * dilation[dim], out[dim], stride[dim])
            for at in range(kernel[dim])
        ]
        given = windows[0]
        for other in windows[1:]:
            given = maximum(writer, given, other)
    return given


def _padded(
    given: Tensor,
    out: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    writer: Writer,
) -> Tensor:
    """Write an image with what is less than all numbers around it: in front, and as far as windows go."""
    edges: list[int] = []
    sizes = list(given.sizes)
    for dim, before in enumerate(padding):
        size = given.sizes[1 + dim] or 0
        needed = reach(out[dim], kernel[dim], stride[dim], dilation[dim])
        behind = max(0, needed - before - size)
        edges = [before, behind, *edges]
        sizes[1 + dim] = before + size + behind
    if not any(edges):
        return given
    return writer.call("constant_pad_nd", given, [0, 0, *edges], -math.inf, sizes=sizes, like=given)
