# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From hand-built programs to MLIR."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from shark_turbine import ir
from shark_turbine.aot.dims import DimVar
from shark_turbine.aot.emit import emit_program, run_import
from shark_turbine.aot.program import GlobalVar, Procedure, Program
from shark_turbine.aot.spec import External, Inline, Uninitialized, Zero
from shark_turbine.aot.steps import (
    Arithmetic,
    Check,
    Constant,
    DimOf,
    Load,
    ScalarOperation,
    ScalarValue,
    Size,
    Store,
)
from shark_turbine.aot.types import (
    AbstractBool,
    AbstractF32,
    AbstractF64,
    AbstractI32,
    AbstractI64,
    AbstractIndex,
    AbstractTensor,
    TensorType,
    ValueType,
)
from shark_turbine.errors import CompileError, DeclarationError, SourceLocation
from shark_turbine.signature import Argument, FunctionSignature, Leaf, Parameter, SequenceTree
from shark_turbine.signature import ValueType as FlatType

N = DimVar(0, "x.dynamic_dim(0)")


def procedure(
    name: str,
    arguments: list[ValueType],
    others: list[ValueType],
    steps: list[Any],
    returned: list[int],
) -> Procedure:
    """Build a procedure; how its signature names dtypes does not matter here."""
    flat = tuple(Argument(f"x{i}", FlatType("f32", ())) for i in range(len(arguments)))
    signature = FunctionSignature(
        name=name,
        parameters=tuple(Parameter(a.name, Leaf(i)) for i, a in enumerate(flat)),
        arguments=flat,
        result=SequenceTree(tuple, tuple(Leaf(i) for i in range(len(returned)))),
        results=tuple(FlatType("f32", ()) for _ in returned),
    )
    return Procedure(
        name,
        signature,
        (*arguments, *others),
        tuple(steps),
        tuple(returned),
        SourceLocation("m.py", 7),
    )


def emit(*procedures: Procedure, globals: tuple[GlobalVar, ...] = ()) -> str:
    return str(emit_program(Program("hand", globals, (), procedures)))


def test_nothing() -> None:
    assert emit().strip() == "module @hand {\n}"


def test_globals_of_every_form() -> None:
    tensor = AbstractTensor(2, dtype=torch.int32)
    text = emit(
        globals=(
            GlobalVar("inline", tensor, Inline(torch.tensor([1, 2], dtype=torch.int32)), False),
            GlobalVar("zero", AbstractTensor(2, 2, dtype=torch.bool), Zero(), True),
            GlobalVar("external", tensor, External("a.b", "k-1"), False),
            GlobalVar("blank", tensor, Uninitialized(), True),
            GlobalVar("number", AbstractI64, Inline(5), True),
            GlobalVar("rate", AbstractF32, Inline(0.5), False),
            GlobalVar("flag", AbstractBool, Inline(True), False),
            GlobalVar("none", AbstractF64, Zero(), False),
            GlobalVar("off", AbstractBool, Zero(), False),
            GlobalVar("empty", AbstractTensor(0, 3), Zero(), False),
        )
    )
    for line in (
        "@inline = dense<[1, 2]> : tensor<2xi32>",
        "mutable @zero = dense<false> : tensor<2x2xi1>",
        '@external = #flow.parameter.named<"a.b"::"k-1"> : tensor<2xi32>',
        "mutable @blank = #util.uninitialized : tensor<2xi32>",
        "mutable @number = 5 : i64",
        "@rate = 5.000000e-01 : f32",
        "@flag = true",
        "@none = 0.000000e+00 : f64",
        "@off = false",
        "tensor<0x3xf32>",
    ):
        assert line in text


def test_loads_and_stores() -> None:
    state = GlobalVar("state", AbstractTensor(2), Zero(), True)
    kind = TensorType(torch.float32, (2,))
    text = emit(
        procedure("swap", [kind], [kind], [Load(1, "state"), Store("state", 0)], [1]),
        globals=(state,),
    )
    assert "func.func @swap(%arg0: tensor<2xf32>) -> tensor<2xf32>" in text
    load, barrier, store = (
        text.index(word)
        for word in ("util.global.load", "util.optimization_barrier", "util.global.store")
    )
    assert load < barrier < store


def test_checks_and_sizes() -> None:
    kind = TensorType(torch.float32, (N, 4))
    size = Arithmetic("+", Arithmetic("*", DimOf(0, 0), 2), ScalarValue(1))
    text = emit(
        procedure(
            "sizes",
            [kind, AbstractI64],
            [AbstractIndex],
            [Check(size, "<=", 10, 'say "this"'), Size(2, DimOf(0, 0))],
            [2],
        )
    )
    assert "cf.assert" in text
    assert "say \\22this\\22" in text
    assert text.count("tensor.dim %arg0") == 2
    assert "arith.muli" in text
    assert "-> index" in text


@pytest.mark.parametrize(
    "kind", [AbstractI32, AbstractI64, AbstractF32, AbstractF64, AbstractIndex]
)
def test_arithmetic_verifies_for_every_type(kind: Any) -> None:
    operators = ["+", "-", "*"] + (["/"] if kind.is_float else ["//", "%"])
    steps: list[Any] = [ScalarOperation(2 + i, o, (0, 1)) for i, o in enumerate(operators)]
    comparisons = ["==", "!=", "<", "<=", ">", ">="]
    first = 2 + len(operators)
    steps += [ScalarOperation(first + i, o, (0, 1)) for i, o in enumerate(comparisons)]
    others: list[ValueType] = [kind] * len(operators) + [AbstractBool] * len(comparisons)
    returned = list(range(2, 2 + len(steps)))
    text = emit(procedure("f", [kind, kind], others, steps, returned))
    assert text.count("arith.cmp") == len(comparisons)


def test_casts_and_constants_verify() -> None:
    kinds: list[Any] = [
        AbstractBool,
        AbstractI32,
        AbstractI64,
        AbstractIndex,
        AbstractF32,
        AbstractF64,
    ]
    for position, source in enumerate(kinds):
        for target in kinds[position + 1 :]:
            steps = [ScalarOperation(1, "cast", (0,)), Constant(2, 1)]
            assert "func.func @f" in emit(procedure("f", [source], [target, target], steps, [1, 2]))


def test_locations_are_the_users() -> None:
    module = emit_program(Program("hand", (), (), (procedure("f", [AbstractI64], [], [], [0]),)))
    assert 'loc("m.py":7:0)' in module.operation.get_asm(enable_debug_info=True)


def test_unsigned_results_say_so() -> None:
    kind = TensorType(torch.uint8, (N, 2))
    text = emit(procedure("f", [kind], [], [], [0]))
    assert "iree.abi.encoding = tensor<?x2xui8>" in text


def test_phases() -> None:
    module = emit_program(Program("hand", (), (), ()))
    for phase in (None, "import", "INPUT", "Full"):
        run_import(module, phase)
    with pytest.raises(DeclarationError, match="'stablehlo'"):
        run_import(module, "stablehlo")


def test_a_module_that_cannot_be_lowered_says_so() -> None:
    text = """
      func.func @main(%x: !torch.vtensor<[2],f32>) -> !torch.vtensor<[2],f32> {
        %0 = torch.operator "torch.aten.no_such"(%x) : (!torch.vtensor<[2],f32>) -> !torch.vtensor<[2],f32>
        return %0 : !torch.vtensor<[2],f32>
      }
    """
    with ir.Context():
        module = ir.Module.parse(text)
    with pytest.raises(CompileError, match="cannot be lowered") as caught:
        run_import(module, "full")
    assert caught.value.stage == "import"
