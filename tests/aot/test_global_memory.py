# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ruff: noqa: B008  defaults of procedures are their signatures
"""Globals never share memory: writing one in place leaves the others, and their sources, alone."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import pytest
import torch

import shark_turbine.aot as aot

A = aot.AbstractTensor
ROWS = torch.arange(8.0).reshape(4, 2)
FIRST = torch.zeros(1, dtype=torch.int64)


class MemoryModule(aot.CompiledModule):
    a = aot.export_global(ROWS, mutable=True)
    b = aot.export_global(ROWS.clone(), mutable=True)
    zero = aot.export_global(A(4, 2), mutable=True)
    flat = aot.export_global(A(8), mutable=True)
    blank = aot.export_global(A(4, 2), mutable=True, uninitialized=True)
    flag = aot.export_global(A(dtype=torch.bool), mutable=True)
    other = aot.export_global(A(1, 1, dtype=torch.bool), mutable=True)

    @aot.jittable
    def put(rows: Any, row: Any, place: Any) -> Any:
        return rows.index_put((place,), row)

    @aot.jittable
    def zeros() -> Any:
        return torch.zeros(4, 2)

    @aot.jittable
    def invert(flag: Any) -> Any:
        return ~flag

    def write_a(self, row=A(1, 2), place=A(1, dtype=torch.int64)):
        self.a = self.put(self.a, row, place)

    def write_b(self, row=A(1, 2), place=A(1, dtype=torch.int64)):
        self.b = self.put(self.b, row, place)

    def write_zero(self, row=A(1, 2), place=A(1, dtype=torch.int64)):
        self.zero = self.put(self.zero, row, place)

    def write_flat(self, row=A(1), place=A(1, dtype=torch.int64)):
        self.flat = self.put(self.flat, row, place)

    def copy(self):
        self.b = self.a

    def clear(self):
        cleared = self.zeros()
        self.a = cleared
        self.b = cleared

    def clear_twice(self):
        self.a = self.zeros()
        self.b = self.zeros()

    def take(self, rows=A(4, 2)):
        self.a = rows
        self.b = rows

    def swap(self):
        self.a, self.b = self.b, self.a

    def write_elsewhere(self, row=A(1, 2), place=A(1, dtype=torch.int64)):
        self.b = self.put(self.a, row, place)

    def copy_then_write(self, row=A(1, 2), place=A(1, dtype=torch.int64)):
        self.blank = self.a
        self.a = self.put(self.a, row, place)

    def flip(self):
        self.flag = self.invert(self.flag)
        return self.flag, self.other

    def get(self):
        return {"a": self.a, "b": self.b, "zero": self.zero, "flat": self.flat}

    def get_blank(self):
        return self.blank


@pytest.fixture(scope="module")
def state(build: Any) -> Any:
    return build(MemoryModule)


@pytest.fixture
def m(state: Any) -> Any:
    """A fresh instance: its globals have their initial values."""
    state.__dict__.pop("loaded", None)
    return state.loaded


def row(value: float) -> torch.Tensor:
    return torch.full((1, 2), float(value))


def written(rows: torch.Tensor, value: float) -> torch.Tensor:
    return torch.cat((row(value), rows[1:]))


def check(m: Any, **expected: torch.Tensor) -> None:
    got = m.get()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value)


def test_equal_initial_values_are_not_one_buffer(m: Any) -> None:
    m.write_a(row(7), FIRST)
    check(m, a=written(ROWS, 7), b=ROWS, zero=torch.zeros(4, 2), flat=torch.zeros(8))
    m.write_zero(row(5), FIRST)
    check(m, zero=written(torch.zeros(4, 2), 5), flat=torch.zeros(8))
    m.write_flat(torch.ones(1), FIRST)
    check(m, a=written(ROWS, 7), b=ROWS, zero=written(torch.zeros(4, 2), 5))
    first, second = m.flip()
    assert (bool(first), bool(second)) == (True, False)


@pytest.mark.parametrize("name", ["copy", "clear", "clear_twice", "take", "swap"])
def test_what_two_globals_are_given_is_not_one_buffer(m: Any, name: str) -> None:
    m.write_a(row(9), FIRST)
    mine = ROWS * 3
    getattr(m, name)(*([mine] if name == "take" else []))
    before = m.get()
    m.write_a(row(7), FIRST)
    check(m, a=written(before["a"], 7), b=before["b"])
    m.write_b(row(8), FIRST)
    check(m, a=written(before["a"], 7), b=written(before["b"], 8))
    torch.testing.assert_close(mine, ROWS * 3)


def test_a_global_is_not_changed_on_the_way_to_another(m: Any) -> None:
    m.write_elsewhere(row(7), FIRST)
    check(m, a=ROWS, b=written(ROWS, 7))
    m.copy_then_write(row(5), FIRST)
    check(m, a=written(ROWS, 5), b=written(ROWS, 7))
    torch.testing.assert_close(m.get_blank(), ROWS)


def test_a_write_in_place_copies_no_global(build: Any) -> None:
    size = 2**23

    class LargeModule(aot.CompiledModule):
        a = aot.export_global(A(size), mutable=True, uninitialized=True)
        b = aot.export_global(A(size), mutable=True, uninitialized=True)

        @aot.jittable
        def put(rows: Any, value: Any, place: Any) -> Any:
            return rows.index_put((place,), value)

        def write(self, value=A(1), place=A(1, dtype=torch.int64)):
            self.a = self.put(self.a, value, place)
            self.b = self.put(self.b, value, place)

        def copy(self):
            self.b = self.a

    loaded = build(LargeModule).loaded

    def best(call: Any) -> float:
        times = []
        for _ in range(10):
            start = perf_counter()
            call()
            times.append(perf_counter() - start)
        return min(times)

    copying = best(loaded.copy)
    assert best(lambda: loaded.write(torch.ones(1), FIRST)) < copying / 5


class _Rows(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rows", ROWS.clone())

    def forward(self, row: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        return self.rows.index_put((place,), row)


def test_a_captured_global_is_not_changed_on_the_way_to_another(build: Any) -> None:
    model = _Rows()

    class CapturedModule(aot.CompiledModule):
        buffers = aot.export_buffers(model, mutable=True)
        b = aot.export_global(A(4, 2), mutable=True)
        put = aot.jittable(model.forward)

        def write_elsewhere(self, row=A(1, 2), place=A(1, dtype=torch.int64)):
            self.b = self.put(row, place)

        def get(self):
            return self.buffers["rows"], self.b

    module = build(CapturedModule).loaded
    module.write_elsewhere(row(7), FIRST)
    rows, b = module.get()
    torch.testing.assert_close(rows, ROWS)
    torch.testing.assert_close(b, written(ROWS, 7))
