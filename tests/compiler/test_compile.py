# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Modules that compile, run, and give the right numbers."""

from __future__ import annotations

import importlib.abc
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shark_turbine import aot, ir
from shark_turbine.compiler import compile, inputs
from shark_turbine.compiler.facts import facts
from shark_turbine.errors import CompileError

F64_SCALAR = b"""
func.func @main(%x: f64) -> f64 {
  %0 = arith.addf %x, %x : f64
  return %0 : f64
}
"""

F64_TENSOR = b"""
func.func @main(%x: tensor<4xf64>) -> tensor<4xf64> {
  %0 = arith.addf %x, %x : tensor<4xf64>
  return %0 : tensor<4xf64>
}
"""

# Nothing but the type of a global says that f64 is here.
F64_GLOBAL = b"""
util.global private @g = dense<0.1> : tensor<2xf64>
func.func @main() -> tensor<2xf32> {
  %g = util.global.load @g : tensor<2xf64>
  %0 = tensor.empty() : tensor<2xf32>
  %1 = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>],
      iterator_types = ["parallel"]} ins(%g : tensor<2xf64>) outs(%0 : tensor<2xf32>) {
  ^bb0(%a: f64, %b: f32):
    %big = arith.constant 1.0e+300 : f64
    %c = arith.mulf %a, %big : f64
    %d = arith.divf %c, %big : f64
    %e = arith.truncf %d : f64 to f32
    linalg.yield %e : f32
  } -> tensor<2xf32>
  return %1 : tensor<2xf32>
}
"""

VARIANCE = """
func.func @main(%x: !torch.vtensor<[4194304],f32>) -> !torch.vtensor<[],f32> {
  %true = torch.constant.bool true
  %0 = torch.aten.var %x, %true : !torch.vtensor<[4194304],f32>, !torch.bool
      -> !torch.vtensor<[],f32>
  return %0 : !torch.vtensor<[],f32>
}
"""


def as_numpy(value: Any) -> np.ndarray:
    return np.asarray(value.to_host())


def test_runs_and_agrees(sum_module: bytes, load: Callable[[Any], Any]) -> None:
    loaded = load(compile(sum_module))
    a = np.arange(8, dtype=np.float32).reshape(2, 4)
    total, count, twice = loaded.sum(a, a, 2**40, 1.1)
    np.testing.assert_array_equal(as_numpy(total), 2 * a + 1)
    assert (count, twice) == (2**40, 2.2)


def test_contract_holds_in_the_artifact(sum_module: bytes, load: Callable[[Any], Any]) -> None:
    a = np.zeros((2, 4), np.float32)
    # The compiler drops assertions from this level on, unless it is told not to.
    loaded = load(compile(sum_module, flags=["--iree-opt-level=O2"]))
    with pytest.raises(Exception, match=r"a\.shape\[0\] must equal b\.shape\[0\]"):
        loaded.sum(a, a[:1], 0, 0.0)


def test_contracts_can_be_stripped(sum_module: bytes) -> None:
    stripped = compile(sum_module, strip_contracts=True)
    assert stripped.manifest["contracts_stripped"]
    assert b"must equal b.shape" in bytes(compile(sum_module))
    assert b"must equal b.shape" not in bytes(stripped)


def test_f64_scalar_stays_f64(load: Callable[[Any], Any]) -> None:
    assert load(compile(F64_SCALAR)).main(1.1) == 2.2


def test_f64_tensor_stays_f64(load: Callable[[Any], Any]) -> None:
    x = np.array([0.1, 0.2, 0.3, 1e300])
    np.testing.assert_array_equal(as_numpy(load(compile(F64_TENSOR)).main(x)), 2 * x)


def test_f64_inside_stays_f64(load: Callable[[Any], Any]) -> None:
    expected = np.array([0.1, 0.1], np.float32)
    np.testing.assert_array_equal(as_numpy(load(compile(F64_GLOBAL)).main()), expected)


def test_variance_of_many_elements(load: Callable[[Any], Any]) -> None:
    x = (np.random.default_rng(0).standard_normal(2**22) + 1000).astype(np.float32)
    result = as_numpy(load(compile(VARIANCE.encode())).main(x))
    np.testing.assert_allclose(result, x.astype(np.float64).var(ddof=1), rtol=1e-5)


@pytest.mark.parametrize("operator", ["aten.var.correction", "aten.group_norm", "aten.rand"])
def test_operators_that_are_computed_in_f64(operator: str) -> None:
    text = (
        "func.func @f(%x: !torch.vtensor<[4],f32>) -> !torch.vtensor<[4],f32> {\n"
        f'  %0 = torch.operator "torch.{operator}"(%x) : (!torch.vtensor<[4],f32>)'
        " -> !torch.vtensor<[4],f32>\n  return %0 : !torch.vtensor<[4],f32>\n}"
    )
    assert facts(inputs.load(text)).needs_f64
    assert not facts(inputs.load(text.replace(operator, "aten.tanh"))).needs_f64


def test_takes_modules_text_and_bytecode_alike(sum_module: bytes) -> None:
    module = ir.Module.parse(sum_module, ir.Context())
    bytecode = io.BytesIO()
    module.operation.write_bytecode(bytecode)
    from_module = bytes(compile(module))
    assert from_module == bytes(compile(sum_module)) == bytes(compile(bytecode.getvalue()))


def test_same_bytes_wherever_it_goes(sum_module: bytes, tmp_path: Path) -> None:
    one = compile(sum_module)
    other = compile(sum_module, save_to=tmp_path / "some name.vmfb")
    assert bytes(one) == bytes(other) == (tmp_path / "some name.vmfb").read_bytes()
    assert str(tmp_path).encode() not in bytes(one)
    assert b"/home" not in bytes(one)
    assert b"/tmp" not in bytes(one)


def test_other_backend(load: Callable[[Any], Any], sum_module: bytes) -> None:
    vmfb = compile(sum_module, target_backends=["vmvx"])
    assert vmfb.target["backends"] == ["vmvx"]
    assert vmfb.target["cpu"] is None
    a = np.ones((3, 4), np.float32)
    np.testing.assert_array_equal(as_numpy(load(vmfb).sum(a, a, 1, 1.0)[0]), 3 * a)


def test_flags_replace_ours(sum_module: bytes) -> None:
    vmfb = compile(sum_module, flags=["--iree-opt-strip-assertions=true", "--iree-opt-level=O1"])
    assert b"must equal b.shape" not in bytes(vmfb)
    assert vmfb.manifest["flags"] == ["--iree-opt-strip-assertions=true", "--iree-opt-level=O1"]


def test_not_a_module() -> None:
    with pytest.raises(CompileError, match="no valid MLIR module") as caught:
        compile(b"module @broken { func.func @f(")
    assert caught.value.stage == "parse"


def test_dialects_without_a_python_module_are_looked_for_once() -> None:
    """A failed import for each operation took most of the time of a walk, and of a cached compilation."""
    module = aot.export(torch.nn.Linear(4, 2), torch.randn(3, 4)).mlir_module
    facts(module)
    asked: list[str] = []

    class Spy(importlib.abc.MetaPathFinder):
        def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
            asked.append(fullname)

    sys.meta_path.insert(0, spy := Spy())
    try:
        assert facts(module).has_products
    finally:
        sys.meta_path.remove(spy)
    assert asked == []
