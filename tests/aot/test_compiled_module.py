# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ruff: noqa: B006, B008  defaults of procedures are their signatures
"""CompiledModule from the class body to results: every way to declare and to call, against eager."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from iree.compiler.ir import Context

import shark_turbine.aot as aot

torch.manual_seed(1)


class Affine(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


AFFINE = Affine()
CONSTANT = torch.arange(4.0)
A = aot.AbstractTensor


def scaled(x: torch.Tensor, factor: float) -> torch.Tensor:
    return x * factor


class BaseModule(aot.CompiledModule):
    @aot.jittable
    def compute(x: Any) -> Any:
        return x + 1

    def _twice(self, x: Any) -> Any:
        return self.compute(self.compute(x))

    def apply(self, x=A(4)):
        return self._twice(x)

    def inherited(self, x=A(4)):
        return self.compute(x)


class CallsModule(BaseModule):
    params = aot.export_parameters(AFFINE)
    forward = aot.jittable(AFFINE.forward)
    whole = aot.jittable(AFFINE)
    half = aot.jittable(functools.partial(scaled, factor=0.5))
    negate = aot.jittable(lambda x: -x)

    @aot.jittable
    def compute(x: Any) -> Any:
        return x * 3

    @aot.jittable(function_name="named", decompose_ops=[torch.ops.aten._log_softmax.default])
    def softmax(x: Any) -> Any:
        return torch.nn.functional.log_softmax(x, dim=-1)

    @aot.jittable
    def structured(tree: Any, *rest: Any, flag: bool = False, scale: float = 1.0) -> Any:
        total = tree["a"] + tree["b"][0]
        for value in rest:
            total = total + value
        return {"total": total * scale, "parts": (tree["a"], None, 7), "flag": flag}

    @aot.jittable
    def in_place(x: Any) -> Any:
        x.mul_(2)
        x[0] = 5
        return x.sum()

    @aot.jittable
    def captured() -> Any:
        return CONSTANT * 2

    def bound(self, x=A(2, 4)):
        return self.forward(x)

    def module(self, x=A(2, 4)):
        return self.whole(x)

    def partial(self, x=A(4)):
        return self.half(x)

    def inline(self, x=A(4)):
        return aot.jittable(lambda a, b: a * b)(x, self.negate(x))

    def log_softmax(self, x=A(2, 4)):
        return self.softmax(x)

    def tree(self, tree={"a": A(4), "b": [A(4)]}, *, bias=A(4)):
        return self.structured(tree, bias, bias, flag=True, scale=2.0)

    def annotated(self, x: A(4), y: (A(4), A(4)) = (A(4), A(4))):
        return y[1], x, y[0]

    def mutated(self, x=A(4)):
        total = self.in_place(x)
        return x, total

    def constant(self):
        return self.captured()

    def constant_again(self, x=A(4)):
        return aot.jittable(lambda v: v + CONSTANT)(x)

    def same(self, x=A(4)):
        return x, x

    def nothing(self, x=A(4)):
        return None

    def constants(self):
        return {"n": 3, "none": None, "pair": [1.5, True], "text": "hi"}

    def many_calls(self, x=A(4)):
        for _ in range(5):
            x = self.compute(x)
        return x

    def dtypes(self, x=A(4), y=A(4, dtype=torch.int32)):
        return self.compute(x), self.compute(y)


@pytest.fixture(scope="module")
def calls(build: Any) -> Any:
    return build(CallsModule)


X = torch.tensor([1.0, -2.0, 3.0, 0.5])
Y = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, -1.0, 0.5, 9.0]])


def test_an_empty_module_prints_as_documented() -> None:
    class BasicModule(aot.CompiledModule): ...

    instance = BasicModule(context=Context())
    assert str(aot.CompiledModule.get_mlir_module(instance)).strip() == "module @basic {\n}"


def test_jittables_of_every_kind(calls: Any) -> None:
    m = calls.loaded
    torch.testing.assert_close(m.bound(Y), AFFINE(Y))
    torch.testing.assert_close(m.module(Y), AFFINE(Y))
    torch.testing.assert_close(m.partial(X), X / 2)
    torch.testing.assert_close(m.inline(X), -X * X)
    torch.testing.assert_close(m.log_softmax(Y), torch.log_softmax(Y, -1))
    torch.testing.assert_close(m.constant(), CONSTANT * 2)
    torch.testing.assert_close(m.constant_again(X), X + CONSTANT)
    torch.testing.assert_close(m.many_calls(X), X * 3**5)


def test_overriding_and_inheritance(calls: Any) -> None:
    torch.testing.assert_close(calls.loaded.apply(X), X * 9)
    torch.testing.assert_close(calls.loaded.inherited(X), X * 3)


def test_structures_and_keywords(calls: Any) -> None:
    got = calls.loaded.tree({"a": X, "b": [X * 2]}, bias=X * 10)
    assert list(got) == ["total", "parts", "flag"]
    torch.testing.assert_close(got["total"], X * 23 * 2)
    assert got["parts"][1:] == (None, 7)
    torch.testing.assert_close(got["parts"][0], X)
    assert got["flag"] is True


def test_annotations_are_signatures(calls: Any) -> None:
    got = calls.loaded.annotated(X, (X + 1, X + 2))
    for value, expected in zip(got, (X + 2, X, X + 1), strict=True):
        torch.testing.assert_close(value, expected)


def test_in_place_operations_give_new_values(calls: Any) -> None:
    expected = X.clone().mul_(2)
    expected[0] = 5
    given = X.clone()
    value, total = calls.loaded.mutated(given)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(total, expected.sum())
    torch.testing.assert_close(given, X)


def test_what_procedures_return(calls: Any) -> None:
    first, second = calls.loaded.same(X)
    torch.testing.assert_close(first, X)
    torch.testing.assert_close(second, X)
    assert calls.loaded.nothing(X) is None
    assert calls.loaded.constants() == {"n": 3, "none": None, "pair": [1.5, True], "text": "hi"}


def test_one_jittable_with_two_dtypes(calls: Any) -> None:
    floats, integers = calls.loaded.dtypes(X, torch.arange(4, dtype=torch.int32))
    torch.testing.assert_close(floats, X * 3)
    torch.testing.assert_close(integers, torch.arange(4, dtype=torch.int32) * 3)


def test_stock_iree_runs_the_same_file(calls: Any) -> None:
    stock = calls.stock
    np.testing.assert_allclose(stock.bound(Y.numpy()).to_host(), AFFINE(Y).detach().numpy(), 1e-6)
    got = stock.tree(X.numpy(), X.numpy() * 2, bias=X.numpy())
    np.testing.assert_allclose(got["total"].to_host(), X.numpy() * 10, 1e-6)
    assert stock.nothing(X.numpy()) is None
    assert [x.to_host().tolist() for x in stock.same(X.numpy())] == [X.tolist()] * 2


def test_equal_calls_share_one_function(calls: Any) -> None:
    assert calls.program.count("jit @compute(") == 1
    assert calls.program.count("jit @compute$1(") == 1  # For int32.
    assert calls.mlir.count("func.func private @compute(") == 1
    assert calls.program.count("call @compute(") == 2 + 1 + 5 + 1


def test_weights_and_captured_tensors_are_stored_once(calls: Any) -> None:
    assert calls.mlir.count("util.global private @_params.linear.weight") == 1
    assert calls.mlir.count("tensor<3x4xf32>") > 0
    assert calls.mlir.count("dense_resource<") <= 4
    assert "iree.abi" in calls.mlir


def test_phases_of_lowering() -> None:
    class SumModule(aot.CompiledModule):
        @aot.jittable
        def add(a: Any, b: Any) -> Any:
            return a + b

        def run(self, a=A(2), b=A(2)):
            return self.add(a, b)

    def text(import_to: str | None) -> str:
        return str(aot.CompiledModule.get_mlir_module(SumModule(import_to=import_to)))

    assert text(None) == text("import") == text("IMPORT")
    assert "torch.aten.add.Tensor" in text(None)
    assert text("input") == text("full") == text("Full")
    assert "torch." not in text("input")
    assert "linalg" in text("full")
    instance = SumModule()
    aot.CompiledModule.run_import(instance, "input")
    assert str(aot.CompiledModule.get_mlir_module(instance)) == text("input")


def test_a_context_is_used_and_shared() -> None:
    class OneModule(aot.CompiledModule):
        def run(self, x=A(2)):
            return x

    context = Context()
    first, second = OneModule(context=context), OneModule(context=context)
    for instance in (first, second):
        assert aot.CompiledModule.get_mlir_module(instance).context == context


def test_saving(tmp_path: Any) -> None:
    from iree.compiler.ir import Module

    class OneModule(aot.CompiledModule):
        def run(self, x=A(2)):
            return x

    instance = OneModule()
    text, bytecode = tmp_path / "m.mlir", tmp_path / "m.mlirbc"
    aot.CompiledModule.save_mlir(instance, text)
    aot.CompiledModule.save_mlir(instance, str(bytecode))
    expected = str(aot.CompiledModule.get_mlir_module(instance))
    assert text.read_text().strip() == expected.strip()
    assert bytecode.read_bytes().startswith(b"ML\xefR")
    with aot.CompiledModule.get_mlir_module(instance).context:
        assert str(Module.parse(bytecode.read_bytes())) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.mlir", "m.mlirbc"]


def test_spec_and_program_are_shown() -> None:
    class OneModule(aot.CompiledModule):
        def run(self, x=A(2)):
            return x

    instance = OneModule()
    assert str(aot.CompiledModule.get_spec(instance)) == "module @one\n  procedure @run(x: f32[2])"
    assert "export @run(x: f32[2]) -> (f32[2])" in str(aot.CompiledModule.get_program(instance))


def test_jittables_run_eagerly_outside_a_trace() -> None:
    @aot.jittable
    def double(x: Any, *, by: int = 2) -> Any:
        return x * by

    torch.testing.assert_close(double(X), X * 2)
    torch.testing.assert_close(double(X, by=3, constraints=[]), X * 3)


def test_a_tree_of_classes_is_a_diamond() -> None:
    class TopModule(aot.CompiledModule):
        def who(self):
            return 1

        def top(self):
            return 10

    class LeftModule(TopModule):
        def who(self):
            return 2

    class RightModule(TopModule):
        def who(self):
            return 3

        def top(self):
            return 30

    class BottomModule(LeftModule, RightModule):
        def bottom(self):
            return 100

    spec = aot.CompiledModule.get_spec(BottomModule())
    program = aot.CompiledModule.get_program(BottomModule())
    assert list(spec.members) == ["who", "top", "bottom"]
    results = {p.symbol: str(p.signature) for p in program.procedures}
    assert results == {"who": "who() -> 2", "top": "top() -> 30", "bottom": "bottom() -> 100"}
