# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Branches, loops and tensor operations of hand-built programs, as MLIR."""

from __future__ import annotations

import re

import torch

from shark_turbine.aot.dims import DimVar
from shark_turbine.aot.program import GlobalVar
from shark_turbine.aot.spec import Inline, Uninitialized, Zero
from shark_turbine.aot.steps import (
    Block,
    Cond,
    Constant,
    Load,
    ScalarOperation,
    ScalarValue,
    Store,
    TensorOperation,
    Trace,
    While,
)
from shark_turbine.aot.types import (
    AbstractBool,
    AbstractF32,
    AbstractI64,
    AbstractIndex,
    AbstractTensor,
    TensorType,
)

from .test_module import emit, procedure

N = DimVar(0, "x.dynamic_dim(0)")
ROWS = TensorType(torch.float32, (N, 4))
WHOLE = TensorType(torch.float32, (8, 4))


def test_a_branch_is_two_blocks_and_one_that_follows() -> None:
    step = Cond((3,), 0, Block((), (), (1,)), Block((), (Constant(4, 7),), (4,)))
    text = emit(
        procedure(
            "f", [AbstractBool, AbstractI64, AbstractI64], [AbstractI64, AbstractI64], [step], [3]
        )
    )
    assert re.search(r"cf\.cond_br %arg0, \^bb1, \^bb2", text)
    assert text.count("cf.br ^bb3(") == 2
    assert "return %0 : i64" in text
    assert "scf." not in text


def test_a_loop_reads_and_writes_globals_in_its_own_block() -> None:
    body = Block(
        (3,),
        (
            Load(5, "state"),
            TensorOperation(6, "update", (5, 0), (0, 0)),
            Store("state", 6),
            ScalarOperation(7, "+", (3, 1)),
        ),
        (7,),
    )
    condition = Block((2,), (ScalarOperation(4, "<", (2, 1)),), (4,))
    row = TensorType(torch.float32, (1, 4))
    others = [AbstractI64, AbstractI64, AbstractBool, WHOLE, WHOLE, AbstractI64, AbstractI64]
    text = emit(
        procedure("f", [row, AbstractI64], others, [While((8,), (1,), condition, body)], [8]),
        globals=(GlobalVar("state", AbstractTensor(8, 4), Zero(), True),),
    )
    loop = text.split("\n  ^bb2(")[1].split("\n  ^bb3(")[0]
    assert loop.index("util.global.load") < loop.index("flow.tensor.update")
    assert loop.index("flow.tensor.update") < loop.index("util.global.store")
    assert "optimization_barrier" not in loop
    assert "cf.br ^bb1(" in loop


def test_runs_of_memory_are_flow_operations_and_other_parts_are_not() -> None:
    column = TensorType(torch.float32, (N, 1))
    one = TensorType(torch.float32, (1, 4))
    steps = [
        TensorOperation(2, "slice", (0,), (ScalarValue(1), 0, 1, 4)),
        TensorOperation(3, "slice", (0,), (0, ScalarValue(1), ScalarValue(1), 1)),
        TensorOperation(4, "update", (0, 2), (ScalarValue(1), 0)),
        TensorOperation(5, "update", (0, 3), (0, ScalarValue(1))),
    ]
    text = emit(procedure("f", [ROWS, AbstractIndex], [one, column, ROWS, ROWS], steps, [4, 5]))
    for operation in (
        "flow.tensor.slice",
        "tensor.extract_slice",
        "flow.tensor.update",
        "tensor.insert_slice",
    ):
        assert text.count(f" {operation} ") == 1


def test_other_tensor_operations_verify() -> None:
    scalar = TensorType(torch.float32, ())
    flags = TensorType(torch.bool, (2,))
    steps = [
        TensorOperation(3, "empty", (), (ScalarValue(1), 4)),
        TensorOperation(4, "splat", (2,), ()),
        TensorOperation(5, "reshape", (0,), (4, ScalarValue(1))),
        TensorOperation(6, "load", (0,), (0, ScalarValue(1))),
        TensorOperation(7, "copy", (0,)),
        TensorOperation(8, "copy", (4,)),
        Trace("key", (0, 4)),
        TensorOperation(10, "load", (9,), (1,)),
    ]
    turned = TensorType(torch.float32, (4, N))
    types = [ROWS, scalar, turned, AbstractF32, ROWS, scalar, flags, AbstractBool]
    steps.insert(7, TensorOperation(9, "empty", (), (2,)))
    returned = [3, 4, 5, 6, 7, 8, 10]
    text = emit(procedure("f", [ROWS, AbstractIndex, AbstractF32], types, steps, returned))
    assert 'flow.tensor.trace "key"' in text
    assert text.count("tensor.extract ") == 2
    assert "arith.extui" in text


def test_a_value_that_is_stored_and_used_is_kept_from_being_overwritten() -> None:
    steps = [Load(1, "s"), TensorOperation(2, "update", (1, 0), (0, 0)), Store("s", 2)]
    row = TensorType(torch.float32, (1, 4))
    state = (GlobalVar("s", AbstractTensor(8, 4), Zero(), True),)
    kept = emit(procedure("f", [row], [WHOLE, WHOLE], steps, [2]), globals=state)
    dropped = emit(procedure("f", [row], [WHOLE, WHOLE], steps, []), globals=state)
    assert kept.count("util.optimization_barrier") == dropped.count("util.optimization_barrier") + 1


def test_equal_starts_get_initializers() -> None:
    tensor, numbers = AbstractTensor(2, 3), torch.arange(6.0).reshape(2, 3)
    text = emit(
        globals=(
            GlobalVar("a", tensor, Zero(), True),
            GlobalVar("b", tensor, Zero(), True),
            GlobalVar("c", AbstractTensor(6), Inline(torch.zeros(6)), True),
            GlobalVar("d", tensor, Uninitialized(), True),
            GlobalVar("e", tensor, Uninitialized(), True),
            GlobalVar("f", tensor, Inline(numbers), True),
            GlobalVar("g", tensor, Inline(numbers.clone()), True),
            GlobalVar("h", AbstractTensor(2, 3, dtype=torch.bfloat16), Zero(), True),
            GlobalVar("i", AbstractTensor(3, 2, dtype=torch.bfloat16), Zero(), True),
            GlobalVar("constant", tensor, Zero(), False),
        )
    )
    stored = re.findall(r"util\.global\.store %\S+, @(\w+)", text)
    assert stored == ["b", "c", "e", "g", "i"]
    assert text.count("util.initializer") == 5
