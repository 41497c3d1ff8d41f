# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Group normalization of images with their channels last."""

from __future__ import annotations

from typing import Any

from .images_layout import channels_first, is_turned, source_of
from .writer import Tensor, Writer, constant, is_none, tensor

GROUP_NORM = "torch.aten.group_norm"


def group_norm(operation: Any, writer: Writer) -> Any:
    """Write what each group of channels is less its mean, over its deviation; None of what is not turned.

    Raises:
        LookupError: an option is not a constant.
    """
    image, count, scale, shift, eps, _ = operation.operands
    found, groups = tensor(image), constant(count)
    if found is None or found.dtype != "f32" or not is_turned(image):
        return None
    if None in found.sizes[1:] or 0 in found.sizes:
        return None
    weight, bias = tensor(scale), tensor(shift)
    if (weight is None and not is_none(scale)) or (bias is None and not is_none(shift)):
        return None
    given = source_of(image)
    batch, *spatial, channels = given.sizes
    assert channels is not None
    grouped = [batch, *spatial, groups, channels // groups]
    apart = writer.view(given, grouped)
    less = writer.subtract(apart, _mean(apart, writer))
    squares = writer.call("mul.Tensor", less, less, sizes=grouped, like=less)
    variance = _mean(squares, writer)
    sizes = variance.sizes
    more = writer.call("add.Scalar", variance, constant(eps), 1, sizes=sizes, like=variance)
    factor = writer.call("rsqrt", more, sizes=sizes, like=more)
    product = writer.call("mul.Tensor", less, factor, sizes=grouped, like=less)
    made = writer.view(product, given.sizes)
    if weight is not None:
        made = writer.call("mul.Tensor", made, weight, sizes=made.sizes, like=made)
    if bias is not None:
        made = writer.add(made, bias)
    return channels_first(made, writer).value


def _mean(given: Tensor, writer: Writer) -> Tensor:
    """Write the mean of each group, `[batch, 1, ..., groups, 1]`.

    One dim after the other: each sum is short, and rounds little.
    """
    dims = [*range(len(given.sizes) - 3, 0, -1), len(given.sizes) - 1]
    for dim in dims:
        sizes = [*given.sizes[:dim], 1, *given.sizes[dim + 1 :]]
        given = writer.call("mean.dim", given, [dim], True, None, sizes=sizes, like=given)
    return given
