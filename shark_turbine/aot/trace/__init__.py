# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ROOM 2: a `ModuleSpec` becomes a `Program`. Runs user code under torch; no MLIR here."""

from .module import record_module

__all__ = ["record_module"]
