# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ruff: noqa: B008  defaults of procedures are their signatures
"""Numbers at the edges of compiled functions: arguments, results, arithmetic as Python does it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import shark_turbine.aot as aot
from shark_turbine.errors import ContractError

A = aot.AbstractTensor
I32, I64, F32, F64 = aot.AbstractI32, aot.AbstractI64, aot.AbstractF32, aot.AbstractF64


class NumbersModule(aot.CompiledModule):
    @aot.jittable
    def shift(x: Any, by: Any) -> Any:
        return x + by

    @aot.jittable
    def head(x: Any, n: Any) -> Any:
        return x[:n]

    @aot.jittable
    def count(x: Any) -> Any:
        return x.shape[0], x.shape[0] * 2, 3.5, x

    def echo(self, a=I32, b=I64, c=F32, d=F64, e=aot.AbstractBool, f=aot.AbstractIndex):
        return a, b, c, d, e, f

    def integers(self, a=I64, b=I64):
        return a + b, a - b, a * b, a // b, a % b, -a, 7 - a, a // 4, a % 4

    def floats(self, a=F64, b=F64):
        return a + b, a - b, a * b, a / b, 1.0 / a, 2 * b

    def mixed(self, a=I32, b=I64, c=F32, d=aot.AbstractBool):
        return a + b, a + c, b / 2, a + 0.5, a * d, d + d

    def compare(self, a=I64, b=I64, x=F32):
        return a == b, a != b, a < b, a <= b, a > b, a >= b, x < 1, x != x, a < 3

    def compare_floats(self, x=F32, y=F64):
        return x == y, x != y, x < y, x <= y, x > y, x >= y, x == x, y != y, y >= y

    def booleans(self, a=aot.AbstractBool, b=aot.AbstractBool):
        return a == b, a != b, a < b, a >= b

    def sizes(self, x=A(None, 3)):
        return x.size(0), x.shape[1], x.size(0) * x.size(1), x.size(-2) + 1, x.dim(), x.ndim

    def tensor_and_number(self, x=A(4), i=I64, f=F32, b=aot.AbstractBool):
        return self.shift(x, i), self.shift(x, f), self.shift(x, b), self.shift(x, 2)

    def computed(self, x=A(4), i=I64):
        return self.shift(x, i * 2 + 1)

    def constants(self, x=A(4)):
        return self.shift(x, 1), self.shift(x, 1.5), self.shift(x, True)

    def from_torch(self, x=A(None)):
        return self.count(x)


@pytest.fixture(scope="module")
def numbers(build: Any) -> Any:
    return build(NumbersModule)


def test_numbers_travel_by_value(numbers: Any) -> None:
    given = (-5, 2**40, 0.5, math.pi, True, 7)
    assert numbers.loaded.echo(*given) == given
    assert numbers.loaded.echo(0, -(2**63), -0.25, math.inf, False, 0)[1:5] == (
        -(2**63),
        -0.25,
        math.inf,
        False,
    )
    stock = numbers.stock.echo(*given)
    assert [x if isinstance(x, (int, float)) else x.to_host() for x in stock] == list(given)


@pytest.mark.parametrize(("a", "b"), [(7, 2), (-7, 2), (7, -2), (-7, -2), (0, 3)])
def test_integer_arithmetic_is_pythons(numbers: Any, a: int, b: int) -> None:
    expected = (a + b, a - b, a * b, a // b, a % b, -a, 7 - a, a // 4, a % 4)
    assert numbers.loaded.integers(a, b) == expected


def test_float_and_mixed_arithmetic(numbers: Any) -> None:
    a, b = 2.5, -0.75
    assert numbers.loaded.floats(a, b) == (a + b, a - b, a * b, a / b, 1.0 / a, 2 * b)
    assert numbers.loaded.mixed(3, 2**40, 0.5, True) == (3 + 2**40, 3.5, 2**39, 3.5, 3, 2)


@pytest.mark.parametrize(("a", "b", "x"), [(1, 2, 0.5), (2, 1, 1.0), (3, 3, math.nan)])
def test_comparisons(numbers: Any, a: int, b: int, x: float) -> None:
    expected = (a == b, a != b, a < b, a <= b, a > b, a >= b, x < 1, x != x, a < 3)
    assert numbers.loaded.compare(a, b, x) == expected
    for p in (False, True):
        for q in (False, True):
            assert numbers.loaded.booleans(p, q) == (p == q, p != q, p < q, p >= q)


@pytest.mark.parametrize("x", [0.5, math.nan, math.inf])
@pytest.mark.parametrize("y", [0.5, math.nan, -math.inf])
def test_comparisons_with_nan_are_pythons(numbers: Any, x: float, y: float) -> None:
    expected = (x == y, x != y, x < y, x <= y, x > y, x >= y, x == x, y != y, y >= y)
    assert numbers.loaded.compare_floats(x, y) == expected


def test_sizes_are_numbers(numbers: Any) -> None:
    for rows in (0, 1, 5):
        assert numbers.loaded.sizes(torch.zeros(rows, 3)) == (rows, 3, rows * 3, rows + 1, 2, 2)


def test_numbers_as_arguments_of_torch_functions(numbers: Any) -> None:
    x = torch.arange(4.0)
    got = numbers.loaded.tensor_and_number(x, 3, 0.5, True)
    for value, expected in zip(got, (x + 3, x + 0.5, x + 1, x + 2), strict=True):
        torch.testing.assert_close(value, expected)
    torch.testing.assert_close(numbers.loaded.computed(x, 4), x + 9)
    for value, expected in zip(numbers.loaded.constants(x), (x + 1, x + 1.5, x + 1), strict=True):
        torch.testing.assert_close(value, expected)


def test_numbers_as_results_of_torch_functions(numbers: Any) -> None:
    for length in (2, 9):
        size, twice, constant, x = numbers.loaded.from_torch(torch.ones(length))
        assert (size, twice, constant) == (length, 2 * length, 3.5)
        assert x.shape == (length,)


def test_a_size_outside_what_torch_assumed_is_refused(build: Any) -> None:
    class HeadModule(aot.CompiledModule):
        head = aot.jittable(lambda x, n: x[:n])

        def run(self, x=aot.AbstractTensor(10), n=aot.AbstractIndex):
            return self.head(x, n)

    loaded, x = build(HeadModule).loaded, torch.arange(10.0)
    for n in (0, 1, 2, 10):
        torch.testing.assert_close(loaded.run(x, n), x[:n])
    with pytest.raises(ContractError, match="must be <= 10"):
        loaded.run(x, 11)
