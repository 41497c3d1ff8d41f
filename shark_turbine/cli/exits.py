# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exit codes, as docs/command-line.md lists them."""

from __future__ import annotations

from shark_turbine.errors import (
    CompileError,
    ContractError,
    DimensionError,
    ExecutionError,
    TracingError,
    TurbineError,
    UnsupportedTypeError,
)

FINE = 0
FOUND_PROBLEM = 1
MISTAKE = 2
NOT_COMPILED = 3
CALL_FAILED = 4
# EX_SOFTWARE of sysexits.h; from 128 on the number of the signal that ended it is added, as shells do.
BUG = 70
INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143

# What fails so fails by what the compiler was told, whatever the program is.
_OF_OPTIONS = ("options", "target")


def code_of(error: TurbineError) -> int:
    """Return the exit code of a command that ended with an error."""
    match error:
        case CompileError() if error.stage in _OF_OPTIONS:
            return MISTAKE
        case CompileError() | TracingError() | DimensionError() | UnsupportedTypeError():
            return NOT_COMPILED
        case ContractError() | ExecutionError():
            return CALL_FAILED
        case _:
            return MISTAKE
