# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ruff: noqa: B008  defaults of procedures are their signatures
"""`aot.IREE`: operations on whole tensors, with dims and indices that are known when they run."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import shark_turbine.aot as aot
from shark_turbine.aot import IREE
from shark_turbine.errors import ContractError

A = aot.AbstractTensor
I64, Index = aot.AbstractI64, aot.AbstractIndex


class OperationsModule(aot.CompiledModule):
    cache = aot.export_global(A(2, 8, 4), mutable=True)

    double = aot.jittable(lambda x: x * 2)
    add = aot.jittable(lambda a, b: a + b)

    def dims(self, x=A(None, 3)):
        return (
            IREE.tensor_dim(x, 0),
            IREE.tensor_dim(x, 1),
            IREE.tensor_dim(x, 1, dtype=torch.int64),
        )

    def fill(self, n=I64, m=aot.AbstractI32, value=aot.AbstractF32):
        made = IREE.tensor_splat(n, m, 2, value=value)
        return made, made.size(0), self.double(made)

    def fills(self):
        splat = IREE.tensor_splat
        return (
            splat(3, value=1.5, dtype=torch.float16),
            splat(3, value=2, dtype=torch.bfloat16),
            splat(3, value=-3, dtype=torch.int8),
            splat(3, value=200, dtype=torch.uint8),
            splat(3, value=True, dtype=torch.bool),
            splat(3, value=2**40, dtype=torch.int64),
            splat(3, value=0.1, dtype=torch.float64),
            splat(value=7, dtype=torch.int32),
            splat([2, 1], value=1.0),
        )

    def equal_dims(self, n=Index, x=A(None)):
        # The same number, or the size of x, is the same dim: no constraint is needed.
        ones = IREE.tensor_splat(x.size(0), value=1.0)
        return self.add(IREE.tensor_empty(n), IREE.tensor_empty(n)).size(0), self.add(x, ones)

    def reshape(self, x=A(None, 6), n=I64):
        flat = IREE.tensor_reshape(x, x.size(0) * 6)
        return flat, IREE.tensor_reshape(x, x.size(0), 2, 3), IREE.tensor_reshape(x, n, 3)

    def part(self, x=A(None, 5), i=I64, n=aot.AbstractI32):
        return (
            IREE.tensor_slice(x, i, (1, 3)),
            IREE.tensor_slice(x, (i, n), 4),
            IREE.tensor_slice(x),
            IREE.tensor_slice(x, (0, x.size(0))),
        )

    def element(self, x=A(2, 3), i=Index, flag=A(2, dtype=torch.bool), one=A(1, 1)):
        return IREE.tensor_load(x, 1, i), IREE.tensor_load(flag, i), one.item() * 2

    def update(self, x=A(None, 4), new=A(None, 2), i=I64):
        return IREE.tensor_update(x, new, i, 1), x

    def put(self, new=A(1, "n", 4), row=I64, position=I64):
        self.cache = IREE.tensor_update(self.cache, new, row, position, 0)
        return position + new.size(1)

    def rows(self, position=I64):
        return IREE.tensor_slice(self.cache, (0, 2), (0, position))

    def trace(self, x=A(None, 2), y=A(3)):
        IREE.tensor_trace("seen", x, y)
        return x

    def numbers(self, a=I64, b=I64, x=aot.AbstractF32, p=aot.AbstractBool, q=aot.AbstractBool):
        bits = a & b, a | b, a ^ 6, ~a, abs(a), +a, -b
        return bits, (p & q, p | q, p ^ q, ~p, p & True), abs(x), abs(p)


@pytest.fixture(scope="module")
def ops(build: Any) -> Any:
    return build(OperationsModule)


def test_dims_and_fills(ops: Any) -> None:
    assert ops.loaded.dims(torch.ones(5, 3)) == (5, 3, 3)
    made, size, doubled = ops.loaded.fill(3, 2, 1.5)
    torch.testing.assert_close(made, torch.full((3, 2, 2), 1.5))
    torch.testing.assert_close(doubled, torch.full((3, 2, 2), 3.0))
    assert size == 3
    assert ops.loaded.fill(0, 2, 1.5)[0].shape == (0, 2, 2)
    expected = (
        torch.full((3,), 1.5, dtype=torch.float16),
        torch.full((3,), 2, dtype=torch.bfloat16),
        torch.full((3,), -3, dtype=torch.int8),
        torch.full((3,), 200, dtype=torch.uint8),
        torch.full((3,), True),
        torch.full((3,), 2**40),
        torch.full((3,), 0.1, dtype=torch.float64),
        torch.tensor(7, dtype=torch.int32),
        torch.ones(2, 1),
    )
    torch.testing.assert_close(ops.loaded.fills(), expected, rtol=0, atol=0)


def test_a_dim_given_at_creation_is_that_number(ops: Any) -> None:
    size, total = ops.loaded.equal_dims(3, torch.arange(4.0))
    assert size == 3
    torch.testing.assert_close(total, torch.arange(4.0) + 1)
    window = ops.program.split("@fill(")[1].split("export")[0]
    assert "size" not in window.replace("the size given", "")


def test_reshapes(ops: Any) -> None:
    x = torch.arange(24.0).reshape(4, 6)
    expected = x.reshape(24), x.reshape(4, 2, 3), x.reshape(8, 3)
    torch.testing.assert_close(ops.loaded.reshape(x, 8), expected)
    with pytest.raises(
        ContractError, match=r"tensor_reshape of x must keep the number of elements"
    ):
        ops.loaded.reshape(x, 7)


def test_slices(ops: Any) -> None:
    x = torch.arange(35.0).reshape(7, 5)
    expected = x[2:3, 1:4], x[2:6, 4:5], x, x
    torch.testing.assert_close(ops.loaded.part(x, 2, 4), expected)
    for i, n, message in (
        (7, 1, "tensor_slice must stay inside dim 0 of x"),
        (5, 3, "tensor_slice must stay inside dim 0 of x"),
        (-1, 1, "the index of dim 0 of x must be >= 0"),
        (0, -1, "the size given to IREE.tensor_slice must be >= 0"),
    ):
        with pytest.raises(ContractError, match=message):
            ops.loaded.part(x, i, n)


def test_elements(ops: Any) -> None:
    x, flag = torch.arange(6.0).reshape(2, 3), torch.tensor([False, True])
    assert ops.loaded.element(x, 1, flag, torch.full((1, 1), 2.5)) == (4.0, True, 5.0)
    assert ops.loaded.element(x, 0, flag, torch.ones(1, 1))[1] is False
    with pytest.raises(ContractError, match="must stay inside dim 1 of x"):
        ops.loaded.element(x, 3, flag, torch.ones(1, 1))


def test_updates_leave_arguments_alone(ops: Any) -> None:
    x, new = torch.arange(20.0).reshape(5, 4), -torch.ones(2, 2)
    expected = x.clone()
    expected[3:5, 1:3] = new
    torch.testing.assert_close(ops.loaded.update(x, new, 3), (expected, x))
    torch.testing.assert_close(x, torch.arange(20.0).reshape(5, 4))
    with pytest.raises(ContractError, match="tensor_update must stay inside dim 0 of x"):
        ops.loaded.update(x, new, 4)


def test_a_cache_is_filled_step_by_step(ops: Any) -> None:
    expected = torch.zeros(2, 8, 4)
    position = 0
    for count in (3, 1, 2):
        new = torch.randn(1, count, 4)
        for row in (0, 1):
            expected[row, position : position + count] = new[0] * (row + 1)
            after = ops.loaded.put(new * (row + 1), row, position)
        position = after
    assert position == 6
    torch.testing.assert_close(ops.loaded.rows(position), expected[:, :6])
    with pytest.raises(ContractError, match=r"must stay inside dim 1 of self.cache"):
        ops.loaded.put(torch.ones(1, 3, 4), 0, 6)
    torch.testing.assert_close(ops.loaded.rows(8), expected)


def test_traces_go_to_stderr(ops: Any, capfd: pytest.CaptureFixture[str]) -> None:
    x = torch.arange(4.0).reshape(2, 2)
    torch.testing.assert_close(ops.loaded.trace(x, torch.ones(3)), x)
    printed = capfd.readouterr().err
    assert "seen" in printed
    assert "2x2xf32=[0 1][2 3]" in printed
    assert "3xf32=1 1 1" in printed


@pytest.mark.parametrize(("a", "b"), [(12, 10), (-7, 3)])
@pytest.mark.parametrize(("p", "q"), [(True, False), (False, True), (True, True)])
def test_bits_bools_and_distances(ops: Any, a: int, b: int, p: bool, q: bool) -> None:
    bits = a & b, a | b, a ^ 6, ~a, abs(a), a, -b
    expected = bits, (p & q, p | q, p ^ q, not p, p), 2.5, int(p)
    assert ops.loaded.numbers(a, b, -2.5, p, q) == expected


def test_the_program_window_shows_operations(ops: Any) -> None:
    window = ops.program.split("export @part(")[1].split("export")[0]
    assert "slice %0 at [%" in window
    assert "] of [1, 3]" in window
    window = ops.program.split("export @put(")[1].split("export")[0]
    assert "= update %" in window
