# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rewrites of torch operations in a module, before the compiler sees it: parts of a recipe, by name."""

from .registry import REWRITES, Rewrite, gains_by_winograd, is_rewritable, rewrite

__all__ = ["REWRITES", "Rewrite", "gains_by_winograd", "is_rewritable", "rewrite"]
