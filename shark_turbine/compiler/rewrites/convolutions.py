# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Convolutions in the forms that the compiler makes fast code of, on CPUs.

Both forms take the input apart into *taps*: for each place of the kernel, the part of the input that it
is multiplied with. A convolution with a stride is split into the phases of the stride first, so that
taps are contiguous along the last dim.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .reading import Convolution, read, with_bias
from .writer import Tensor, Writer

# More taps make a graph that takes long to compile. Gradients of weights are convolutions with
# kernels as large as an image.
_MOST_TAPS = {"products": 128, "sums": 64}
# The compiler has no code of its own for depthwise kernels of three dims.
_MOST_TAPS_OF_A_VOLUME = 128
# Of a batch that is not known each tap brings sizes of its own, and a dispatch may take 64 of them.
_MOST_TAPS_OF_A_DYNAMIC_BATCH = 25
# Elements of all taps together: they are written to memory.
_MOST_ELEMENTS = 2**26
# Images for which the product is written out one by one: what is written for one is then still in the
# processor's cache when it is read. Twice as fast as one product for 8 images.
_MOST_UNROLLED = 8


def dense_as_products(operation: Any, writer: Writer) -> Any:
    """Write a convolution as a matrix product of its weight with the taps of its input (im2col)."""
    found = read(operation)
    if found is None or not fits_product(found):
        return None
    if is_by_patches(found):
        found = _by_points(found, writer)
    return as_product(found, taps_of(found, phases_of(found, writer), writer), writer).value


def narrow_as_products(operation: Any, writer: Writer) -> Any:
    """Write a convolution as a product where the compiler's own code for it is slower.

    Of wide images with many channels it makes good code, which needs no memory for the taps: 64
    channels of 56 x 56 take 2.7 ms instead of 3.5, 128 take 11.2 instead of 15.9.
    """
    found = read(operation)
    if found is not None and _suits_direct_code(found):
        return None
    return dense_as_products(operation, writer)


def _suits_direct_code(found: Convolution) -> bool:
    is_plain = found.groups == 1 and len(found.kernel) == 2 and set(found.stride) == {1}
    is_wide = found.out[-1] >= 32 and found.channels >= 20 and found.features >= 32
    return is_plain and is_wide and found.taps > 1


def depthwise_as_sums(operation: Any, writer: Writer) -> Any:
    """Write a convolution of each channel by itself as a sum of the taps times numbers."""
    found = read(operation)
    if found is None or not fits_sum(found):
        return None
    return as_sum(found, taps_of(found, phases_of(found, writer), writer), writer).value


def fits_product(found: Convolution) -> bool:
    """Say whether the taps of a convolution that is not depthwise are few and small."""
    count = 1 if found.batch is None else found.batch
    elements = found.taps * found.channels * math.prod(found.out) * count
    is_short = is_by_patches(found) or found.taps <= _MOST_TAPS["products"]
    return is_short and elements <= _MOST_ELEMENTS and not is_depthwise(found)


def fits_sum(found: Convolution) -> bool:
    """Say whether a convolution is depthwise, and its taps are few."""
    most = _MOST_TAPS_OF_A_VOLUME if len(found.kernel) == 3 else _MOST_TAPS["sums"]
    if found.batch is None:
        most = _MOST_TAPS_OF_A_DYNAMIC_BATCH
    return is_depthwise(found) and found.taps <= most


def is_depthwise(found: Convolution) -> bool:
    """Say whether each channel is convolved by itself."""
    return found.groups == found.channels == found.features and found.groups > 1


def is_by_patches(found: Convolution) -> bool:
    """Say whether each point of the image is read once, by one of several places of the kernel."""
    return found.taps > 1 and found.kernel == found.stride and set(found.dilation) == {1}


def _by_points(found: Convolution, writer: Writer) -> Convolution:
    """Write the points of each patch as channels of one point: no taps are put side by side."""
    patches = writer.view(
        phases_of(found, writer), [found.batch, found.channels * found.taps, *found.out]
    )
    ones = tuple(1 for _ in found.kernel)
    depth = found.channels // found.groups * found.taps
    weight = writer.view(found.weight, [found.features, depth, *ones])
    zeros = tuple(0 for _ in found.kernel)
    return replace(found, image=patches, weight=weight, stride=ones, padding=zeros)


def as_product(found: Convolution, taps: Sequence[Tensor], writer: Writer) -> Tensor:
    """Write the result of a convolution as the product of its weight with the taps."""
    if found.batch is None or found.batch > _MOST_UNROLLED:
        product = _product_of_all(found, taps, writer)
    elif found.batch == 1:
        product = writer.view(_product_of_one(found, taps, 0, writer), found.result.sizes)
    else:
        images = [_product_of_one(found, taps, index, writer) for index in range(found.batch)]
        product = writer.stack(images, 0)
    return with_bias(found, product, writer)


def as_sum(found: Convolution, taps: Sequence[Tensor], writer: Writer) -> Tensor:
    """Write the result of a depthwise convolution as the sum of the taps times its weights."""
    flat = writer.view(found.weight, [found.channels, found.taps])
    ones = [1] * len(found.out)
    total: Tensor | None = None
    for index, tap in enumerate(taps):
        factor = writer.view(writer.part(flat, 1, index, 1), [1, found.channels, *ones])
        term = writer.call("mul.Tensor", tap, factor, sizes=found.result.sizes, like=tap)
        total = term if total is None else writer.add(total, term)
    assert total is not None
    return with_bias(found, total, writer)


def _product_of_one(
    found: Convolution, taps: Sequence[Tensor], index: int, writer: Writer
) -> Tensor:
    """Return the `[features, *out]` of one image."""
    groups, points = found.groups, math.prod(found.out)
    columns = writer.stack([writer.pick(tap, 0, index) for tap in taps], 1)
    depth = found.channels // groups * found.taps
    if groups == 1:
        left = writer.view(found.weight, [found.features, depth])
        right = writer.view(columns, [depth, points])
        product = writer.call("mm", left, right, sizes=[found.features, points], like=left)
    else:
        rows = found.features // groups
        left = writer.view(found.weight, [groups, rows, depth])
        right = writer.view(columns, [groups, depth, points])
        product = writer.call("bmm", left, right, sizes=[groups, rows, points], like=left)
    return writer.view(product, [found.features, *found.out])


def _product_of_all(found: Convolution, taps: Sequence[Tensor], writer: Writer) -> Tensor:
    """Return the `[batch, features, *out]` of all images by one product."""
    groups, points = found.groups, math.prod(found.out)
    depth, rows = found.channels // groups * found.taps, found.features // groups
    if groups > 1:
        columns = writer.view(writer.stack(taps, 2), [found.batch, groups, depth, points])
        left = writer.view(found.weight, [1, groups, rows, depth])
        sizes = [found.batch, groups, rows, points]
        product = writer.call("matmul", left, columns, sizes=sizes, like=left)
        return writer.view(product, found.result.sizes)
    # Images side by side: one large product is faster than one for each of them.
    swap = [1, 0, *range(2, 2 + len(found.out))]
    columns = writer.stack([writer.permute(tap, swap) for tap in taps], 1)
    width = None if found.batch is None else found.batch * points
    left = writer.view(found.weight, [rows, depth])
    right = writer.view(columns, [depth, width])
    product = writer.call("mm", left, right, sizes=[rows, width], like=left)
    return writer.permute(writer.view(product, [rows, found.batch, *found.out]), swap)


def taps_of(found: Convolution, image: Tensor, writer: Writer) -> list[Tensor]:
    """Return for each place of the kernel a `[batch, channels, *out]` part of the phases of the image."""
    dims = len(found.kernel)
    taps = []
    for place in itertools.product(*map(range, found.kernel)):
        offsets = [at * step for at, step in zip(place, found.dilation, strict=True)]
        tap = image
        if is_strided(found):
            for offset, stride in zip(offsets, found.stride, strict=True):
                tap = writer.pick(tap, 2, offset % stride)
        for dim in range(dims):
            start = offsets[dim] // found.stride[dim]
            tap = writer.part(tap, 2 + dim, start, found.out[dim])
        taps.append(tap)
    return taps


def phases_of(found: Convolution, writer: Writer) -> Tensor:
    """Pad the image; with a stride give `[batch, channels, *strides, *rest]`, a phase of it each."""
    dims = range(len(found.kernel))
    image = found.image
    full = padded_sizes(found)
    padding = []
    for dim in dims:
        before = found.padding[dim]
        # The last points of the image may not be read.
        read = min(found.spatial[dim], full[dim] - before)
        image = writer.part(image, 2 + dim, 0, read)
        padding = [before, full[dim] - before - read, *padding]
    outer = list(image.sizes[:2])
    if any(padding):
        image = writer.call(
            "constant_pad_nd", image, padding, 0.0, sizes=[*outer, *full], like=image
        )
    if not is_strided(found):
        return image
    split = [
        size
        for length, stride in zip(full, found.stride, strict=True)
        for size in (length // stride, stride)
    ]
    apart = writer.view(image, [*outer, *split])
    return writer.permute(
        apart, [0, 1, *(3 + 2 * dim for dim in dims), *(2 + 2 * dim for dim in dims)]
    )


def padded_sizes(found: Convolution) -> list[int]:
    """Return the sizes of the image with its padding: multiples of the strides that hold every tap."""
    return [
        -(-size // stride) * stride for size, stride in zip(found.needed, found.stride, strict=True)
    ]


def is_strided(found: Convolution) -> bool:
    """Say whether the image is taken apart into phases."""
    return any(stride > 1 for stride in found.stride)
