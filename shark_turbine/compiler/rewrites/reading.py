# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A convolution, read from an operation, and what all its forms share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .writer import Tensor, Writer, constant, tensor

DTYPES = {"f32", "f64"}
_PADS = frozenset({"torch.aten.pad", "torch.aten.constant_pad_nd"})

OPERATORS = frozenset(
    f"torch.aten.{name}" for name in ("convolution", "conv1d", "conv2d", "conv3d")
)


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution of a `[batch, channels, *spatial]` tensor; only the batch may be unknown.

    `padding` are the zeros in front along each dim; behind are as many as the result needs.
    """

    image: Tensor
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    result: Tensor

    @property
    def batch(self) -> int | None:
        return self.image.sizes[0]

    @property
    def channels(self) -> int:
        return _known(self.image.sizes[1])

    @property
    def features(self) -> int:
        return _known(self.weight.sizes[0])

    @property
    def kernel(self) -> tuple[int, ...]:
        return tuple(map(_known, self.weight.sizes[2:]))

    @property
    def spatial(self) -> tuple[int, ...]:
        return tuple(map(_known, self.image.sizes[2:]))

    @property
    def out(self) -> tuple[int, ...]:
        return tuple(map(_known, self.result.sizes[2:]))

    @property
    def taps(self) -> int:
        return math.prod(self.kernel)

    @property
    def needed(self) -> tuple[int, ...]:
        """Sizes of the part of the image, with its padding, that is read."""
        return tuple(map(reach, self.out, self.kernel, self.stride, self.dilation))


def read(operation: Any) -> Convolution | None:
    """Return what one of `OPERATORS` says; None of a convolution that is left to the compiler."""
    image, weight, result = map(
        tensor, (operation.operands[0], operation.operands[1], operation.results[0])
    )
    bias = tensor(operation.operands[2])
    try:
        options = [constant(value) for value in list(operation.operands)[3:]]
        if bias is None and constant(operation.operands[2]) is not None:
            return None
    except LookupError:
        return None
    stride, padding, dilation, *transposed, groups = options
    # `convolution` says whether it is transposed, and has a padding of the result then.
    if image is None or weight is None or result is None or any(transposed[:1]):
        return None
    sizes = (*image.sizes[1:], *weight.sizes, *result.sizes[1:])
    dims = len(weight.sizes) - 2
    if not dims or image.dtype not in DTYPES or None in sizes or 0 in (*sizes, image.sizes[0]):
        return None
    if result.sizes[0] != image.sizes[0] or weight.dtype != image.dtype:
        return None
    stride, padding, dilation = (
        tuple(values * dims if len(values) == 1 else values)
        for values in (stride, padding, dilation)
    )
    image, padding = _without_pad(image, padding)
    found = Convolution(image, weight, bias, stride, padding, dilation, groups, result)
    sees_image = all(before < size for before, size in zip(padding, found.needed, strict=True))
    return found if sees_image else None


def _without_pad(image: Tensor, padding: tuple[int, ...]) -> tuple[Tensor, tuple[int, ...]]:
    """Take the zeros that an operation of its own puts around the image to those of the convolution."""
    operation = image.value.owner
    if getattr(operation, "name", None) not in _PADS:
        return image, padding
    inner = tensor(operation.operands[0])
    try:
        edges, *how = map(constant, list(operation.operands)[1:])
    except LookupError:
        return image, padding
    is_zero = how[-1] in (0, None) and how[0] in ("constant", how[-1])
    # From the last dim to the first, in front and behind.
    before = [*edges[::2], *[0] * len(padding)][: len(padding)][::-1]
    if inner is None or not is_zero or min(edges) < 0 or any(edges[2 * len(padding) :]):
        return image, padding
    if None in inner.sizes[1:] or 0 in inner.sizes:
        return image, padding
    return inner, tuple(here + more for here, more in zip(padding, before, strict=True))


def reach(out: int, kernel: int, stride: int, dilation: int) -> int:
    """Return how many points, one after the other, so many windows go over."""
    return (out - 1) * stride + dilation * (kernel - 1) + 1


def is_readable(operation: Any) -> bool:
    """Say whether a convolution has the sizes and dtypes that it takes to write it in another form."""
    return read(operation) is not None


def with_bias(found: Convolution, product: Tensor, writer: Writer) -> Tensor:
    """Return a result with the bias where there is one."""
    if found.bias is None:
        return product
    bias = writer.view(found.bias, [1, found.features, *[1] * len(found.out)])
    return writer.add(product, bias)


def _known(size: int | None) -> int:
    assert size is not None
    return size
