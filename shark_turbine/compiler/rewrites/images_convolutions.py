# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Convolutions of images with their channels last."""

from __future__ import annotations

import math
from typing import Any

from .convolutions import fits_product, is_by_patches, is_depthwise
from .images_kernels import columns, convolved
from .images_layout import channels_first, channels_last, is_turned
from .reading import Convolution, read
from .writer import Tensor, Writer, is_immutable

# Elements of a row for each point of the result: more do not stay in a cache until they are read.
_MOST_ELEMENTS = 2**21
# Of each product, where that row is one for each row of the kernel.
_LEAST_DEPTH = 128


def convolution(operation: Any, writer: Writer) -> Any:
    """Write a convolution as products of rows with its weight, or of each channel by itself."""
    found = read(operation)
    if found is None or not _suits(found):
        return None
    if is_depthwise(found):
        result = _depthwise(found, writer)
    elif is_by_patches(found):
        result = _product(found, *_patches(found, writer), writer)
    elif _is_large(found):
        result = _by_rows_of_kernel(found, writer)
    else:
        result = _product(found, *_columns(found, writer), writer)
    return channels_first(result, writer).value


def is_product(operation: Any) -> bool:
    """Say whether `convolution` matches one."""
    found = read(operation)
    return found is not None and _suits(found)


def _suits(found: Convolution) -> bool:
    if not is_immutable(found.weight.value):
        return False
    return is_depthwise(found) or (found.groups == 1 and fits_product(found))


def _product(found: Convolution, rows: Tensor, weight: Tensor, writer: Writer) -> Tensor:
    """Write a row for each point times a weight in the same order; return `[batch, *out, features]`."""
    count = None if found.batch is None else found.batch * math.prod(found.out)
    depth = found.taps * found.channels
    flat = writer.view(rows, [count, depth])
    matrix = writer.view(weight, [found.features, depth])
    sizes = [count, found.features]
    product = writer.call("linear", flat, matrix, found.bias, sizes=sizes, like=flat)
    return writer.view(product, [found.batch, *found.out, found.features])


def _is_large(found: Convolution) -> bool:
    """Say whether a row for each point would be much to write, and its parts are rows as well."""
    depth = math.prod(found.kernel[1:]) * found.channels
    elements = math.prod(found.out) * found.kernel[0] * depth
    is_plain = found.batch == 1 and found.stride[0] == 1 and found.kernel[0] > 1
    return is_plain and depth >= _LEAST_DEPTH and elements > _MOST_ELEMENTS


def _by_rows_of_kernel(found: Convolution, writer: Writer) -> Tensor:
    """Return the sum of a product for each row of the kernel.

    The rows of one are those of the next, an image's row further: each is written once.
    """
    image, is_last = _image(found, writer)
    tall, wide = found.needed[0], found.out[1:]
    kernel = (1, *found.kernel[1:])
    parts = columns(writer, image, is_last, (tall, *wide), kernel, found.stride, found.dilation)
    depth = math.prod(kernel) * found.channels
    lines = writer.view(parts, [tall, math.prod(wide), depth])
    weights = writer.view(_weight(found, writer), [found.features, found.kernel[0], depth])
    total: Tensor | None = None
    for place in range(found.kernel[0]):
        rows = writer.part(lines, 0, place * found.dilation[0], found.out[0])
        flat = writer.view(rows, [math.prod(found.out), depth])
        weight = writer.pick(weights, 1, place)
        sizes = [flat.sizes[0], found.features]
        bias = found.bias if total is None else None
        product = writer.call("linear", flat, weight, bias, sizes=sizes, like=flat)
        total = product if total is None else writer.add(product, total)
    assert total is not None
    return writer.view(total, [found.batch, *found.out, found.features])


def _columns(found: Convolution, writer: Writer) -> tuple[Tensor, Tensor]:
    """Return for each point of the result a row of all that it is made of, and the weight to match."""
    weight = _weight(found, writer)
    if found.taps == 1:
        image = padded(found, channels_last(found.image, writer), writer)
        for dim, (out, stride) in enumerate(zip(found.out, found.stride, strict=True)):
            image = writer.part(image, 1 + dim, 0, out, stride)
        return image, weight
    image, is_last = _image(found, writer)
    rows = columns(writer, image, is_last, found.out, found.kernel, found.stride, found.dilation)
    return rows, weight


def _weight(found: Convolution, writer: Writer) -> Tensor:
    """Return `[features, *kernel, channels]`."""
    return writer.permute(found.weight, [0, *range(2, 2 + len(found.kernel)), 1])


def _image(found: Convolution, writer: Writer) -> tuple[Tensor, bool]:
    """Return the image with its padding, and whether its channels are last: it is read as it lies."""
    is_last = is_turned(found.image.value)
    image = channels_last(found.image, writer) if is_last else found.image
    return padded(found, image, writer, first=1 if is_last else 2), is_last


def _patches(found: Convolution, writer: Writer) -> tuple[Tensor, Tensor]:
    """Return the same where each point of the image is read once: it is taken apart."""
    dims = len(found.kernel)
    split = [size for pair in zip(found.out, found.kernel, strict=True) for size in pair]
    if is_turned(found.image.value):
        image = padded(found, channels_last(found.image, writer), writer)
        apart = writer.view(image, [found.batch, *split, found.channels])
        order = [0, *range(1, 2 * dims, 2), *range(2, 2 * dims + 1, 2), 2 * dims + 1]
        weight = _weight(found, writer)
    else:
        image = padded(found, found.image, writer, first=2)
        apart = writer.view(image, [found.batch, found.channels, *split])
        order = [0, *range(2, 2 * dims + 1, 2), 1, *range(3, 2 * dims + 2, 2)]
        weight = found.weight
    return writer.permute(apart, order), weight


def _depthwise(found: Convolution, writer: Writer) -> Tensor:
    """Return each channel's convolution by itself, `[batch, *out, channels]`."""
    image = padded(found, channels_last(found.image, writer), writer)
    dims = len(found.kernel)
    weight = writer.view(found.weight, [found.channels, *found.kernel])
    turned = writer.permute(weight, [*range(1, 1 + dims), 0])
    options = (found.out, found.stride, found.dilation)
    if dims < 3:
        total = convolved(writer, image, turned, *options)
    else:
        total = _depthwise_of_volume(found, image, turned, writer)
    return total if found.bias is None else writer.add(total, found.bias)


def _depthwise_of_volume(
    found: Convolution, image: Tensor, weight: Tensor, writer: Writer
) -> Tensor:
    """Return the sum over the depth of the kernel, of images one behind the other."""
    deep, *out = found.out
    options = (out, found.stride[1:], found.dilation[1:])
    count = None if found.batch is None else found.batch * deep
    sizes = [found.batch, *found.out, found.channels]
    total: Tensor | None = None
    for place in range(found.kernel[0]):
        part = writer.part(image, 1, place * found.dilation[0], deep, found.stride[0])
        images = writer.view(part, [count, *part.sizes[2:]])
        made = convolved(writer, images, writer.pick(weight, 0, place), *options)
        total = made if total is None else writer.add(made, total)
    assert total is not None
    return writer.view(total, sizes)


def padded(found: Convolution, image: Tensor, writer: Writer, first: int = 1) -> Tensor:
    """Write the part of an image that is read, with its padding; spatial dims begin at the first."""
    padding: list[int] = []
    sizes = list(image.sizes)
    for dim, (full, before) in enumerate(zip(found.needed, found.padding, strict=True)):
        # The last points of the image may not be read.
        length = min(found.spatial[dim], full - before)
        image = writer.part(image, first + dim, 0, length)
        padding = [before, full - before - length, *padding]
        sizes[first + dim] = full
    if not any(padding):
        return image
    inner = [0, 0] * (len(sizes) - first - len(found.kernel))
    return writer.call("constant_pad_nd", image, [*inner, *padding], 0.0, sizes=sizes, like=image)
