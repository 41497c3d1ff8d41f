# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Networks of convolutions with their channels last: each point of an image is a row of channels.

PyTorch calls it `torch.channels_last`. A 1 x 1 convolution is then a product of rows with a stored
weight, which has the best code that we know of (`panels.py`); other kernels are one of rows that hold
several points; a depthwise kernel is a sum of vectors; padding adds whole rows.

Each convolution is written with a permutation in front of it and one behind. The permutations behind are
moved down through what computes element by element, pools, and puts images together, until they meet one
in front, and both are gone.
"""

from __future__ import annotations

from typing import Any

from .images_convolutions import convolution, is_product
from .images_moves import MOVES
from .images_norms import GROUP_NORM, group_norm
from .images_pools import POOLS, pool
from .images_transposed import TRANSPOSED, is_apart, transposed
from .reading import OPERATORS as CONVOLUTIONS
from .writer import Writer

_RULES = {
    **dict.fromkeys(CONVOLUTIONS, convolution),
    **dict.fromkeys(TRANSPOSED, transposed),
    **dict.fromkeys(POOLS, pool),
    GROUP_NORM: group_norm,
    **MOVES,
}

OPERATORS = frozenset(_RULES)


def rewrite_channels_last(operation: Any, writer: Writer) -> Any:
    """Write an operation on images with their channels last; None of what has none to do with them."""
    try:
        return _RULES[operation.name](operation, writer)
    except LookupError:  # An option is not a constant.
        return None


def suits_channels_last(operation: Any) -> bool:
    """Say whether the rewrite `channels-last` matches a convolution."""
    if operation.name in TRANSPOSED:
        return is_apart(operation)
    return operation.name in CONVOLUTIONS and is_product(operation)
