# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ruff: noqa: B008  defaults of procedures are their signatures
"""Globals are updated in place: what else shows their memory does not change with them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE

A = aot.AbstractTensor


class MemoryModule(aot.CompiledModule):
    a = aot.export_global(torch.zeros(4), mutable=True)
    b = aot.export_global(torch.arange(4.0), mutable=True)
    c = aot.export_global(A(4), mutable=True)

    double = aot.jittable(lambda x: x * 2)
    same = aot.jittable(lambda x: x.view(2, 2).reshape(4))
    put = aot.jittable(lambda x, new, index: x.index_put((index,), new))

    def get(self):
        return self.a, self.b, self.c

    def set(self, a=A(4), b=A(4), c=A(4)):
        self.a, self.b, self.c = a, b, c

    def bump(self, new=A(1)):
        self.b = IREE.tensor_update(self.b, new, 0)

    def update_of_another(self, new=A(1)):
        self.a = IREE.tensor_update(self.b, new, 0)

    def update_unstored(self, new=A(1)):
        return self.double(IREE.tensor_update(self.b, new, 0))

    def store_another(self):
        self.a = self.b

    def swap(self):
        self.a, self.b = self.b, self.a

    def store_twice(self):
        y = self.double(self.b)
        self.a, self.b, self.c = y, y, self.same(y)

    def store_an_argument_twice(self, x=A(4)):
        self.a, self.b = x, x

    def old_after_a_loop(self, new=A(1), n=aot.AbstractI64):
        old = self.b
        aot.fori_loop(0, n, lambda i, _: (self.bump(new), ())[1])
        return old, self.double(old), self.b

    def read_before_a_loop(self, new=A(1), n=aot.AbstractI64):
        doubled = self.double(self.b)
        aot.fori_loop(0, n, lambda i, _: (self.bump(new), ())[1])
        return doubled

    def read_before_an_update(self, new=A(1)):
        doubled = self.double(self.b)
        self.bump(new)
        return doubled

    def old_before_an_update(self, new=A(1)):
        old = self.b
        self.bump(new)
        return old

    def old_carried(self, new=A(1), n=aot.AbstractI64):
        def body(i: Any, last: Any) -> Any:
            before = self.b
            self.b = IREE.tensor_update(before, new, i)
            return before

        return self.double(aot.fori_loop(0, n, body, self.b)), self.b

    def old_chosen(self, new=A(1), p=aot.AbstractBool):
        old = self.b
        chosen = aot.cond(p, lambda: old, lambda: self.a)
        self.bump(new)
        return chosen, self.double(chosen)

    def old_viewed(self, new=A(1)):
        old = IREE.tensor_reshape(self.same(self.b), 2, 2)
        self.bump(new)
        self.bump(new)
        return IREE.tensor_slice(old, 0, 0)

    def stored_then_updated(self, new=A(1)):
        first = IREE.tensor_update(self.b, new, 1)
        self.b = first
        self.b = IREE.tensor_update(self.b, new, 2)
        return first, self.double(first)

    def stored_then_written_over(self, new=A(1), index=A(1, dtype=torch.int64)):
        kept = IREE.tensor_update(self.b, new, 0)
        self.b = kept
        return self.put(kept, new, index), self.put(self.b, new, index)

    def captured_in_a_loop(self, new=A(1), n=aot.AbstractI64):
        x = self.double(self.b)
        last = aot.fori_loop(0, n, lambda i, _: IREE.tensor_update(x, new, i), x)
        return x, last


@pytest.fixture
def memory(loaded: Any) -> Any:
    loaded.set(torch.zeros(4), torch.arange(4.0), torch.zeros(4))
    return loaded


@pytest.fixture(scope="module", params=["local-sync", "local-task"])
def loaded(request: pytest.FixtureRequest, vmfb: Any) -> Any:
    import shark_turbine.runtime as rt  # Here: the test of exporting needs none of it.

    return rt.load(vmfb, device=request.param)


@pytest.fixture(scope="module")
def vmfb(build: Any) -> Any:
    return build(MemoryModule).vmfb


NEW = torch.tensor([9.0])
B = torch.arange(4.0)
BUMPED = torch.tensor([9.0, 1.0, 2.0, 3.0])


def expect_state(memory: Any, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> None:
    torch.testing.assert_close(memory.get(), (a, b, c), rtol=0, atol=0)


def test_globals_that_start_equal_are_two(vmfb: Any) -> None:
    import shark_turbine.runtime as rt  # As above.

    fresh = rt.load(vmfb, device="local-sync")
    fresh.bump(NEW)
    expect_state(fresh, torch.zeros(4), BUMPED, torch.zeros(4))
    fresh.swap()
    fresh.bump(NEW)
    expect_state(fresh, BUMPED, torch.tensor([9.0, 0, 0, 0]), torch.zeros(4))


def test_an_update_belongs_to_where_it_is_stored(memory: Any) -> None:
    memory.update_of_another(NEW)
    expect_state(memory, BUMPED, B, torch.zeros(4))
    memory.bump(NEW * 2)
    expect_state(memory, BUMPED, torch.tensor([18.0, 1, 2, 3]), torch.zeros(4))
    got = memory.update_unstored(NEW)
    torch.testing.assert_close(got, BUMPED * 2)
    expect_state(memory, BUMPED, torch.tensor([18.0, 1, 2, 3]), torch.zeros(4))


def test_two_globals_of_one_value_are_two(memory: Any) -> None:
    memory.store_another()
    memory.bump(NEW)
    expect_state(memory, B, BUMPED, torch.zeros(4))
    memory.store_twice()
    memory.bump(NEW)
    doubled = BUMPED * 2
    expect_state(memory, doubled, torch.tensor([9.0, 2, 4, 6]), doubled)
    x = torch.ones(4)
    memory.store_an_argument_twice(x)
    memory.bump(NEW)
    expect_state(memory, torch.ones(4), torch.tensor([9.0, 1, 1, 1]), doubled)
    torch.testing.assert_close(x, torch.ones(4))


def test_old_values_stay_old(memory: Any) -> None:
    old, doubled, new = memory.old_after_a_loop(NEW, 2)
    torch.testing.assert_close((old, doubled, new), (B, B * 2, BUMPED))
    doubled, new = memory.old_carried(NEW, 3)
    torch.testing.assert_close(doubled, torch.tensor([18.0, 18.0, 4.0, 6.0]))
    torch.testing.assert_close(new, torch.tensor([9.0, 9.0, 9.0, 3.0]))


@pytest.mark.parametrize("p", [True, False])
def test_chosen_and_viewed_values_stay(memory: Any, p: bool) -> None:
    expected = B if p else torch.zeros(4)
    torch.testing.assert_close(memory.old_chosen(NEW, p), (expected, expected * 2))
    torch.testing.assert_close(memory.old_viewed(NEW * 2), torch.tensor([[9.0]]))


def test_stored_values_stay(memory: Any) -> None:
    first = torch.tensor([0.0, 9.0, 2.0, 3.0])
    torch.testing.assert_close(memory.stored_then_updated(NEW), (first, first * 2))
    expect_state(memory, torch.zeros(4), torch.tensor([0.0, 9.0, 9.0, 3.0]), torch.zeros(4))
    kept = torch.tensor([9.0, 9.0, 9.0, 3.0])
    written = torch.tensor([9.0, 9.0, 9.0, 9.0])
    got = memory.stored_then_written_over(NEW, torch.tensor([3]))
    torch.testing.assert_close(got, (written, written))
    expect_state(memory, torch.zeros(4), kept, torch.zeros(4))
    x, last = memory.captured_in_a_loop(NEW, 3)
    torch.testing.assert_close((x, last), (kept * 2, torch.tensor([18.0, 18.0, 9.0, 6.0])))


class CacheModule(aot.CompiledModule):
    """Caches of 64 MiB, in both layouts that attention uses."""

    rows = aot.export_global(A(1, 32768, 512), mutable=True, uninitialized=True)
    heads = aot.export_global(A(1, 8, 32768, 64), mutable=True, uninitialized=True)

    def put(self, row=A(1, 1, 512), head=A(1, 8, 1, 64), at=aot.AbstractI64):
        self.rows = IREE.tensor_update(self.rows, row, 0, at, 0)
        self.heads = IREE.tensor_update(self.heads, head, 0, 0, at, 0)

    def fill(self, row=A(1, 1, 512), head=A(1, 8, 1, 64), n=aot.AbstractI64):
        aot.fori_loop(0, n, lambda i, _: (self.put(row, head, i), ())[1])

    def at(self, i=aot.AbstractI64):
        return IREE.tensor_slice(self.rows, 0, i), IREE.tensor_slice(self.heads, 0, (0, 8), i)


def test_an_update_costs_what_is_written_not_what_there_is(build: Any) -> None:
    """A copy of the caches, 128 MiB, takes some 10 ms; the 400 updates take that together."""
    import time  # Only measured here.

    built = build(CacheModule)
    row, head = torch.randn(1, 1, 512), torch.randn(1, 8, 1, 64)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        built.loaded.fill(row, head, 400)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 400 * 0.001
    torch.testing.assert_close(built.loaded.at(399), (row, head))


def test_what_reads_a_global_comes_before_what_updates_it(vmfb: Any) -> None:
    """Devices work on several things at once: each is tried in many fresh modules."""
    import shark_turbine.runtime as rt  # As above.

    for _ in range(40):
        module = rt.load(vmfb, device="local-task")
        torch.testing.assert_close(module.old_before_an_update(NEW), B)
        module.reset()
        torch.testing.assert_close(module.read_before_an_update(NEW), B * 2)
        module.reset()
        torch.testing.assert_close(module.read_before_a_loop(NEW, 2), B * 2)
        module.reset()
        torch.testing.assert_close(module.old_after_a_loop(NEW, 2)[0], B)


def test_an_argument_may_be_written_once_the_call_has_returned(memory: Any) -> None:
    for number in range(200):
        argument = torch.full((1,), float(number))
        memory.bump(argument)
        argument.fill_(-1)
        assert memory.get()[1][0] == number
