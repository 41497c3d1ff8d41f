# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The types of an exported program's inputs and outputs, with torch's symbols read as our dims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind

from shark_turbine import dtypes
from shark_turbine.errors import TracingError

from ..dims import Dim, DimVar
from ..types import AbstractBool, AbstractF64, AbstractI64, TensorType, ValueType


class SymbolTable:
    """torch's shape symbols and our numbering of them.

    A size that is one symbol keeps its number wherever it appears; any other expression is a new
    dim, measured where the value is made.
    """

    def __init__(self) -> None:
        self._dims: dict[str, DimVar] = {}
        self._next = 0

    @classmethod
    def from_inputs(
        cls, program: torch.export.ExportedProgram, types: Sequence[ValueType]
    ) -> SymbolTable:
        """Read the symbols of a program's inputs against the types it was captured for."""
        table = cls()
        for value, declared in zip(user_inputs(program), types, strict=True):
            if not isinstance(declared, TensorType):
                continue
            for size, dim in zip(value.shape, declared.shape, strict=True):
                if isinstance(dim, DimVar):
                    table._dims[_symbol(size)] = dim
                    table._next = max(table._next, dim.id + 1)
        return table

    def dim_of(self, size: Any) -> Dim:
        """Return the dim of a size: an int, a known symbol's dim, or a new one."""
        if isinstance(size, int):
            return size
        symbol = _symbol(size)
        if symbol not in self._dims:
            self._dims[symbol] = DimVar(self._next, symbol)
            self._next += 1
        return self._dims[symbol]

    def type_of(self, value: Any) -> ValueType:
        """Return the type of a value in a graph: a tensor or a symbolic number."""
        match value:
            case torch.Tensor():
                dtypes.from_torch(value.dtype, what="a result")
                return TensorType(value.dtype, tuple(self.dim_of(size) for size in value.shape))
            case torch.SymBool() | bool():
                return AbstractBool
            case torch.SymInt() | int():
                return AbstractI64
            case torch.SymFloat() | float():
                return AbstractF64
            case _:
                raise TracingError(
                    "a compiled function cannot return this value",
                    got=f"{type(value).__name__}",
                    expected="tensors, numbers, None, and structures of them",
                )


def _symbol(size: Any) -> str:
    return str(size) if isinstance(size, int) else str(size.node.expr)


def user_inputs(program: torch.export.ExportedProgram) -> list[Any]:
    """Return the example values of the inputs that are arguments, in order."""
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    return [nodes[spec.arg.name].meta["val"] for spec in _argument_specs(program)]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a program gives back: types of its results, then of the new values of mutated arguments.

    `user` has one entry per output that the user's function returned: the number of a result, or
    the constant that it turned out to be. `mutated` pairs an argument with the result replacing it.
    """

    results: tuple[ValueType, ...]
    user: tuple[ResultIndex | ConstantOutput, ...]
    mutated: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ResultIndex:
    """The function's result number `index`."""

    index: int


@dataclass(frozen=True, slots=True)
class ConstantOutput:
    """An output that is known at tracing."""

    value: Any


def read_outputs(program: torch.export.ExportedProgram, symbols: SymbolTable) -> Outputs:
    """Return the types of a program's results, and which arguments it mutates."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    signature = program.graph_signature
    results: list[ValueType] = []
    user: list[ResultIndex | ConstantOutput] = []
    for spec in signature.output_specs:
        if spec.kind not in (OutputKind.USER_OUTPUT, OutputKind.LOSS_OUTPUT):
            continue
        if isinstance(spec.arg, ConstantArgument):
            user.append(ConstantOutput(spec.arg.value))
            continue
        user.append(ResultIndex(len(results)))
        results.append(symbols.type_of(values[spec.arg.name]))
    arguments = [spec.arg.name for spec in _argument_specs(program)]
    mutated: list[tuple[int, int]] = []
    for spec in signature.output_specs:
        if spec.kind is OutputKind.USER_INPUT_MUTATION:
            mutated.append((arguments.index(str(spec.target)), len(results)))
            results.append(symbols.type_of(values[spec.arg.name]))
    return Outputs(tuple(results), tuple(user), tuple(mutated))


def _argument_specs(program: torch.export.ExportedProgram) -> list[Any]:
    return [
        spec
        for spec in program.graph_signature.input_specs
        if spec.kind is InputKind.USER_INPUT and not isinstance(spec.arg, ConstantArgument)
    ]
