# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Find every operator that the compiler refuses or dies of, after it stopped at the first.

Each distinct torch operation of the module goes alone into a function of its own; the child process
that lowers them reports on all of them at once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from typing import Any

from shark_turbine import ir
from shark_turbine.errors import Diagnostic, SourceLocation

from .diagnostics import parse, users_own
from .tools import ToolResult
from .worker import run_iree

_REPEATED = ("torch.constant.", "torch.prim.ListConstruct", "torch.prim.TupleConstruct")
_NOT_ALONE = ("torch.constant.", "torch.prim.", "torch.vtensor.", "torch.bind", "torch.assert")
_SECONDS = 30.0
_MOST = 300


def unsupported_operators(module: Any) -> tuple[Diagnostic, ...]:
    """Return one error for each distinct operator that has no lowering, in program order."""
    texts = list(_probes(module))
    options = [
        "--split-input-file",
        "--pass-pipeline=builtin.module(torch-to-iree)",
        "-o",
        "/dev/null",
        "-",
    ]
    try:
        result = run_iree(
            "iree-opt", options, stdin="\n// -----\n".join(texts).encode(), timeout=_SECONDS
        )
    except TimeoutError:
        return ()
    by_operator: dict[str, Diagnostic] = {}
    for diagnostic in parse(result.stderr):
        if diagnostic.severity == "error" and "has no lowering for" in diagnostic.message:
            by_operator.setdefault(diagnostic.message, diagnostic)
    return tuple(by_operator.values())


def crashing_operation(module: Any) -> Diagnostic | None:
    """Return the torch operation that the compiler dies of, with its types; None if not found."""
    for operation, result in _compiled_alone(_distinct(module)):
        if result.signal_name is not None:
            types = ", ".join(_short(value.type) for value in operation.operands)
            name = operator_name(operation).removeprefix("torch.")
            return Diagnostic("error", f"{name}({types})", python_line(operation.location))
    return None


def refused_complex_operator(module: Any) -> Diagnostic | None:
    """Return the operator that the compiler refuses for complex numbers; None if not found."""
    of_complex = (
        operation
        for operation in _distinct(module)
        if any("complex<" in str(value.type) for value in operation.operands)
    )
    for operation, result in _compiled_alone(of_complex):
        if result.status != 0:
            name = operator_name(operation).removeprefix("torch.")
            return Diagnostic("error", name, python_line(operation.location))
    return None


def _compiled_alone(operations: Iterable[Any]) -> Iterator[tuple[Any, ToolResult]]:
    """Compile one operation after the other, as long as there is time for it."""
    deadline = time.monotonic() + _SECONDS
    options = ["--iree-hal-target-backends=llvm-cpu", "-"]
    for operation in operations:
        left = deadline - time.monotonic()
        if left <= 0:
            return
        try:
            yield (
                operation,
                run_iree("iree-compile", options, stdin=_probe(operation).encode(), timeout=left),
            )
        except TimeoutError:
            return


def python_line(location: Any) -> SourceLocation | None:
    """Return the user's line in an MLIR location, which may be a chain of calls."""
    lines = [
        SourceLocation(file, int(line))
        for file, line in re.findall(r'"([^"]+)":(\d+)(?=:\d)', str(location))
    ]
    return users_own(lines)


def operator_name(operation: Any) -> str:
    """Return an operation's name, that of the operator for `torch.operator`."""
    if operation.name == "torch.operator":
        return operation.attributes["name"].value
    return operation.name


def walk(operation: Any) -> Iterator[Any]:
    """Yield an operation and all inside it, in program order."""
    yield operation
    for region in operation.regions:
        for block in region:
            for child in block:
                yield from walk(child.operation)


def _probes(module: Any) -> Iterator[str]:
    for number, operation in enumerate(_distinct(module)):
        if number == _MOST:
            return
        yield _probe(operation)


def _distinct(module: Any) -> Iterator[Any]:
    """Yield the first of the torch operations that have the same name and types."""
    seen = set()
    for operation in walk(module.operation):
        name = operator_name(operation)
        if not name.startswith("torch.") or name.startswith(_NOT_ALONE) or operation.regions:
            continue
        types = [*operation.operands, *operation.results]
        key = (name, *(str(value.type) for value in types))
        if key not in seen:
            seen.add(key)
            yield operation


def _probe(operation: Any) -> str:
    """Return a module with one function that makes its arguments this operation's operands."""
    with operation.context, operation.location:
        module = ir.Module.create()
        leaves: list[Any] = []
        _collect_leaves(operation, leaves)
        results = [value.type for value in operation.results]
        with ir.InsertionPoint(module.body):
            function = ir.func.FuncOp("probe", ([leaf.type for leaf in leaves], results))
        block = function.add_entry_block()
        values = dict(zip(leaves, block.arguments, strict=True))
        with ir.InsertionPoint(block):
            ir.func.ReturnOp(_copy(operation, values).results)
        return module.operation.get_asm(enable_debug_info=True)


def _collect_leaves(operation: Any, leaves: list[Any]) -> None:
    for value in operation.operands:
        owner = _repeated_owner(value)
        if owner is not None:
            _collect_leaves(owner, leaves)
        elif value not in leaves:
            leaves.append(value)


def _repeated_owner(value: Any) -> Any | None:
    """Return the constant or list that makes a value: it is copied, not passed."""
    owner = value.owner
    if isinstance(owner, ir.Block) or not owner.name.startswith(_REPEATED):
        return None
    return owner


def _copy(operation: Any, values: dict[Any, Any]) -> Any:
    operands = []
    for value in operation.operands:
        owner = _repeated_owner(value)
        operands.append(values[value] if owner is None else _copy(owner, values).results[0])
    copy = operation.clone()
    for index, operand in enumerate(operands):
        copy.operands[index] = operand
    return copy


def _short(type_: Any) -> str:
    return str(type_).removeprefix("!torch.")
