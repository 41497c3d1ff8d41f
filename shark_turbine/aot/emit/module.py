# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The module: state first, then exported procedures, then the functions that they call."""

from __future__ import annotations

from typing import Any

from shark_turbine import ir
from shark_turbine.errors import CompileError, TracingError, TurbineError
from shark_turbine.fx_import import ProgramImporter

from ..program import JitFunction, Program
from . import own_memory
from .globals import emit_global
from .procedures import emit_procedure


def emit_program(program: Program, context: Any = None) -> Any:
    """Write a program as one verified `ir.Module`.

    Large tensors are not copied: the module refers to their memory.

    Raises:
        TracingError: an operator cannot be written; the message names it and its source line.
        CompileError: the module does not verify.
    """
    context = context or ir.Context()
    with context, ir.Location.unknown():
        module = ir.Module.create()
        module.operation.attributes["sym_name"] = ir.StringAttr.get(program.name)
        with ir.InsertionPoint(module.body):
            sharing = own_memory.sharing(program.globals)
            for item in program.globals:
                emit_global(item, context, shares_start=item.symbol in sharing)
        functions = _import_functions(program, module)
        first_function = next(iter(functions.values()), None)
        place = ir.InsertionPoint(
            module.body if first_function is None else first_function.operation
        )
        symbols = {function.symbol: function for function in program.jit_functions}
        types = {item.symbol: item.type for item in program.globals}
        for procedure in program.procedures:
            emit_procedure(procedure, symbols, functions, types, place, context)
        verify(module)
    return module


def _import_functions(program: Program, module: Any) -> dict[str, Any]:
    importer = ProgramImporter(module)
    return {
        function.symbol: _import_function(importer, function) for function in program.jit_functions
    }


def _import_function(importer: ProgramImporter, function: JitFunction) -> Any:
    try:
        return importer.import_function(
            function.program, name=function.symbol, globals=function.globals
        )
    except TurbineError:
        raise
    except Exception as failure:
        raise TracingError(
            f"the function {function.symbol} cannot be written as MLIR: {failure}",
            where=function.symbol,
        ) from failure


def verify(module: Any) -> None:
    """Run MLIR's verifier over a module.

    Raises:
        CompileError: the module is not valid.
    """
    try:
        module.operation.verify()
    except ir.MLIRError as failure:
        raise CompileError(
            "the module that was written does not verify; this is a defect of shark_turbine",
            stage="verify",
            got=str(failure),
            fix="report it with the program that shows it",
        ) from failure
