# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rewrites of torch operations in a module, before the compiler sees it: parts of a recipe, by name."""

from .images import suits_channels_last
from .reading import OPERATORS as CONVOLUTIONS
from .registry import (
    REWRITES,
    Rewrite,
    gains_by_heads,
    gains_by_panels,
    gains_by_winograd,
    is_rewritable,
    rewrite,
)
from .writer import Tensor, is_external, tensor

__all__ = [
    "CONVOLUTIONS",
    "REWRITES",
    "Rewrite",
    "Tensor",
    "gains_by_heads",
    "gains_by_panels",
    "gains_by_winograd",
    "is_external",
    "is_rewritable",
    "rewrite",
    "suits_channels_last",
    "tensor",
]
