# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ruff: noqa: B008  defaults of procedures are their signatures
"""Branches and loops: of procedures (`aot.cond`, ...), and inside jittables (`torch.cond`, ...)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._higher_order_ops.while_loop import while_loop

import shark_turbine.aot as aot
from shark_turbine.aot import IREE
from shark_turbine.errors import ContractError

torch.manual_seed(5)
A = aot.AbstractTensor
I64, F64 = aot.AbstractI64, aot.AbstractF64
LINEAR = torch.nn.Linear(4, 4)
COUNTER = torch.nn.BatchNorm1d(4)


class FlowModule(aot.CompiledModule):
    params = aot.export_parameters(LINEAR)
    norm = aot.export_buffers(COUNTER, mutable=True)
    total = aot.export_global(A(4), mutable=True)
    count = aot.export_global(aot.AbstractI64, mutable=True)
    log = aot.export_global(A(6, dtype=torch.int64), mutable=True)

    linear = aot.jittable(LINEAR.forward)
    normalize = aot.jittable(COUNTER.forward)
    double = aot.jittable(lambda x: x * 2)
    add = aot.jittable(lambda a, b: a + b)
    is_small = aot.jittable(lambda x: x.abs().sum() < 50)
    column = aot.jittable(lambda n: n.reshape(1))

    def branch(self, n=I64, x=A(None, 4)):
        def large(x: Any) -> Any:
            self.count = self.count + n
            return {"x": self.double(x), "n": 1, "name": "same", "f": 2}

        def small(x: Any) -> Any:
            return {"x": IREE.tensor_splat(2, 4, value=1.5), "n": n, "name": "same", "f": 0.5}

        result = aot.cond(n > 3, large, small, (x,))
        return result, self.double(result["x"]), result["x"].size(0), self.count

    def same_dim(self, n=I64, x=A(None), y=A(None)):
        # Both branches give the dim of x: nothing has to be said about it.
        chosen = aot.cond(n > 0, lambda: self.double(x), lambda: x)
        return self.add(chosen, x)

    def by_tensor(self, x=A(1, 1, dtype=torch.bool)):
        return aot.cond(x, lambda: 1, lambda: 2), aot.cond(True, lambda: 3, lambda: 4)

    def nested(self, a=I64, b=I64):
        def first() -> Any:
            self.count = self.count + 1
            return aot.cond(b > 0, lambda: 1, lambda: 2)

        def second() -> Any:
            return aot.cond(b > 0, lambda: 3, lambda: 4)

        self.count = 10
        return aot.cond(a > 0, first, second), self.count

    def constrained(self, n=I64, x=A(None), y=A(None)):
        # What a branch needs is asked of calls that take it, not of every call.
        def joined() -> Any:
            return self.add(x, y, constraints=[x.dynamic_dim(0) == y.dynamic_dim(0)])

        return aot.cond(n > 0, joined, lambda: x)

    def powers(self, x=A(None, 4), n=I64):
        return aot.fori_loop(0, n, lambda i, v: self.double(v), x)

    def collatz(self, n=I64):
        def step(n: Any, steps: Any) -> Any:
            return aot.cond(n % 2 == 0, lambda: n // 2, lambda: 3 * n + 1), steps + 1

        return aot.while_loop(lambda n, steps: n > 1, step, (n, 0))[1]

    def until_large(self, x=A(4)):
        def body(x: Any, going: Any, steps: Any) -> Any:
            grown = self.double(x)
            return grown, self.is_small(grown), steps + 1

        going = IREE.tensor_splat(value=True, dtype=torch.bool)
        return aot.while_loop(lambda x, going, steps: going, body, (x, going, 0))

    def carried_tree(self, x=A(2, 4), n=I64, f=F64):
        start = {"x": x, "pair": [f, (True, None, "label")], "k": 1}

        def body(i: Any, tree: Any) -> Any:
            flag, none, label = tree["pair"][1]
            pair = [tree["pair"][0] * 0.5, (~flag, none, label)]
            return {"x": self.linear(tree["x"]), "pair": pair, "k": tree["k"] + i}

        return aot.fori_loop(2, n, body, start)

    def train(self, x=A(3, 4), n=I64):
        def body(i: Any, last: Any) -> Any:
            row = self.normalize(x)
            self.total = self.add(self.total, IREE.tensor_reshape(IREE.tensor_slice(row, 0), 4))
            self.count = self.count + 1
            return row

        return aot.fori_loop(0, n, body, x), self.total, self.count

    def record(self, n=I64):
        def body(i: Any, _: Any) -> Any:
            one = IREE.tensor_splat(1, value=i * i, dtype=torch.int64)
            self.log = IREE.tensor_update(self.log, one, i)
            return ()

        before = self.log
        aot.fori_loop(0, n, body)
        return before, self.log, self.column(IREE.tensor_load(self.log, 1))

    def matrix(self, n=I64, m=I64):
        def outer(i: Any, v: Any) -> Any:
            return aot.fori_loop(i, m, lambda j, w: w + i * j, v)

        return aot.fori_loop(0, n, outer, 0)

    def down(self, n=aot.AbstractI32):
        return aot.while_loop(lambda n: n > -3, lambda n: n - 1, (n,))

    def empty_range(self, lower=aot.AbstractIndex, upper=I64):
        return aot.fori_loop(lower, upper, lambda i, v: v + 1, 100)

    def read_counts(self):
        self.count = 0
        return self.norm["num_batches_tracked"]


@pytest.fixture(scope="module")
def flow(build: Any) -> Any:
    COUNTER.train()
    return build(FlowModule)


def test_a_branch_is_taken_and_its_effects_alone(flow: Any) -> None:
    flow.loaded.read_counts()
    x = torch.randn(5, 4)
    result, doubled, size, count = flow.loaded.branch(7, x)
    assert (result["n"], result["name"], result["f"], size, count) == (1, "same", 2.0, 5, 7)
    torch.testing.assert_close((result["x"], doubled), (x * 2, x * 4))
    result, doubled, size, count = flow.loaded.branch(2, x)
    assert (result["n"], result["name"], result["f"], size, count) == (2, "same", 0.5, 2, 7)
    torch.testing.assert_close(doubled, torch.full((2, 4), 3.0))


def test_dims_of_branches(flow: Any) -> None:
    x = torch.arange(3.0)
    torch.testing.assert_close(flow.loaded.same_dim(1, x, x), x * 3)
    torch.testing.assert_close(flow.loaded.same_dim(0, x, x), x * 2)
    torch.testing.assert_close(flow.loaded.constrained(1, x, x), x * 2)
    torch.testing.assert_close(flow.loaded.constrained(0, x, torch.ones(4)), x)
    with pytest.raises(ContractError, match="must equal"):
        flow.loaded.constrained(1, x, torch.ones(4))


def test_predicates_and_nesting(flow: Any) -> None:
    assert flow.loaded.by_tensor(torch.tensor([[True]])) == (1, 3)
    assert flow.loaded.by_tensor(torch.tensor([[False]])) == (2, 3)
    for a in (0, 1):
        for b in (0, 1):
            expected = (1 if b else 2) if a else (3 if b else 4)
            assert flow.loaded.nested(a, b) == (expected, 11 if a else 10)


@pytest.mark.parametrize("n", [-1, 0, 1, 5])
def test_counted_loops(flow: Any, n: int) -> None:
    x = torch.randn(3, 4)
    torch.testing.assert_close(flow.loaded.powers(x, n), x * 2 ** max(n, 0))
    expected = sum(i * j for i in range(n) for j in range(i, 4))
    assert flow.loaded.matrix(n, 4) == expected
    assert flow.loaded.empty_range(3, max(n, 0)) == 100 + max(n - 3, 0)


@pytest.mark.parametrize("n", [1, 2, 27])
def test_loops_with_a_condition(flow: Any, n: int) -> None:
    steps, m = 0, n
    while m > 1:
        m, steps = (m // 2 if m % 2 == 0 else 3 * m + 1), steps + 1
    assert flow.loaded.collatz(n) == steps
    assert flow.loaded.down(n) == (-3,)


def test_a_loop_that_a_tensor_ends(flow: Any) -> None:
    x, going, steps = flow.loaded.until_large(torch.ones(4))
    torch.testing.assert_close(x, torch.full((4,), 16.0))
    assert steps == 4
    assert not going


def test_carried_structures(flow: Any) -> None:
    x = torch.randn(2, 4)
    got = flow.loaded.carried_tree(x, 5, 8.0)
    expected = x
    for _ in range(3):
        expected = LINEAR(expected)
    torch.testing.assert_close(got["x"], expected.detach())
    assert got["pair"] == [1.0, (False, None, "label")]
    assert got["k"] == 1 + 2 + 3 + 4


def test_state_changes_in_a_loop(flow: Any) -> None:
    """A jittable writes buffers, a global is summed up, a number is counted: read right after the loop."""
    flow.loaded.read_counts()
    reference = torch.nn.BatchNorm1d(4)
    x, total = torch.randn(3, 4), torch.zeros(4)
    for rounds in (3, 2):
        last = x
        for _ in range(rounds):
            last = reference(x)
            total = total + last[0]
        got = flow.loaded.train(x, rounds)
        torch.testing.assert_close(got[:2], (last.detach(), total.detach()))
    assert got[2] == 5
    assert flow.loaded.read_counts() == 5


def test_an_update_in_a_loop(flow: Any) -> None:
    before, after, second = flow.loaded.record(4)
    assert before.tolist() == [0] * 6
    assert after.tolist() == [0, 1, 4, 9, 0, 0]
    assert second.tolist() == [1]
    before, after, _ = flow.loaded.record(6)
    assert (before.tolist(), after.tolist()) == ([0, 1, 4, 9, 0, 0], [0, 1, 4, 9, 16, 25])
    with pytest.raises(ContractError, match=r"must stay inside dim 0 of self\.log"):
        flow.loaded.record(7)


class Branching(torch.nn.Module):
    """torch's own operators, over parameters, captured values and each other."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        def positive(x: torch.Tensor) -> torch.Tensor:
            return torch.cond(x.mean() > 1, self.a, lambda x: self.a(x) * scale, (x,))

        return torch.cond(x.sum() > 0, positive, lambda x: self.b(x) + scale, (x,))


class Looping(torch.nn.Module):
    """`while_loop` with a parameter and a dynamic dim; a branch in its body."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, n: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        def body(i: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return i + 1, torch.cond(i % 2 == 0, self.linear, torch.sin, (x,))

        return while_loop(lambda i, x: i < n, body, (torch.zeros((), dtype=torch.int64), x))


BRANCHING, LOOPING = Branching().eval(), Looping().eval()
SCALE = torch.tensor([1.0, 2.0, 3.0, 4.0])


class TorchFlowModule(aot.CompiledModule):
    params = aot.export_parameters(BRANCHING)

    branch = aot.jittable(BRANCHING.forward)
    loop = aot.jittable(LOOPING.forward)
    captured = aot.jittable(
        lambda x: torch.cond(x[0, 0] > 0, lambda x: x * SCALE, lambda x: x - SCALE, (x,))
    )

    def branches(self, x=A(None, 4), scale=A(4)):
        return self.branch(x, scale), self.captured(x)

    def loops(self, n=A(dtype=torch.int64), x=A(None, 4)):
        return self.loop(n, x)


@pytest.fixture(scope="module")
def torch_flow(build: Any) -> Any:
    return build(TorchFlowModule)


@pytest.mark.parametrize("offset", [-3.0, 0.5, 3.0])
@pytest.mark.parametrize("rows", [1, 3])
def test_torch_cond_in_a_jittable(torch_flow: Any, offset: float, rows: int) -> None:
    x = torch.rand(rows, 4) * 0.1 + offset
    chosen = x * SCALE if offset > 0 else x - SCALE
    expected = BRANCHING(x, SCALE).detach(), chosen
    torch.testing.assert_close(torch_flow.loaded.branches(x, SCALE), expected)


@pytest.mark.parametrize("n", [0, 1, 4])
def test_torch_while_loop_in_a_jittable(torch_flow: Any, n: int) -> None:
    x = torch.randn(3, 4)
    with torch.no_grad():
        expected = x
        for i in range(n):
            expected = LOOPING.linear(expected) if i % 2 == 0 else expected.sin()
    got = torch_flow.loaded.loops(torch.tensor(n), x)
    torch.testing.assert_close(got, (torch.tensor(n), expected))
