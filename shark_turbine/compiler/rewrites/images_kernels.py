# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What convolutions are made of, in operations that the compiler makes good code of, in `linalg`."""

from __future__ import annotations

from collections.abc import Sequence

from .linalg import (
    barrier,
    builtin,
    copied,
    filled,
    from_builtin,
    kind,
    multiply_add,
)
from .writer import Tensor, Writer

# By the number of spatial dims. Of those that are missing the compiler makes no vectors.
_DEPTHWISE = {1: "linalg.depthwise_conv_1d_nwc_wc", 2: "linalg.depthwise_conv_2d_nhwc_hwc"}
_DENSE = {2: "linalg.conv_2d_nhwc_hwcf"}


def columns(
    writer: Writer,
    image: Tensor,
    is_last: bool,
    out: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Return for each point of a result all that it is made of (im2col).

    One operation: put together of parts, each is an operation of its own. Of an image of three channels,
    and a kernel of 7 x 7, they took 4 ms instead of 1.5.

    Args:
        writer: where.
        image: with its padding.
        is_last: whether its channels are last, or where PyTorch has them.
        out: spatial sizes of the result.
        kernel: those of the kernel.
        stride: of each spatial dim.
        dilation: of each spatial dim.

    Returns:
        `[batch, *out, *kernel, channels]`.
    """
    dims = range(len(kernel))
    points, places = [f"x{dim}" for dim in dims], [f"k{dim}" for dim in dims]
    read = [
        f"{point} * {step} + {place} * {apart}"
        for point, step, place, apart in zip(points, stride, places, dilation, strict=True)
    ]
    channels = image.sizes[-1 if is_last else 1]
    sizes = (image.sizes[0], *out, *kernel, channels)
    # By itself: what computes the image would be done again for each point that reads it, one by one,
    # and the product would read the image as well.
    made = copied(
        writer,
        barrier(writer, builtin(writer, image), image.sizes),
        ["b", *read, "c"] if is_last else ["b", "c", *read],
        ["b", *points, *places, "c"],
        Tensor(None, sizes, image.dtype),
    )
    return from_builtin(writer, barrier(writer, made, sizes), sizes, image.dtype)


def convolved(
    writer: Writer,
    image: Tensor,
    weight: Tensor,
    out: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Return a convolution, each channel by itself where the weight has no dim of features.

    Args:
        writer: where.
        image: `[batch, *spatial, channels]` with its padding, of one or two spatial dims; of two where
            the weight has features.
        weight: `[*kernel, channels]`, or `[*kernel, channels, features]`.
        out: spatial sizes of the result.
        stride: of each spatial dim.
        dilation: of each spatial dim.

    Returns:
        `[batch, *out, channels]`, or `[batch, *out, features]`.
    """
    names = _DENSE if len(weight.sizes) > 1 + len(out) else _DEPTHWISE
    result = Tensor(None, (image.sizes[0], *out, weight.sizes[-1]), image.dtype)
    given = builtin(writer, image)
    unknown = [(given, 0)] * result.sizes.count(None)
    vector = f"tensor<{len(out)}xi64>"
    value = writer.write(
        names[len(out)],
        kind(result.sizes, result.dtype),
        [given, builtin(writer, weight), filled(writer, result, unknown)],
        body=multiply_add,
        operandSegmentSizes="array<i32: 2, 1>",
        strides=f"dense<{list(stride)}> : {vector}",
        dilations=f"dense<{list(dilation)}> : {vector}",
    )
    return from_builtin(writer, value, result.sizes, result.dtype)
