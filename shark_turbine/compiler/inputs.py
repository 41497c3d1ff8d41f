# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the compiler reads: a module in a file without a name, and what options it needs."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from shark_turbine import ir
from shark_turbine.errors import CompileError

from .diagnostics import parse
from .probing import operator_name, walk

_BYTECODE_MAGIC = b"ML\xefR"
# The torch pipeline computes these in f64 inside: as f32, long reductions come out wrong, and random
# numbers reach 1. Measured by a walk over PyTorch's operator samples.
_COMPUTED_IN_F64 = re.compile(
    r"^torch\.(?:aten|prims)\."
    r"(?:var|std|(?:native_)?group_norm|instance_norm|rand|uniform|normal|bernoulli|exponential"
    r"|(?:native_)?dropout|rrelu)"
)


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """What about a module decides how it is compiled."""

    name: str | None
    needs_f64: bool


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


def facts(module: Any) -> ModuleFacts:
    """Look through a module once, without printing its weights."""
    name = module.operation.attributes["sym_name"].value if _is_named(module) else None
    return ModuleFacts(name, any(_needs_f64(op) for op in walk(module.operation)))


def _is_named(module: Any) -> bool:
    return "sym_name" in module.operation.attributes


def _needs_f64(operation: Any) -> bool:
    if _COMPUTED_IN_F64.match(operator_name(operation)):
        return True
    if any("f64" in str(value.type) for value in operation.results):
        return True
    # Arguments of functions, and types of globals, stand in attributes.
    return any(
        "f64" in str(operation.attributes[key])
        for key in ("function_type", "type")
        if key in operation.attributes
    )


@contextmanager
def as_file(module: Any) -> Iterator[IO[bytes]]:
    """Write a module as bytecode to a file without a name; it is gone afterwards, in any event."""
    with tempfile.TemporaryFile(prefix="shark_turbine-") as file:
        ir.write_bytecode(module, file)
        file.seek(0)
        yield file
