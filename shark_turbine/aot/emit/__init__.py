# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ROOM 3: a `Program` becomes an `ir.Module`; the only room of the AOT road that knows MLIR."""

from .module import emit_program, verify
from .phases import run_import
from .state import describe_state, with_accessors

__all__ = ["describe_state", "emit_program", "run_import", "verify", "with_accessors"]
