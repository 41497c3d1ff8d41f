# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Transposed convolutions whose results do not overlap: each point becomes several."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .images_layout import channels_first, channels_last
from .reading import DTYPES
from .writer import Tensor, Writer, constant, is_immutable, is_none, tensor

TRANSPOSED = frozenset(
    f"torch.aten.conv_transpose{name}" for name in ("1d", "2d.input", "3d.input")
)


@dataclass(frozen=True, slots=True)
class _Transposed:
    """A `[batch, channels, *spatial]` image, and a weight `[channels, features, *kernel]`."""

    image: Tensor
    weight: Tensor
    bias: Tensor | None
    result: Tensor


def transposed(operation: Any, writer: Writer) -> Any:
    """Write a product of rows for all places of the kernel, which are then put in their order."""
    found = _read(operation)
    if found is None:
        return None
    image = channels_last(found.image, writer)
    batch, *spatial, channels = image.sizes
    _, features, *kernel = (size or 0 for size in found.weight.sizes)
    dims, wide = len(kernel), math.prod(kernel) * features
    order = [0, *range(2, 2 + dims), 1]
    weight = writer.view(writer.permute(found.weight, order), [channels, wide])
    rows = writer.rows(image)
    product = writer.call("mm", rows, weight, sizes=[rows.sizes[0], wide], like=rows)
    apart = writer.view(product, [batch, *spatial, *kernel, features])
    pairs = [dim for place in range(dims) for dim in (1 + place, 1 + dims + place)]
    turned = writer.permute(apart, [0, *pairs, 1 + 2 * dims])
    made = writer.view(turned, [batch, *found.result.sizes[2:], features])
    if found.bias is not None:
        made = writer.add(made, found.bias)
    return channels_first(made, writer).value


def is_apart(operation: Any) -> bool:
    """Say whether `transposed` matches one of `TRANSPOSED`."""
    try:
        return _read(operation) is not None
    except LookupError:
        return False


def _read(operation: Any) -> _Transposed | None:
    """Return what is read where each result is made of one point, by a weight that never changes.

    Raises:
        LookupError: an option is not a constant.
    """
    image, weight, bias = map(tensor, list(operation.operands)[:3])
    result = tensor(operation.results[0])
    if image is None or weight is None or result is None or image.dtype not in DTYPES:
        return None
    if bias is None and not is_none(operation.operands[2]):
        return None
    known = (*image.sizes[1:], *weight.sizes, *result.sizes[1:])
    if None in known or 0 in (*known, image.sizes[0]) or not is_immutable(weight.value):
        return None
    stride, padding, more, groups, dilation = map(constant, list(operation.operands)[3:])
    kernel = list(weight.sizes[2:])
    is_plain = groups == 1 and not any([*padding, *more]) and set(dilation) == {1}
    is_tiled = [*stride] * (len(kernel) // len(stride)) == kernel
    if not is_plain or not is_tiled or len(image.sizes) != len(weight.sizes):
        return None
    return _Transposed(image, weight, bias, result)
