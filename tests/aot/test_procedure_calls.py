# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ruff: noqa: B008  defaults of procedures are their signatures
"""Procedures call procedures and private programs: values, state and contracts travel along."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import shark_turbine.aot as aot
from shark_turbine.errors import ArgumentError, ContractError

A = aot.AbstractTensor
I64 = aot.AbstractI64


class Sum(torch.nn.Module):
    """Two inputs of one dynamic size."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a + b


ROWS = torch.export.Dim("rows", min=2, max=6)
PROGRAM = torch.export.export(
    Sum(), (torch.ones(3, 2), torch.ones(3, 2)), dynamic_shapes=({0: ROWS}, {0: ROWS})
)


class CallsModule(aot.CompiledModule):
    count = aot.export_global(0, mutable=True)
    held = aot.export_global(torch.zeros(2), mutable=True)
    _sum = PROGRAM

    add = aot.jittable(lambda a, b: a + b)

    @aot.jittable
    def double_in_place(x: Any) -> None:
        x.mul_(2)

    def step(self, x=A("n"), y=A("n"), *, by=I64):
        self.count = self.count + by
        return {"sum": self.add(x, y), "count": self.count}

    def twice(self, x=A(None), y=A(None), by=I64):
        first = self.step(x, y, by=by)
        second = self.step(first["sum"], y=y, by=1)
        return second, first["count"]

    def tree(self, pair={"a": A(2), "b": [A(2), I64]}):  # noqa: B006
        self.held = self.add(pair["a"], pair["b"][0])
        return pair["b"][1], self.held

    def calls_tree(self, x=A(None), n=aot.AbstractI32):
        # The called procedure wants two elements: checked when it runs.
        return self.tree({"a": x, "b": [x, n]}), self.tree({"a": x, "b": [x, 7]})[0]

    def in_place(self, x=A(2)):
        self.double_in_place(x)
        return x

    def keeps_its_argument(self, x=A(2)):
        return self.in_place(x), x

    def in_a_loop(self, x=A(3), n=I64):
        return aot.fori_loop(0, n, lambda i, x: self.step(x, x, by=i)["sum"], x), self.count

    def program(self, a=A(None, 2), b=A(None, 2)):
        return self._sum(a, b)

    def reset(self):
        self.count = 0


@pytest.fixture(scope="module")
def calls(build: Any) -> Any:
    return build(CallsModule)


def test_values_and_state_travel(calls: Any) -> None:
    calls.loaded.reset()
    x, y = torch.randn(3), torch.randn(3)
    second, count = calls.loaded.twice(x, y, 5)
    torch.testing.assert_close(second["sum"], x + y + y)
    assert (second["count"], count) == (6, 5)
    assert calls.loaded.step(x, y, by=4)["count"] == 10
    with pytest.raises(ArgumentError, match=r"x.shape\[0\] .*must equal y.shape\[0\]"):
        calls.loaded.twice(x, torch.ones(4), 5)


def test_structures_and_declared_sizes(calls: Any) -> None:
    x = torch.randn(2)
    torch.testing.assert_close(calls.loaded.calls_tree(x, -3), ((-3, x + x), 7))
    with pytest.raises(ContractError, match=r"x.shape\[0\].* must be 2"):
        calls.loaded.calls_tree(torch.ones(3), 1)


def test_a_called_procedure_does_not_change_its_argument(calls: Any) -> None:
    x = torch.randn(2)
    torch.testing.assert_close(calls.loaded.keeps_its_argument(x), (x * 2, x))


def test_a_call_in_a_loop(calls: Any) -> None:
    calls.loaded.reset()
    got, count = calls.loaded.in_a_loop(torch.ones(3), 4)
    torch.testing.assert_close(got, torch.full((3,), 16.0))
    assert count == 0 + 1 + 2 + 3


def test_a_private_program_is_held_to_its_dims(calls: Any) -> None:
    a, b = torch.randn(4, 2), torch.randn(4, 2)
    torch.testing.assert_close(calls.loaded.program(a, b), a + b)
    for left, right in ((4, 5), (1, 1), (7, 7)):
        with pytest.raises(ContractError, match=r"_sum: a\.shape\[0\]"):
            calls.loaded.program(torch.ones(left, 2), torch.ones(right, 2))
