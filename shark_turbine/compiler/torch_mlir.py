# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lower torch operators with the separate torch-mlir package, for IREE or for other compilers.

That package knows nothing of IREE's operations: what it gets are functions of torch operations
alone. Reads of globals become arguments (for IREE) or constants (for others).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from shark_turbine import ir
from shark_turbine.errors import CompileError, Diagnostic

from . import inputs
from .diagnostics import first_error, first_location, parse
from .facts import facts
from .probing import walk
from .tools import run_tool

Kind = Literal["linalg-on-tensors", "stablehlo", "tosa"]

_CHILD = Path(__file__).with_name("torch_mlir_child.py")
_CHILD_MISSES_PACKAGE = 77
_SUFFIX = "$linalg"

# How a value crosses between torch's types and the builtin ones.
_TO_TORCH = {
    "torch_c.from_builtin_tensor",
    "torch_c.from_i64",
    "torch_c.from_f64",
    "torch_c.from_i1",
}
_TO_BUILTIN = {
    "torch_c.to_builtin_tensor",
    "torch_c.to_i64",
    "torch_c.to_f64",
    "torch_c.to_i1",
}
_SCALARS = {"!torch.int": "i64", "!torch.float": "f64", "!torch.bool": "i1"}


def lower(
    module: Any, kind: Kind, *, timeout: float | None = 600.0, name: str | None = None
) -> str:
    """Return a module as text in a dialect of MLIR that other compilers take.

    Immutable globals become constants; run-time contracts are left out.

    Args:
        module: an `ir.Module`, or MLIR as bytecode or text, with torch operations.
        kind: `linalg-on-tensors`, `stablehlo` or `tosa`.
        timeout: seconds until the lowering is stopped; None waits for ever.
        name: what messages call the module; None is its symbol.

    Raises:
        CompileError: the torch-mlir package is missing or refuses the module, or the module does
            what only IREE can express, such as mutable globals.
    """
    if kind not in get_args(Kind):
        raise CompileError(
            "there is no such form to lower to",
            stage="options",
            got=repr(kind),
            expected=", ".join(get_args(Kind)),
        )
    source = inputs.load(module)
    with source.context:
        copy = source.operation.clone().operation
        name = name or facts(source).name
        initial_values = dict(_take_globals(copy))
        for function in _functions(copy):
            _drop_contracts(function)
            _to_torch_types(function)
            _inline_globals(function, initial_values, name)
            _check_pure(function, name)
        return _run(copy, kind, timeout, name, locations=False)


def lower_for_iree(module: Any, *, timeout: float | None, name: str | None) -> Any:
    """Return a copy of a module in which torch functions call lowered twins of themselves.

    Raises:
        CompileError: the torch-mlir package is missing or refuses a function.
    """
    with module.context, ir.Location.unknown():
        copy = ir.Module.parse(_bytecode(module), module.context)
        functions = [each for each in _functions(copy.operation) if _is_torch_function(each)]
        if not functions:
            return copy
        pure = ir.Module.create()
        twins = [_make_twin(function, pure, name) for function in functions]
        text = _run(pure.operation, "linalg-on-tensors", timeout, name, locations=True)
        lowered = ir.Module.parse(text, module.context)
        end = ir.InsertionPoint(copy.body)
        types = {}
        for operation in list(lowered.body.operations):
            clone = operation.operation.clone(end).operation
            if clone.name == "func.func":
                types[_symbol(clone)] = ir.TypeAttr(clone.attributes["function_type"]).value
                clone.attributes["sym_visibility"] = ir.StringAttr.get("private")
        for twin in twins:
            _call_twin(twin, types[_symbol(twin.function) + _SUFFIX])
        if not copy.operation.verify():
            raise CompileError("the lowered module is not valid", where=name, stage="torch-mlir")
        return copy


@dataclass(frozen=True, slots=True)
class _Twin:
    """A torch function and the globals that its lowered twin takes as further arguments."""

    function: Any
    globals: tuple[tuple[str, Any], ...]


def _bytecode(module: Any) -> bytes:
    with inputs.as_file(module) as file:
        return file.read()


def _functions(module: Any) -> list[Any]:
    operations = module.regions[0].blocks[0].operations
    return [each.operation for each in operations if each.operation.name == "func.func"]


def _symbol(operation: Any) -> str:
    return ir.StringAttr(operation.attributes["sym_name"]).value


def _entry(function: Any) -> Any:
    return function.regions[0].blocks[0]


def _is_torch_function(function: Any) -> bool:
    signature = ir.FunctionType(ir.TypeAttr(function.attributes["function_type"]).value)
    types = [*signature.inputs, *signature.results]
    return bool(types) and all(str(each).startswith("!torch.") for each in types)


def _inside(function: Any) -> list[Any]:
    return [each for each in walk(function) if each != function]


def _global_name(load: Any) -> str:
    return ir.FlatSymbolRefAttr(load.attributes["global"]).value


def _set_signature(function: Any) -> None:
    """Make the function's type that of its entry block and its return."""
    block = _entry(function)
    terminator = block.operations[len(block.operations) - 1].operation
    inputs_ = [argument.type for argument in block.arguments]
    results = [value.type for value in terminator.operands]
    type_ = ir.FunctionType.get(inputs_, results)
    function.attributes["function_type"] = ir.TypeAttr.get(type_)


def _check_pure(function: Any, name: str | None) -> None:
    for operation in _inside(function):
        if not operation.name.startswith(("torch.", "func.", "arith.")):
            raise CompileError(
                f"{operation.name} in @{_symbol(function)} means nothing to torch-mlir",
                where=name,
                stage="torch-mlir",
                expected="torch operators, and globals that are never stored to",
                fix='compile it for IREE: compile(...) with lowering="iree"',
            )


# ---------------------------------------------------------------- for other compilers --


def _take_globals(module: Any) -> Iterator[tuple[str, Any]]:
    """Remove the globals that never change from a module; yield their names and values."""
    for operation in list(module.regions[0].blocks[0].operations):
        each = operation.operation
        mutable = "is_mutable" in each.attributes
        if each.name != "util.global" or mutable or "initial_value" not in each.attributes:
            continue
        yield _symbol(each), each.attributes["initial_value"]
        each.erase()


def _drop_contracts(function: Any) -> None:
    for operation in reversed(_inside(function)):
        if operation.name == "cf.assert" or (
            operation.name.startswith(("arith.", "tensor.dim", "tensor.cast"))
            and all(not list(value.uses) for value in operation.results)
        ):
            operation.erase()


def _to_torch_types(function: Any) -> None:
    """Take away the casts at a function's edges; its arguments and results get torch's types."""
    for argument in _entry(function).arguments:
        casts = [use.owner for use in argument.uses]
        if casts and all(cast.name in _TO_TORCH for cast in casts):
            argument.set_type(casts[0].results[0].type)
            for cast in casts:
                cast.operation.results[0].replace_all_uses_with(argument)
                cast.operation.erase()
    for operation in reversed(_inside(function)):
        if operation.name in _TO_BUILTIN:
            operation.results[0].replace_all_uses_with(operation.operands[0])
            operation.erase()
    _set_signature(function)
    for key in ("iree.reflection", "iree.abi.declaration", "arg_attrs", "res_attrs"):
        if key in function.attributes:
            del function.attributes[key]


def _inline_globals(function: Any, values: dict[str, Any], name: str | None) -> None:
    for operation in _inside(function):
        if operation.name != "util.global.load" or _global_name(operation) not in values:
            continue
        for cast in [use.owner.operation for use in operation.results[0].uses]:
            if cast.name != "torch_c.from_builtin_tensor":
                continue
            with ir.InsertionPoint(cast), cast.location:
                literal = ir.Operation.create(
                    "torch.vtensor.literal",
                    results=[cast.results[0].type],
                    attributes={
                        "value": _signed(values[_global_name(operation)], cast.results[0].type)
                    },
                )
            cast.results[0].replace_all_uses_with(literal.results[0])
            cast.erase()
        if not list(operation.results[0].uses):
            operation.erase()


def _signed(value: Any, type_: Any) -> Any:
    """Give a constant the signed element type that torch's types have."""
    match = re.search(r",([su]i\d+)>$", str(type_))
    if match is None:
        return value
    text = re.sub(r"i\d+>$", f"{match[1]}>", str(value))
    return ir.Attribute.parse(text)


# ---------------------------------------------------------------------------- for IREE --


def _make_twin(function: Any, pure: Any, name: str | None) -> _Twin:
    """Copy a torch function into `pure`, with the globals that it reads as further arguments."""
    twin = function.clone(ir.InsertionPoint(pure.body)).operation
    twin.attributes["sym_name"] = ir.StringAttr.get(_symbol(function) + _SUFFIX)
    if "sym_visibility" in twin.attributes:
        del twin.attributes["sym_visibility"]
    read: dict[str, tuple[Any, Any]] = {}
    for load in _inside(twin):
        if load.name != "util.global.load":
            continue
        for cast in [use.owner.operation for use in load.results[0].uses]:
            symbol = _global_name(load)
            if cast.name != "torch_c.from_builtin_tensor":
                continue
            if symbol not in read:
                argument = _entry(twin).add_argument(cast.results[0].type, cast.location)
                read[symbol] = (argument, load.results[0].type)
            cast.results[0].replace_all_uses_with(read[symbol][0])
            cast.erase()
        if not list(load.results[0].uses):
            load.erase()
    if "arg_attrs" in twin.attributes:
        del twin.attributes["arg_attrs"]
    _set_signature(twin)
    _check_pure(twin, name)
    return _Twin(function, tuple((symbol, each[1]) for symbol, each in read.items()))


def _call_twin(twin: _Twin, lowered_type: Any) -> None:
    """Replace a function's body by a call of its lowered twin."""
    function = twin.function
    lowered = ir.FunctionType(lowered_type)
    signature = ir.FunctionType(ir.TypeAttr(function.attributes["function_type"]).value)
    with ir.InsertionPoint(function), function.location:
        visibility = function.attributes["sym_visibility"]
        new = ir.func.FuncOp(_symbol(function), signature, visibility=visibility.value)
    block = new.add_entry_block()
    with ir.InsertionPoint(block), function.location:
        operands = [
            _cast_to_builtin(argument, type_)
            for argument, type_ in zip(block.arguments, lowered.inputs, strict=False)
        ]
        operands += [ir.load_global(symbol, type_) for symbol, type_ in twin.globals]
        call = ir.func.CallOp(lowered.results, _symbol(function) + _SUFFIX, operands)
        ir.func.ReturnOp(
            [
                _cast_to_torch(value, type_)
                for value, type_ in zip(call.results, signature.results, strict=True)
            ]
        )
    function.erase()


def _cast_to_builtin(value: Any, type_: Any) -> Any:
    scalar = _SCALARS.get(str(value.type))
    operation = f"torch_c.to_{scalar}" if scalar else "torch_c.to_builtin_tensor"
    return ir.Operation.create(operation, results=[type_], operands=[value]).results[0]


def _cast_to_torch(value: Any, type_: Any) -> Any:
    scalar = _SCALARS.get(str(type_))
    operation = f"torch_c.from_{scalar}" if scalar else "torch_c.from_builtin_tensor"
    return ir.Operation.create(operation, results=[type_], operands=[value]).results[0]


# --------------------------------------------------------------------------- the child --


def _run(
    module: Any, kind: Kind, timeout: float | None, name: str | None, *, locations: bool
) -> str:
    text = module.get_asm(enable_debug_info=True)
    command = [sys.executable, "-I", str(_CHILD), kind, "locations" if locations else "bare"]
    try:
        result = run_tool(command, stdin=text.encode(), timeout=timeout)
    except TimeoutError as error:
        raise CompileError(
            f"torch-mlir was stopped after {timeout:g} s", where=name, stage="timeout"
        ) from error
    if result.status == 0:
        return result.stdout.decode()
    if result.status == _CHILD_MISSES_PACKAGE:
        raise CompileError(
            "this lowering needs the torch-mlir package, which is not installed",
            stage="tools",
            got=result.stderr.strip(),
            fix="pip install 'shark-turbine[torch-mlir]'",
        )
    raise _refused(result.signal_name, result.stderr, kind, name)


def _refused(signal_name: str | None, stderr: str, kind: Kind, name: str | None) -> CompileError:
    diagnostics = parse(stderr)
    location = first_location(diagnostics)
    error = first_error(diagnostics) or Diagnostic("error", stderr.strip()[:400])
    what = f"torch-mlir refused to lower to {kind}: {error.message}"
    if signal_name is not None:
        what = f"torch-mlir crashed ({signal_name}) while it lowered to {kind}"
    return CompileError(
        what,
        where=name,
        location=location,
        diagnostics=diagnostics,
        stage="crash" if signal_name is not None else "torch-mlir",
        got=(location.source_line() or None) if location is not None else None,
        fix="give a decomposition_table that replaces the operator",
    )
