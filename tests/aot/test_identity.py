# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ruff: noqa: B008  defaults of procedures are their signatures
"""What is the same and what is not: calls that share a function, tensors that share a global."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch

import shark_turbine.aot as aot
from shark_turbine.aot.trace import record_module
from shark_turbine.errors import TracingError

A = aot.AbstractTensor
ONES = torch.ones(2)
COMPLEX = torch.tensor([1 + 2j, 3 - 1j])
CONJUGATE = COMPLEX.conj()


class Pair(NamedTuple):
    a: Any
    b: Any


class Swapped(NamedTuple):
    b: Any
    a: Any


@dataclass
class Scale:
    """Callable, equal by value, and so without a hash."""

    by: int

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.by


class Counter(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count.add_(x)
        return self.count * 1


class Weight(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.weight.add_(x)
        return self.weight * 1


COUNTER = Counter()
WEIGHT = Weight()


class CallsModule(aot.CompiledModule):
    signed = aot.jittable(lambda x, sign: torch.copysign(x, torch.full_like(x, sign)))
    fields = aot.jittable(lambda pair: pair.a * 10 + pair.b)
    scale = aot.jittable(Scale(3))

    def zeros_of_both_signs(self, x=A(2)):
        return self.signed(x, 0.0), self.signed(x, -0.0)

    def tuples_of_two_types(self, x=A(2), y=A(2)):
        return self.fields(Pair(x, y)), self.fields(Swapped(x, y))

    def a_closure_that_changes(self, x=A(2)):
        results = []
        times = aot.jittable(lambda x: x * factor)
        for factor in range(3):  # noqa: B007  the closure reads it
            results.append(times(x))
        return results

    def tables_that_come_and_go(self, x=A(2)):
        silu = torch.ops.aten.silu.default
        return [
            aot.jittable(
                torch.nn.functional.silu, decomposition_table={silu: lambda x, k=k: x * k}
            )(x)
            for k in (2, 3)
        ]

    def without_a_hash(self, x=A(2)):
        return self.scale(x)


class StateModule(aot.CompiledModule):
    numbers = aot.export_global_tree({"plain": COMPLEX, "conjugate": CONJUGATE})
    pair = aot.export_global_tree((torch.ones(2), torch.zeros(2)), mutable=True)
    total = aot.export_global(torch.zeros(2), mutable=True)
    read_count = aot.jittable(lambda: COUNTER.count * 1)
    add = aot.jittable(lambda target, x: target.add_(x))
    imaginary = aot.jittable(torch.imag)
    captured = aot.jittable(lambda x: torch.imag(CONJUGATE * x))

    def conjugates(self):
        return self.imaginary(self.numbers["plain"]), self.imaginary(self.numbers["conjugate"])

    def captured_conjugate(self, x=A(2)):
        return self.captured(x)

    def store_in_a_tuple(self, x=A(2)):
        self.pair[0] = x
        return self.pair[0], self.pair[1]

    def change_in_place(self, x=A(2)):
        self.add(self.total, x)
        return self.total

    def change_what_was_replaced(self, x=A(2)):
        old = self.total
        self.total = x
        self.add(old, x)
        return self.total

    def count(self):
        return self.read_count()

    step = torch.export.export(COUNTER, (ONES,))


@pytest.fixture(scope="module")
def calls(build: Callable[..., Any]) -> Any:
    return build(CallsModule).loaded


@pytest.fixture(scope="module")
def state(build: Callable[..., Any]) -> Any:
    return build(StateModule).loaded


def test_constants_that_compare_equal_are_not_the_same(calls: Any) -> None:
    plus, minus = calls.zeros_of_both_signs(ONES)
    assert (plus.tolist(), minus.tolist()) == ([1, 1], [-1, -1])


def test_structures_of_the_same_leaves_are_told_apart(calls: Any) -> None:
    first, second = calls.tuples_of_two_types(ONES, 2 * ONES)
    assert (first.tolist(), second.tolist()) == ([12, 12], [21, 21])


def test_a_closure_is_read_at_each_call(calls: Any) -> None:
    assert [x.tolist() for x in calls.a_closure_that_changes(ONES)] == [[0, 0], [1, 1], [2, 2]]


def test_a_table_is_told_from_one_that_is_gone(calls: Any) -> None:
    assert [x.tolist() for x in calls.tables_that_come_and_go(ONES)] == [[2, 2], [3, 3]]


def test_a_callable_needs_no_hash(calls: Any) -> None:
    assert calls.without_a_hash(ONES).tolist() == [3, 3]


def test_a_conjugate_is_another_tensor(state: Any) -> None:
    plain, conjugate = state.conjugates()
    assert (plain.tolist(), conjugate.tolist()) == ([2, -1], [-2, 1])
    assert state.captured_conjugate(ONES).tolist() == [-2, 1]


def test_a_tuple_of_globals_takes_stores(state: Any) -> None:
    first, second = state.store_in_a_tuple(5 * ONES)
    assert (first.tolist(), second.tolist()) == ([5, 5], [0, 0])


def test_changing_a_global_in_place_changes_it(state: Any) -> None:
    assert state.change_in_place(5 * ONES).tolist() == [5, 5]
    assert state.change_in_place(ONES).tolist() == [6, 6]
    assert state.change_what_was_replaced(2 * ONES).tolist() == [2, 2]


def test_a_function_reads_the_state_of_a_program_that_is_declared_later(state: Any) -> None:
    state.step(ONES)
    assert state.count().tolist() == [1, 1]


def test_a_global_that_a_subclass_replaces_is_gone(build: Callable[..., Any]) -> None:
    class BaseModule(aot.CompiledModule):
        value = aot.export_global(ONES)

    class ReplacedModule(BaseModule):
        value = aot.export_global(2 * ONES)
        other = aot.export_global(ONES)

        def both(self):
            return self.value, self.other

    value, other = build(ReplacedModule).loaded.both()
    assert (value.tolist(), other.tolist()) == ([2, 2], [1, 1])


def test_a_parameter_that_is_written_is_a_mutable_global(build: Callable[..., Any]) -> None:
    built = build(Weight(), ONES)
    assert "global mutable @weight" in built.program
    assert built.loaded.main(ONES).tolist() == [1, 1]
    assert built.loaded.main(ONES).tolist() == [2, 2]


def test_an_immutable_parameter_is_not_written() -> None:
    class StepModule(aot.CompiledModule):
        params = aot.export_parameters(WEIGHT)
        step = aot.jittable(WEIGHT.forward)

        def run(self, x=A(2)):
            return self.step(x)

    with pytest.raises(TracingError, match="changes the parameter 'weight'"):
        record_module(StepModule._spec)
