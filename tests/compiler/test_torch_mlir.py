# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The second way down, through the torch-mlir package."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shark_turbine.compiler import compile, lower, torch_mlir
from shark_turbine.errors import CompileError

needs_torch_mlir = pytest.mark.skipif(
    find_spec("torch_mlir") is None, reason="the torch-mlir extra is not installed"
)

RELU = """
module @relu {
  util.global private @shift = dense<[1, 2, 3, 4]> : tensor<4xi64>
  func.func @main(%x: tensor<4xi64>) -> tensor<4xi64> {
    %0 = torch_c.from_builtin_tensor %x : tensor<4xi64> -> !torch.vtensor<[4],si64>
    %1 = call @body(%0) : (!torch.vtensor<[4],si64>) -> !torch.vtensor<[4],si64>
    %2 = torch_c.to_builtin_tensor %1 : !torch.vtensor<[4],si64> -> tensor<4xi64>
    return %2 : tensor<4xi64>
  }
  func.func private @body(%x: !torch.vtensor<[4],si64>) -> !torch.vtensor<[4],si64> {
    %one = torch.constant.int 1
    %s = util.global.load @shift : tensor<4xi64>
    %0 = torch_c.from_builtin_tensor %s : tensor<4xi64> -> !torch.vtensor<[4],si64>
    %1 = torch.aten.add.Tensor %x, %0, %one : !torch.vtensor<[4],si64>,
        !torch.vtensor<[4],si64>, !torch.int -> !torch.vtensor<[4],si64>
    %2 = torch.aten.relu %1 : !torch.vtensor<[4],si64> -> !torch.vtensor<[4],si64>
    return %2 : !torch.vtensor<[4],si64>
  }
}
"""

UNSUPPORTED = """
func.func private @main(%x: !torch.vtensor<[4],f32>) -> !torch.vtensor<[4],i1> {
  %0 = torch.operator "torch.aten.no_such"(%x) : (!torch.vtensor<[4],f32>)
      -> !torch.vtensor<[4],i1> loc(callsite("model.py":4:0 at "main.py":9:0))
  return %0 : !torch.vtensor<[4],i1>
}
"""


@needs_torch_mlir
def test_compiles_through_torch_mlir(sum_module: bytes, load: Callable[[Any], Any]) -> None:
    loaded = load(compile(sum_module, lowering="torch-mlir"))
    a = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal(loaded.sum(a, a, 1, 1.0)[0].to_host(), 2 * a + 1)
    with pytest.raises(Exception, match=r"a\.shape\[0\] must equal b\.shape\[0\]"):
        loaded.sum(a, a[:1], 0, 0.0)


@needs_torch_mlir
def test_integer_global(load: Callable[[Any], Any]) -> None:
    loaded = load(compile(RELU.encode(), lowering="torch-mlir"))
    x = np.array([-9, 0, 1, 2**40])
    np.testing.assert_array_equal(
        loaded.main(x).to_host(), np.maximum(x + np.array([1, 2, 3, 4]), 0)
    )


@needs_torch_mlir
@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        ("linalg-on-tensors", "linalg.generic"),
        ("stablehlo", "stablehlo.add"),
        ("tosa", "tosa.add"),
    ],
)
def test_text_for_other_compilers(kind: torch_mlir.Kind, operation: str) -> None:
    floats = RELU.replace("si64", "f32").replace("i64", "f32")
    text = lower(floats.replace("[1, 2, 3, 4]", "[1.0, 2.0, 3.0, 4.0]"), kind)
    assert operation in text
    assert "func.func @main(%arg0: tensor<4xf32>) -> tensor<4xf32>" in text
    assert "util." not in text
    assert "torch" not in text


@needs_torch_mlir
def test_mutable_globals_are_refused(sum_module: bytes) -> None:
    with pytest.raises(CompileError, match=r"util\.global\.load in @body means nothing"):
        lower(sum_module, "linalg-on-tensors")


@needs_torch_mlir
def test_unsupported_operator_has_its_line() -> None:
    with pytest.raises(CompileError, match=r"no lowering for aten\.no_such") as caught:
        compile(UNSUPPORTED.encode(), lowering="torch-mlir")
    assert str(caught.value.location) == "model.py:4"


def test_unknown_kinds(sum_module: bytes) -> None:
    with pytest.raises(CompileError, match="no such form"):
        lower(sum_module, "onnx")  # type: ignore[arg-type]
    with pytest.raises(CompileError, match="no such lowering"):
        compile(sum_module, lowering="torch_mlir")  # type: ignore[arg-type]


def test_missing_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    child = tmp_path / "child.py"
    child.write_text(
        "import sys\nprint('No module named torch_mlir', file=sys.stderr)\nsys.exit(77)"
    )
    monkeypatch.setattr(torch_mlir, "_CHILD", child)
    with pytest.raises(CompileError, match="needs the torch-mlir package") as caught:
        lower(RELU, "tosa")
    assert "pip install" in str(caught.value)
    assert "torch_mlir" not in sys.modules
