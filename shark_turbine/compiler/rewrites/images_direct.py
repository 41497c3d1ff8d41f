# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Convolutions of images with their channels last as they are: no row of what a point is made of is written.

The compiler cuts the loops over one by sizes that divide it: up to eight points of a line and sixteen
features are added up in registers, and stay there for the whole kernel. Of sizes that nothing divides, and
of weights that leave the cache for each line of points, products of rows (`images_convolutions.py`) are faster.
"""

from __future__ import annotations

from typing import Any

from .convolutions import is_by_patches
from .images_convolutions import padded
from .images_kernels import convolved
from .images_layout import channels_first, channels_last
from .reading import Convolution, read
from .writer import Writer, is_immutable

# What the compiler keeps in registers at most, and less than half of which is too little.
_POINTS, _FEATURES = 8, 16
_LEAST_SUMS = _POINTS * _FEATURES // 2
# Of a weight, 1 MiB in f32: half of a core's second cache.
_MOST_ELEMENTS = 2**18


def direct(operation: Any, writer: Writer) -> Any:
    """Write a dense convolution by a weight that does not change as one operation of `linalg`."""
    found = read(operation)
    if found is None or not _suits(found):
        return None
    image = padded(found, channels_last(found.image, writer), writer)
    dims = len(found.kernel)
    weight = writer.permute(found.weight, [*range(2, 2 + dims), 1, 0])
    result = convolved(writer, image, weight, found.out, found.stride, found.dilation)
    if found.bias is not None:
        result = writer.add(result, found.bias)
    return channels_first(result, writer).value


def _suits(found: Convolution) -> bool:
    is_dense = found.groups == 1 and found.taps > 1 and not is_by_patches(found)
    if not is_dense or len(found.kernel) != 2 or not is_immutable(found.weight.value):
        return False
    sums = _largest_divisor(found.out[1], _POINTS) * _largest_divisor(found.features, _FEATURES)
    elements = found.taps * found.channels * found.features
    return sums >= _LEAST_SUMS and elements <= _MOST_ELEMENTS


def _largest_divisor(size: int, most: int) -> int:
    return next(divisor for divisor in range(most, 0, -1) if size % divisor == 0)
