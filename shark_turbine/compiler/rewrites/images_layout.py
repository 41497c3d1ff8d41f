# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Turning images: `[batch, channels, *spatial]` and `[batch, *spatial, channels]`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .writer import Tensor, Writer, constant, tensor

PERMUTE = "torch.aten.permute"


def order_of(value: Any) -> list[int] | None:
    """Return the order in which a permutation has made a value of its operand; None of other values."""
    if getattr(value.owner, "name", None) != PERMUTE:
        return None
    try:
        order = constant(value.owner.operands[1])
    except LookupError:
        return None
    return [dim % len(order) for dim in order]


def turn_of(value: Any) -> list[int] | None:
    """Return the order in which a value, made with its channels last, was turned; None of other values.

    Channels may be two dims, as groups and the channels of each.
    """
    order = order_of(value)
    if order is None or len(order) < 3:
        return None
    first = order[1]
    is_turn = order == [0, *range(first, len(order)), *range(1, first)]
    # The channels of an image are fewer dims than its others: all else turns them to the end.
    return order if is_turn and len(order) - first <= first - 1 else None


def is_turned(value: Any) -> bool:
    """Say whether a value was made with its channels last, as one dim, and turned."""
    order = turn_of(value)
    return order is not None and order[1] == len(order) - 1


def source_of(value: Any) -> Tensor:
    """Return what a permutation has made a value of."""
    found = tensor(value.owner.operands[0])
    assert found is not None
    return found


def inverse(order: Sequence[int]) -> list[int]:
    """Return the order that undoes another."""
    return [list(order).index(dim) for dim in range(len(order))]


def to_first(rank: int, channels: int = 1) -> list[int]:
    """Return the order that puts channels, which are the last dims, where PyTorch has them."""
    return [0, *range(rank - channels, rank), *range(1, rank - channels)]


def turned_back(given: Tensor, order: Sequence[int], writer: Writer) -> Tensor:
    """Write what makes a tensor when it is turned by an order."""
    if order_of(given.value) == list(order):
        return source_of(given.value)
    return writer.permute(given, inverse(order))


def channels_last(given: Tensor, writer: Writer) -> Tensor:
    """Write an image with its channels last; what it was turned from, where it was."""
    return turned_back(given, to_first(len(given.sizes)), writer)


def channels_first(given: Tensor, writer: Writer) -> Tensor:
    """Write an image, whose channels are last, as PyTorch has it."""
    return writer.permute(given, to_first(len(given.sizes)))
