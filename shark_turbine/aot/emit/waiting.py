# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Waiting for work that is under way, before memory that it reads or writes changes hands.

IREE's devices work while the program goes on. What makes the value of a global is waited for before it is
used; what *reads* the memory of a global is not, where another block of the function, or the next call,
updates that memory in place: the update may come first. Nor is a call over for the device when it
returns, if its results do not depend on what it stores: it may still read its arguments.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shark_turbine import ir

from ..program import Procedure
from ..step_values import operands_of, results_of, stored_by
from ..steps import Call, Load, Step, TensorOperation
from ..types import TensorType


def wait_for(tensors: Iterable[Any]) -> None:
    """Write at the insertion point that the program waits until tensors are computed.

    It waits for what stands at a barrier of the optimizer. (`hal.tensor.barrier` with a fence would do as
    well, but of a function's result IREE 3.13 then signals one of the two fences only.)
    """
    ir.keep_alive(tensors)


class UnderWay:
    """What a procedure has started and not waited for, by value and by global.

    Procedures that store no tensor change no memory that anybody else reads: there nothing is kept.
    """

    def __init__(self, procedure: Procedure, tensors: Iterable[str]) -> None:
        self._types = procedure.types
        self._globals = set(tensors)
        self._is_kept = not self._globals.isdisjoint(stored_by(procedure.steps))
        # Values whose memory is that of globals, and the steps that made values of this block.
        self._memory: dict[int, set[str]] = {}
        self._makers: dict[int, Step] = {}
        self._values: dict[int, set[str]] = {}
        self._stored: dict[str, None] = {}

    def add(self, step: Step) -> None:
        """Take note of a step that was written."""
        if not self._is_kept:
            return
        results = [v for v in results_of(step) if isinstance(self._types[v], TensorType)]
        self._makers.update(dict.fromkeys(results, step))
        self._stored.update(dict.fromkeys(self._globals.intersection(stored_by([step]))))
        if isinstance(step, Load):
            self._memory[step.result] = {step.symbol}
            return
        read = self._memory_of(operands_of(step))
        for result, source in _same_memory(step):
            self._memory[result] = self._memory_of([source])
            # To wait for a value whose memory is another's by now would need a copy of it.
            read = read | self._values.pop(source, set())
        for result in results:
            self._values[result] = read

    def before(self, step: Step) -> list[int]:
        """Return the values to wait for, because a step may write over what they are computed from.

        Values that the step itself needs come before it in any case.
        """
        written = [source for _, source in _same_memory(step, views=False)]
        symbols = self._memory_of(written)
        if not self._is_kept or not symbols:
            return []
        needed = self._ancestors(operands_of(step))
        return [
            value
            for value, read in self._values.items()
            if not read.isdisjoint(symbols) and value not in needed
        ]

    def take(self) -> tuple[list[int], list[str]]:
        """Return the values and the globals to wait for, and keep none of them."""
        found = list(self._values), list(self._stored)
        self._values, self._stored = {}, {}
        return found

    def _memory_of(self, values: Iterable[int]) -> set[str]:
        return set[str]().union(*(self._memory.get(value, ()) for value in values))

    def _ancestors(self, values: Iterable[int]) -> set[int]:
        found: set[int] = set()
        open_values = list(values)
        while open_values:
            value = open_values.pop()
            if value not in found:
                found.add(value)
                maker = self._makers.get(value)
                open_values += [] if maker is None else operands_of(maker)
        return found


def _same_memory(step: Step, *, views: bool = True) -> list[tuple[int, int]]:
    """Return pairs of a result and the operand whose memory it may be: as a view, or written over."""
    match step:
        case Call(aliases=aliases, updates=updates):
            return [*(aliases if views else ()), *updates]
        case TensorOperation(result, "update", operands):
            return [(result, operands[0])]
        case TensorOperation(result, "reshape" | "slice", operands) if views:
            return [(result, operands[0])]
        case _:
            return []
