# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Operator decompositions, and the rewrites that make an exported program fit the compiler.

This package knows PyTorch only: no MLIR, no IREE.
"""

from __future__ import annotations

from .prepare import prepare, prepare_graph
from .table import (
    current_aot_decompositions,
    dispatched_decompositions,
    extend_aot_decompositions,
)

__all__ = [
    "current_aot_decompositions",
    "dispatched_decompositions",
    "extend_aot_decompositions",
    "prepare",
    "prepare_graph",
]
