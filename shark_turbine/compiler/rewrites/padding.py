# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Padding of a depthwise convolution in front of the wider layer that makes its image.

In the blocks of MobileNet, EfficientNet and their like, a product over the channels makes a wide image of a
narrow one, and a depthwise convolution follows. Padding the narrow image, and taking it apart into the
phases of a stride, moves a fraction of the memory. What the product, its bias and its activation make of
the zeros is put back to zero afterwards, by a mask that the compiler joins to the activation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .convolutions import (
    as_product,
    as_sum,
    fits_product,
    fits_sum,
    is_strided,
    padded_sizes,
    phases_of,
    taps_of,
)
from .elementwise import ELEMENTWISE
from .reading import OPERATORS, Convolution, read
from .writer import Tensor, Writer, tensor

# More operations between two convolutions are no activation.
_MOST_BETWEEN = 16
# Products of this depth, of each point that the mask hides, are worth the padding of one point.
_DEPTH_PER_POINT = 10
# The mask has a number for each point, in the artifact.
_MOST_POINTS = 2**17


def pad_before_expansion(operation: Any, writer: Writer) -> Any:
    """Write a depthwise convolution of a wider layer's result, padded in front of that layer."""
    found = read(operation)
    if found is None or found.batch is None or not fits_sum(found):
        return None
    if not any(found.padding) and not is_strided(found):
        return None
    chain = _chain(found, operation)
    if chain is None:
        return None
    wider = read(chain[0])
    if wider is None or not _is_pointwise(wider) or not _gains(found, wider):
        return None
    phases = phases_of(replace(found, image=wider.image), writer)
    product = _product(wider, phases, math.prod(padded_sizes(found)), writer)
    made = _again(chain, product, writer)
    inside = _inside(found, made, writer)
    masked = writer.call("where.ScalarOther", inside, made, 0.0, sizes=made.sizes, like=made)
    apart = writer.view(masked, [found.batch, found.channels, *phases.sizes[2:]])
    return as_sum(found, taps_of(found, apart, writer), writer).value


def _is_pointwise(wider: Convolution) -> bool:
    is_dense = {*wider.kernel, *wider.stride, wider.groups} == {1} and not any(wider.padding)
    return is_dense and wider.image.sizes[2:] == wider.result.sizes[2:] and fits_product(wider)


def _gains(found: Convolution, wider: Convolution) -> bool:
    """Say whether less memory is moved, and few points are made that the mask hides."""
    padded, points = math.prod(padded_sizes(found)), math.prod(found.spatial)
    if padded > _MOST_POINTS or 2 * wider.channels > found.channels:
        return False
    return wider.channels * (padded - points) <= _DEPTH_PER_POINT * padded


def _product(wider: Convolution, phases: Tensor, points: int, writer: Writer) -> Tensor:
    """Return the wider layer's `[batch, features, points, 1, ...]` of the phases."""
    flat = [points, *[1] * (len(wider.kernel) - 1)]
    image = writer.view(phases, [*phases.sizes[:2], *flat])
    result = replace(wider.result, sizes=(wider.batch, wider.features, *flat))
    return as_product(replace(wider, image=image, result=result), [image], writer)


def _inside(found: Convolution, made: Tensor, writer: Writer) -> Tensor:
    """Return which points of the phases come from the image, `[1, 1, points, 1, ...]` bools."""
    along = [
        [
            [before <= phase + stride * step < before + size for step in range(full // stride)]
            for phase in range(stride)
        ]
        for full, stride, before, size in zip(
            padded_sizes(found), found.stride, found.padding, found.spatial, strict=True
        )
    ]
    values = [
        all(point) for phases in itertools.product(*along) for point in itertools.product(*phases)
    ]
    sizes = [1, 1, *made.sizes[2:]]
    # As numbers: of bools the compiler makes tiles that need more stack than there is.
    weights = writer.literal(values, sizes, made.dtype)
    return writer.call("gt.Scalar", weights, 0.5, sizes=sizes, like=replace(made, dtype="i1"))


def _chain(found: Convolution, operation: Any) -> list[Any] | None:
    """Return the convolution that makes the image, and what computes on its result, in their order.

    None where something else uses a part of that, or computes an element from others than those at its
    place in all channels.
    """
    order: list[Any] = []
    if not _collect(found.image.value, found, order):
        return None
    padded = operation.operands[0]
    closed = order if padded == found.image.value else [*order, padded.owner]
    users = [use.owner for each in closed for use in each.results[0].uses]
    return order if all(user in closed or user == operation for user in users) else None


def _collect(value: Any, found: Convolution, order: list[Any]) -> bool:
    """Append the operations behind a value of the image's sizes, operands first."""
    operation = value.owner
    name = getattr(operation, "name", None)
    if operation in order:
        return True
    if name in OPERATORS:
        order.append(operation)
        return len(order) == 1
    if name not in ELEMENTWISE or len(order) > _MOST_BETWEEN:
        return False
    for operand in operation.operands:
        given = tensor(operand)
        if given is not None and given.sizes == found.image.sizes:
            if not _collect(operand, found, order):
                return False
        elif given is not None and any(size != 1 for size in given.sizes[-len(found.kernel) :]):
            return False
    order.append(operation)
    return True


def _again(chain: Sequence[Any], product: Tensor, writer: Writer) -> Tensor:
    """Write the operations of a chain once more, on another result of the convolution."""
    source, *others = chain
    made = {source.results[0]: product.value}
    for operation in others:
        operands = [made.get(value, value) for value in operation.operands]
        made[operation.results[0]] = writer.again(operation, operands, product.sizes)
    return replace(product, value=made[chain[-1].results[0]])
