# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How the elements of a tensor lie in memory, where that is more than a matter of speed.

A compiled function reads and writes row-major memory. PyTorch programs see strides: a result that
eager gives transposed must come transposed, or a later `view` fails. So a tensor whose memory is a
permutation of its dims crosses the border as its row-major permutation, and the permutation
back is part of the compiled function on the way in, and a view on the way out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

# The dims of a tensor from the outermost to the innermost in memory.
Order = tuple[int, ...]


def memory_order(value: torch.Tensor) -> Order | None:
    """Return the order of a tensor's dims in memory; None where it is row-major, or no order at all.

    Tensors that overlap themselves or have gaps have no order: they cross the border as row-major
    copies. Symbolic sizes count by their hints, so that asking adds no guard.
    """
    sizes, strides = hints(value)
    order = tuple(
        sorted(range(len(sizes)), key=lambda dim: (-strides[dim], -sizes[dim], dim))
        if all(sizes)
        else range(len(sizes))
    )
    if is_row_major(sizes, strides):
        return None
    physical = [sizes[dim] for dim in order], [strides[dim] for dim in order]
    return order if is_row_major(*physical) else None


def inverse(order: Order) -> Order:
    """Return the permutation that undoes `tensor.permute(order)`."""
    back = [0] * len(order)
    for place, dim in enumerate(order):
        back[dim] = place
    return tuple(back)


def hints(value: torch.Tensor) -> tuple[list[int], list[int]]:
    """Return sizes and strides as ints."""
    return [hint(size) for size in value.shape], [hint(stride) for stride in value.stride()]


def is_row_major(sizes: Sequence[int], strides: Sequence[int]) -> bool:
    """Tell whether elements lie one after the other, the last dim innermost."""
    expected = 1
    for size, stride in zip(reversed(sizes), reversed(strides), strict=True):
        if size == 0:
            return True
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def hint(size: Any) -> int:
    """Return an int for a size that may be symbolic."""
    if isinstance(size, int):
        return size
    hint = size.node.hint if size.node.has_hint() else None
    return 2 if hint is None else int(hint)
