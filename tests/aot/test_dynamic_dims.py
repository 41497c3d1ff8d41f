# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ruff: noqa: B006, B008  defaults of procedures are their signatures
"""Dynamic dims in every form, at several sizes each, against eager."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import shark_turbine.aot as aot

A = aot.AbstractTensor


class DynamicModule(aot.CompiledModule):
    @aot.jittable
    def add(a: Any, b: Any) -> Any:
        return a + b

    @aot.jittable
    def join(a: Any, b: Any) -> Any:
        return torch.cat([a, b])

    @aot.jittable
    def softmax(x: Any) -> Any:
        return torch.softmax(x, dim=-1)

    @aot.jittable
    def fold(x: Any) -> Any:
        return x.reshape(-1), x.shape[0] * x.shape[1]

    @aot.jittable(constraints=lambda a, b: [a.dynamic_dim(0) == b.dynamic_dim(0)])
    def always_equal(a: Any, b: Any) -> Any:
        return a * b

    @aot.jittable
    def fill(n: Any) -> Any:
        return torch.full((n,), 2.0)

    @aot.jittable
    def head(x: Any) -> Any:
        return x[:2] if x.shape[0] > 10 else x[:1]

    def unconstrained(self, x=A(None, None)):
        return self.softmax(x)

    def equal(self, a=A(None), b=A(None)):
        return self.add(a, b, constraints=[a.dynamic_dim(0) == b.dynamic_dim(0)])

    def below(self, x=A(4, None)):
        return self.softmax(x, constraints=[x.dynamic_dim(1) < 4095])

    def bare(self, x=A(4, None)):
        return self.softmax(x, constraints=[x.dynamic_dim(1)])

    def between(self, x=A(None)):
        return self.head(x, constraints=[x.dynamic_dim(0) <= 10, x.dynamic_dim(0) >= 2])

    def names(self, a=A("n", 3), b=A("n", 3), c=A("m")):
        return self.add(a, b), c

    def flows(self, a=A(None), b=A(None)):
        c = self.join(a, b)
        return self.add(c, c), self.join(c, a)

    def equality_flows(self, a=A(None), b=A(None)):
        first = self.add(a, b, constraints=[a.dynamic_dim(0) == b.dynamic_dim(0)])
        return self.add(first, b)

    def on_the_jittable(self, a=A(None), b=A(None)):
        return self.always_equal(a, b)

    def product(self, x=A(None, None)):
        return self.fold(x)

    def from_size(self, x=A(None)):
        return self.fill(x.size(0))

    def from_number(self, n=aot.AbstractIndex):
        return self.fill(n)

    def in_a_tree(self, xs=[A("n"), {"y": A("n")}]):
        return self.add(xs[0], xs[1]["y"])

    def fixed_by_constraint(self, x=A(None)):
        y = self.add(x, x, constraints=[x.dynamic_dim(0) == 3])
        return self.add(y, aot.jittable(lambda: torch.ones(3))())


@pytest.fixture(scope="module")
def dynamic(build: Any) -> Any:
    return build(DynamicModule)


def same(got: Any, expected: Any) -> None:
    torch.testing.assert_close(got, expected)


def test_the_documented_signature(build: Any) -> None:
    class DynamicSumModule(aot.CompiledModule):
        @aot.jittable
        def compute_sum(a: Any, b: Any) -> Any:
            return a + b

        def sum_dynamic(self, a=A(None), b=A(None)):
            return self.compute_sum(a, b, constraints=[a.dynamic_dim(0) == b.dynamic_dim(0)])

    mlir = build(DynamicSumModule).mlir
    head = "func.func @sum_dynamic(%arg0: tensor<?xf32>, %arg1: tensor<?xf32>) -> tensor<?xf32>"
    assert head in mlir
    assert "module @dynamic_sum" in mlir


@pytest.mark.parametrize("n", [1, 2, 3, 17])
def test_one_dim(dynamic: Any, n: int) -> None:
    m, x = dynamic.loaded, torch.arange(float(n))
    same(m.equal(x, x + 1), x + x + 1)
    same(m.on_the_jittable(x, x + 1), x * (x + 1))
    same(m.from_size(x), torch.full((n,), 2.0))
    same(m.from_number(n), torch.full((n,), 2.0))
    same(m.in_a_tree([x, {"y": x * 2}]), x * 3)
    same(m.equality_flows(x, x), x * 3)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 5), (7, 3), (4, 1)])
def test_two_dims(dynamic: Any, rows: int, columns: int) -> None:
    m, x = dynamic.loaded, torch.randn(rows, columns)
    same(m.unconstrained(x), torch.softmax(x, -1))
    flat, number = m.product(x)
    same(flat, x.reshape(-1))
    assert number == rows * columns
    four = torch.randn(4, columns)
    same(m.below(four), torch.softmax(four, -1))
    same(m.bare(four), torch.softmax(four, -1))


def test_dims_flow_through_results(dynamic: Any) -> None:
    a, b = torch.arange(3.0), torch.arange(2.0)
    first, second = dynamic.loaded.flows(a, b)
    joined = torch.cat([a, b])
    same(first, joined * 2)
    same(second, torch.cat([joined, a]))


def test_named_dims(dynamic: Any) -> None:
    a, c = torch.randn(5, 3), torch.randn(2)
    got, other = dynamic.loaded.names(a, a, c)
    same(got, a + a)
    same(other, c)
    assert "names(a: f32[n, 3], b: f32[n, 3], c: f32[m]) -> (f32[n, 3], f32[m])" in signatures(
        dynamic
    )


def test_ranges_and_fixed_sizes(dynamic: Any) -> None:
    same(dynamic.loaded.between(torch.arange(7.0)), torch.zeros(1))
    same(dynamic.loaded.fixed_by_constraint(torch.ones(3)), torch.full((3,), 3.0))


def test_no_rows(dynamic: Any) -> None:
    empty = torch.zeros(0)
    same(dynamic.loaded.equal(empty, empty), empty)
    same(dynamic.loaded.unconstrained(torch.zeros(0, 3)), torch.zeros(0, 3))
    assert dynamic.stock.equal(*[np.zeros(0, np.float32)] * 2).to_host().shape == (0,)


def signatures(built: Any) -> str:
    program = aot.CompiledModule.get_program(built.output.compiled_module)
    return "\n".join(str(procedure.signature) for procedure in program.procedures)


def test_equal_shapes_share_one_function(dynamic: Any) -> None:
    # The same shape in every procedure: one function; two unrelated dims: another.
    assert dynamic.program.count("jit @add(f32[d0], f32[d0]) -> (f32[d0])") == 1
    assert dynamic.program.count("jit @join(") == 1
