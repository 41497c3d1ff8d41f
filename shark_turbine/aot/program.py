# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""DOOR 2: what tracing recorded for the whole module. Values are integer ids; no MLIR exists yet.

`str(program)` is the window that unit tests look through::

    program @dynamic_sum
      jit @compute_sum(f32[d0], f32[d0]) -> (f32[d0])
      export @sum_dynamic(a: f32[d0], b: f32[d0]) -> (f32[d0])    # model.py:12
        %2 = call @compute_sum(%0, %1)
        return %2
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from ..errors import SourceLocation
from ..signature import FunctionSignature
from .spec import External, GlobalSpec, InitialValue, Inline
from .steps import Step, format_steps
from .types import AbstractScalar, AbstractValue, TensorType, ValueType


@dataclass(frozen=True, slots=True)
class GlobalVar:
    """Module state: one `util.global`."""

    symbol: str
    type: AbstractValue
    initial: InitialValue
    mutable: bool

    @classmethod
    def from_spec(cls, spec: GlobalSpec) -> GlobalVar:
        return cls(spec.symbol, spec.type, spec.initial, spec.mutable)


@dataclass(frozen=True, slots=True, eq=False)
class JitFunction:
    """A captured torch graph: a private function.

    `globals` says which `util.global` holds a parameter, buffer or captured tensor of the program,
    by its target in the program's graph signature.
    """

    symbol: str
    program: torch.export.ExportedProgram
    parameters: tuple[ValueType, ...]
    results: tuple[ValueType, ...]
    globals: Mapping[str, str] = field(default_factory=dict)

    @property
    def stores(self) -> tuple[str, ...]:
        """The globals that it writes: those of the buffers and parameters that it mutates."""
        targets = (
            str(output.target)
            for output in self.program.graph_signature.output_specs
            if output.kind.name in ("BUFFER_MUTATION", "PARAMETER_MUTATION")
        )
        return tuple(self.globals[target] for target in targets if target in self.globals)

    @property
    def draws_random_numbers(self) -> bool:
        """Whether it changes the state of a random number generator, which the compiler adds."""
        modules = self.program.graph_module.modules()
        graphs = [module.graph for module in modules if isinstance(module, torch.fx.GraphModule)]
        return any(
            torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
            for graph in graphs
            for node in graph.nodes
        )

    def __str__(self) -> str:
        return f"jit @{self.symbol}({_joined(self.parameters)}) -> ({_joined(self.results)})"


@dataclass(frozen=True, slots=True)
class Procedure:
    """An exported method: arguments are values 0 to n-1; `types` holds the type of every value."""

    symbol: str
    signature: FunctionSignature
    types: tuple[ValueType, ...]
    steps: tuple[Step, ...]
    returned: tuple[int, ...]
    location: SourceLocation | None = None

    @property
    def argument_types(self) -> tuple[ValueType, ...]:
        return self.types[: len(self.signature.arguments)]

    @property
    def result_types(self) -> tuple[ValueType, ...]:
        return tuple(self.types[value] for value in self.returned)

    def __str__(self) -> str:
        arguments = ", ".join(
            f"{argument.name}: {value_type}"
            for argument, value_type in zip(
                self.signature.arguments, self.argument_types, strict=True
            )
        )
        place = ""
        if self.location is not None:
            place = f"    # {self.location.file.rsplit('/', 1)[-1]}:{self.location.line}"
        head = f"export @{self.symbol}({arguments}) -> ({_joined(self.result_types)}){place}"
        returned = ", ".join(f"%{value}" for value in self.returned)
        lines = [head, *(f"  {line}" for line in format_steps(self.steps))]
        return "\n".join([*lines, f"  return {returned}".rstrip()])


@dataclass(frozen=True, slots=True)
class Program:
    """Everything that the emitter writes, in the order in which it is written."""

    name: str
    globals: tuple[GlobalVar, ...]
    jit_functions: tuple[JitFunction, ...]
    procedures: tuple[Procedure, ...]

    @property
    def is_stateful(self) -> bool:
        """Whether calls change state: they may not run at the same time."""
        return any(item.mutable for item in self.globals) or any(
            function.draws_random_numbers for function in self.jit_functions
        )

    def __str__(self) -> str:
        lines = [f"program @{self.name}"]
        lines += [f"  {_format_global(item)}" for item in self.globals]
        lines += [f"  {item}" for item in self.jit_functions]
        for procedure in self.procedures:
            lines += [f"  {line}" for line in str(procedure).splitlines()]
        return "\n".join(lines)


def _format_global(item: GlobalVar) -> str:
    mutable = "mutable " if item.mutable else ""
    kind = item.type if isinstance(item.type, AbstractScalar) else _static(item.type)
    match item.initial:
        case Inline():
            initial = "inline"
        case External(scope, key):
            initial = f"external {scope}::{key}"
        case other:
            initial = type(other).__name__.lower()
    return f"global {mutable}@{item.symbol}: {kind} = {initial}"


def _static(declared: AbstractValue) -> str:
    if isinstance(declared, AbstractScalar):
        return declared.name
    return str(TensorType(declared.dtype, tuple(int(dim or 0) for dim in declared.size)))


def _joined(types: tuple[ValueType, ...]) -> str:
    return ", ".join(str(value_type) for value_type in types)
