# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the rewrite `channels-last` does with each operation, in their order."""

from __future__ import annotations

from typing import Any

from shark_turbine.compiler.rewrites.reading import OPERATORS as CONVOLUTIONS
from shark_turbine.compiler.rewrites.writer import Writer

from .convolutions import convolution, is_product
from .moves import MOVES
from .norms import GROUP_NORM, group_norm
from .pools import POOLS, pool
from .transposed import TRANSPOSED, is_apart, transposed

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
