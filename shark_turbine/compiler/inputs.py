# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the compiler reads: a module in a file without a name."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from shark_turbine import ir
from shark_turbine.errors import CompileError

from .diagnostics import parse

_BYTECODE_MAGIC = b"ML\xefR"


def load(module: Any) -> Any:
    """Return an `ir.Module`; text and bytecode are parsed.

    Raises:
        CompileError: the bytes are no MLIR module.
    """
    if not isinstance(module, bytes | bytearray | memoryview | str):
        return module
    data = module if isinstance(module, str) else bytes(module)
    context = ir.Context()
    with context:
        try:
            return ir.Module.parse(data, context)
        except ir.MLIRError as error:
            raise _not_a_module(error) from error


def _not_a_module(error: Any) -> CompileError:
    diagnostics = parse(f"{error}")
    first = str(error).splitlines()
    return CompileError(
        "the input is no valid MLIR module",
        stage="parse",
        diagnostics=diagnostics,
        got="\n".join(first[:6]),
        expected="an ir.Module, or MLIR as text or bytecode",
    )


@contextmanager
def as_file(module: Any) -> Iterator[IO[bytes]]:
    """Write a module as bytecode to a file without a name; it is gone afterwards, in any event."""
    with tempfile.TemporaryFile(prefix="shark_turbine-") as file:
        ir.write_bytecode(module, file)
        file.seek(0)
        yield file
