# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The recording of a whole module: procedures in order, equal jit calls sharing one function."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property

import torch

from shark_turbine.decompositions import prepare

from ..program import GlobalVar, JitFunction, Procedure, Program
from ..spec import GlobalSpec, Jittable, ModuleSpec, ProcedureSpec, ProgramSpec
from .capture import CallShape, Captured, capture_jittable, function_key, same
from .captured_state import GlobalIndex
from .export_errors import CallDescription
from .graph_types import SymbolTable, read_outputs
from .procedure import ProcedureRecorder
from .programs import (
    export_procedure,
    program_types,
    result_structure,
    state_globals,
    written_state,
)
from .quiet import quiet_torch


def record_module(spec: ModuleSpec) -> Program:
    """Trace every procedure of a module, in declaration order.

    Raises:
        TurbineError: user code cannot be recorded; the message names the member and its line.
    """
    return ModuleRecorder(spec).record()


class ModuleRecorder:
    """What the procedures of one module share: globals, captured functions, free names."""

    def __init__(self, spec: ModuleSpec) -> None:
        self.spec = spec
        self.globals: dict[str, GlobalSpec] = spec.globals()
        self._captured: dict[Hashable, Captured] = {}
        self._programs: dict[str, Captured] = {}
        self._symbols = {*self.globals, *_public_names(spec)}
        self._index = GlobalIndex(self.globals.values())

    def record(self) -> Program:
        for member in self.spec.members.values():
            if isinstance(member, ProgramSpec) and member.is_public:
                self.program(member)  # First: functions that capture its state read its globals.
        procedures: list[Procedure] = []
        for member in self.spec.members.values():
            match member:
                case ProcedureSpec():
                    procedures.append(ProcedureRecorder(self, member).record())
                case ProgramSpec() if member.is_public:
                    where = f"{self.spec.label}.{member.name}"
                    procedures.append(export_procedure(member, self.program(member), where))
                case _:
                    pass
        return Program(
            name=self.spec.name,
            globals=tuple(GlobalVar.from_spec(item) for item in self.globals.values()),
            jit_functions=self._functions(),
            procedures=tuple(procedures),
        )

    def _functions(self) -> tuple[JitFunction, ...]:
        captured = [*self._captured.values(), *self._programs.values()]
        return tuple(item.function for item in captured)

    def capture(
        self, jittable: Jittable, shape: CallShape, description: CallDescription
    ) -> Captured:
        """Return the function for a call, capturing it the first time."""
        table = jittable.decomposition_table
        key = (function_key(jittable.function), jittable.name, same(table), shape.key())
        if key not in self._captured:
            self._captured[key] = capture_jittable(
                jittable,
                shape,
                symbol=self.free_symbol(jittable.name),
                bind=self._index.bind,
                description=description,
            )
        return self._captured[key]

    def program(self, spec: ProgramSpec) -> Captured:
        """Return the function of an ExportedProgram; its state becomes globals."""
        if spec.name in self._programs:
            return self._programs[spec.name]
        description = CallDescription(f"{self.spec.label}.{spec.name}", spec.name, spec.location)
        program = self._prepared[spec.name]
        written = self._written
        added = list(state_globals(spec, program, self._index.find, self.free_symbol, written))
        self.globals.update((item.symbol, item) for item in added)
        self._index = GlobalIndex(self.globals.values())
        symbols = SymbolTable()
        parameters = program_types(program, symbols)
        outputs = read_outputs(program, symbols)
        function = JitFunction(
            symbol=self.free_symbol(f"{spec.name}$program" if spec.is_public else spec.name),
            program=program,
            parameters=parameters,
            results=outputs.results,
            globals=self._index.bind(program, description),
        )
        structure = result_structure(program, outputs)
        self._programs[spec.name] = Captured(function, structure, outputs.mutated)
        return self._programs[spec.name]

    @cached_property
    def _prepared(self) -> dict[str, torch.export.ExportedProgram]:
        """The ExportedPrograms of the module, decomposed: only now they say what they write."""
        specs = [item for item in self.spec.members.values() if isinstance(item, ProgramSpec)]
        with quiet_torch():
            return {
                spec.name: prepare(spec.program, decomposition_table=spec.decomposition_table)
                for spec in specs
            }

    @cached_property
    def _written(self) -> set[object]:
        """The state that some program writes, which is mutable for all of them."""
        return set().union(*map(written_state, self._prepared.values()))

    def free_symbol(self, wanted: str) -> str:
        """Take a symbol that nothing else in the module has."""
        symbol, number = wanted, 0
        while symbol in self._symbols:
            number += 1
            symbol = f"{wanted}${number}"
        self._symbols.add(symbol)
        return symbol


def _public_names(spec: ModuleSpec) -> list[str]:
    return [
        name
        for name, member in spec.members.items()
        if isinstance(member, ProcedureSpec)
        or (isinstance(member, ProgramSpec) and member.is_public)
    ]
