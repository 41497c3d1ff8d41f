# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Convolutions of 3 x 3 with fewer multiplications: Winograd's F(2 x 2, 3 x 3).

The image is cut into tiles of 2 x 2 results, each made from 4 x 4 points. Of a tile's 16 points, and of
each kernel, 16 combinations are multiplied, where the sum over the kernel takes 36 products; sums and
differences of four of those are a result. Over all channels each of the 16 is a matrix product (Lavin
and Gray, "Fast Algorithms for Convolutional Networks", 2016). All combinations are sums, differences and
halves, so that results are as exact as those of the plain sum. Only an infinity in the image becomes NaN in
the results that see it, as a difference of two does.

Along one dim the combinations of points d0 to d3 are, in the order in which they stand here,
`d0 - d2, d1 - d3, d2 + d1, d2 - d1`. The first two are the points less those two places further; the
last two are one sum and one difference of the same.
"""

from __future__ import annotations

import math
from typing import Any

from .reading import Convolution, read, with_bias
from .writer import Tensor, Writer, is_immutable

# Of a kernel's row of three, in the order above. The fourth row of the literature's is negative here,
# so that both results are sums: `m0 + m2 + m3` and `m1 + m2 - m3`.
_COMBINATIONS = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5))
# With fewer channels the sums take longer than the products that they save.
_FEWEST_CHANNELS = 64
# Elements of the combinations that are made at a time, of as many images as that are: what is written
# is then still in the processor's cache when it is read. Of larger images it is not, and takes longer.
_ELEMENTS, _MOST_ELEMENTS = 2**20, 2**23
# Parts of a batch; more make a graph that takes long to compile.
_MOST_PARTS = 8


def by_winograd(operation: Any, writer: Writer) -> Any:
    """Write a 3 x 3 convolution by a weight that does not change as 16 products for 36."""
    found = read(operation)
    if found is None or not _suits(found):
        return None
    assert found.batch is not None
    kernels = _kernels(found, writer)
    step = _images_at_once(found)
    parts = [
        _results(found, start, min(step, found.batch - start), kernels, writer)
        for start in range(0, found.batch, step)
    ]
    result = parts[0]
    if len(parts) > 1:
        result = writer.call("cat", parts, 0, sizes=found.result.sizes, like=result)
    return with_bias(found, result, writer).value


def _results(found: Convolution, start: int, count: int, kernels: Tensor, writer: Writer) -> Tensor:
    """Return the `[count, features, *out]` of the images from one on."""
    tall, wide = _tiles(found)
    tiles = count * tall * wide
    points = _points(found, start, count, writer)
    parts = [
        writer.view(part, [4, tiles, found.channels])
        for row in _combine(points, 0, tall, writer)
        for part in _combine(row, 1, wide, writer)
    ]
    left = writer.call("cat", parts, 0, sizes=[16, tiles, found.channels], like=points)
    product = writer.call("bmm", left, kernels, sizes=[16, tiles, found.features], like=left)
    products = writer.view(product, [2, 2, 2, 2, count, tall, wide, found.features])
    # Each result by itself, channels last, and turned once at the end: that is contiguous memory.
    rows = [
        writer.stack([_result(products, down, across, writer) for across in (0, 1)], 3)
        for down in (0, 1)
    ]
    sizes = [count, 2 * tall, 2 * wide, found.features]
    result = writer.view(writer.stack(rows, 2), sizes)
    for dim, size in enumerate(found.out):
        result = writer.part(result, 1 + dim, 0, size)
    return writer.permute(result, [0, 3, 1, 2])


def suits_winograd(operation: Any) -> bool:
    """Say whether a convolution is one that is worth to be written so."""
    found = read(operation)
    return found is not None and _suits(found)


def _suits(found: Convolution) -> bool:
    is_square = found.kernel == (3, 3) and {*found.stride, *found.dilation} == {1}
    is_deep = min(found.channels, found.features) >= _FEWEST_CHANNELS
    if not is_square or not is_deep or found.groups > 1 or found.batch is None:
        return False
    is_cached = _elements_of_one(found) <= _MOST_ELEMENTS
    is_short = -(-found.batch // _images_at_once(found)) <= _MOST_PARTS
    is_plain = found.image.dtype == "f32" and is_immutable(found.weight.value)
    return is_cached and is_short and is_plain


def _images_at_once(found: Convolution) -> int:
    return max(1, _ELEMENTS // _elements_of_one(found))


def _elements_of_one(found: Convolution) -> int:
    return 16 * math.prod(_tiles(found)) * max(found.channels, found.features)


def _tiles(found: Convolution) -> tuple[int, int]:
    tall, wide = (-(-size // 2) for size in found.out)
    return tall, wide


def _points(found: Convolution, start: int, count: int, writer: Writer) -> Tensor:
    """Return padded images as `[2, 2, count, rows, columns, channels]`: their phases apart."""
    images = writer.part(writer.permute(found.image, [0, 2, 3, 1]), 0, start, count)
    counts = [tiles + 1 for tiles in _tiles(found)]
    padding = [0, 0]
    for dim in (1, 0):
        before = found.padding[dim]
        padding += [before, 2 * counts[dim] - before - found.spatial[dim]]
    sizes = [count, 2 * counts[0], 2 * counts[1], found.channels]
    images = writer.call("constant_pad_nd", images, padding, 0.0, sizes=sizes, like=images)
    split = [count, counts[0], 2, counts[1], 2, found.channels]
    return writer.permute(writer.view(images, split), [2, 4, 0, 1, 3, 5])


def _combine(points: Tensor, dim: int, count: int, writer: Writer) -> tuple[Tensor, Tensor]:
    """Return the first two combinations along a dim, and the last two, `count` tiles each.

    Phases of the dim lie along `dim`, the points of a phase along `dim + 3`.
    """
    here, further = (writer.part(points, dim + 3, start, count) for start in (0, 1))
    even, odd = writer.part(further, dim, 0, 1), writer.part(here, dim, 1, 1)
    return writer.subtract(here, further), _with_sign(even, odd, dim, writer)


def _result(products: Tensor, down: int, across: int, writer: Writer) -> Tensor:
    """Return the results at one place of all tiles from `[2, 2, 2, 2, images, rows, columns, features]`.

    The dims say of rows and of columns whether a product is of the first two combinations or of the
    last two, and which of them.
    """

    last = (writer.add, writer.subtract)

    def product(*place: int) -> Tensor:
        found = products
        for index in place:
            found = writer.pick(found, 0, index)
        return found

    def along(kind: int, row: int) -> Tensor:
        direct = product(kind, 0, row, across)
        total = writer.add(direct, product(kind, 1, row, 0))
        return last[across](total, product(kind, 1, row, 1))

    total = writer.add(along(0, down), along(1, 0))
    return last[down](total, along(1, 1))


def _with_sign(left: Tensor, right: Tensor, dim: int, writer: Writer) -> Tensor:
    """Return `left + right` and `left - right` along a dim."""
    sizes = list(left.sizes)
    sizes[dim] = 2
    shape = [2 if index == dim else 1 for index in range(len(sizes))]
    signs = writer.view(writer.literal([1.0, -1.0], [2], left.dtype), shape)
    signed = writer.call("mul.Tensor", right, signs, sizes=sizes, like=right)
    return writer.add(signed, left)


def _kernels(found: Convolution, writer: Writer) -> Tensor:
    """Return the combinations of each kernel, `[16, channels, features]`: constants of the artifact."""
    count = found.channels * found.features
    flat = writer.view(writer.permute(found.weight, [2, 3, 1, 0]), [9, count])
    pairs = [((0, 1), (0, 1)), ((0, 1), (2, 3)), ((2, 3), (0, 1)), ((2, 3), (2, 3))]
    factors = [
        down * across
        for rows, columns in pairs
        for row in rows
        for column in columns
        for down in _COMBINATIONS[row]
        for across in _COMBINATIONS[column]
    ]
    table = writer.literal(factors, [16, 9], flat.dtype)
    mixed = writer.call("mm", table, flat, sizes=[16, count], like=flat)
    return writer.view(mixed, [16, found.channels, found.features])
