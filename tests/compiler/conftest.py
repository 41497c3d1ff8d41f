# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Hand-written modules, and what runs them with stock IREE."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import iree.runtime as ireert
import pytest

SUM = """
module @sums {
  util.global private mutable @offset = dense<1.0> : tensor<4xf32>
  func.func @sum(%a: tensor<?x4xf32>, %b: tensor<?x4xf32>, %k: i64, %f: f64)
      -> (tensor<?x4xf32>, i64, f64) {
    %c0 = arith.constant 0 : index
    %m = tensor.dim %a, %c0 : tensor<?x4xf32>
    %n = tensor.dim %b, %c0 : tensor<?x4xf32>
    %equal = arith.cmpi eq, %m, %n : index
    cf.assert %equal, "sum: a.shape[0] must equal b.shape[0]"
    %0 = torch_c.from_builtin_tensor %a : tensor<?x4xf32> -> !torch.vtensor<[?,4],f32>
    %1 = torch_c.from_builtin_tensor %b : tensor<?x4xf32> -> !torch.vtensor<[?,4],f32>
    %2 = call @body(%0, %1) : (!torch.vtensor<[?,4],f32>, !torch.vtensor<[?,4],f32>)
        -> !torch.vtensor<[?,4],f32>
    %3 = torch_c.to_builtin_tensor %2 : !torch.vtensor<[?,4],f32> -> tensor<?x4xf32>
    %twice = arith.addf %f, %f : f64
    return %3, %k, %twice : tensor<?x4xf32>, i64, f64
  }
  func.func private @body(%a: !torch.vtensor<[?,4],f32>, %b: !torch.vtensor<[?,4],f32>)
      -> !torch.vtensor<[?,4],f32> attributes {torch.assume_strict_symbolic_shapes} {
    %one = torch.constant.int 1
    %g = util.global.load @offset : tensor<4xf32>
    %gt = torch_c.from_builtin_tensor %g : tensor<4xf32> -> !torch.vtensor<[4],f32>
    %0 = torch.aten.add.Tensor %a, %b, %one : !torch.vtensor<[?,4],f32>,
        !torch.vtensor<[?,4],f32>, !torch.int -> !torch.vtensor<[?,4],f32>
    %1 = torch.aten.add.Tensor %0, %gt, %one : !torch.vtensor<[?,4],f32>,
        !torch.vtensor<[4],f32>, !torch.int -> !torch.vtensor<[?,4],f32>
    return %1 : !torch.vtensor<[?,4],f32>
  }
}
"""


@pytest.fixture(scope="session")
def sum_module() -> bytes:
    """A public function with a contract around a private torch function with a global."""
    return SUM.encode()


@pytest.fixture(scope="session")
def load() -> Callable[[Any], Any]:
    """Return a function that loads a vmfb with stock IREE, as its documentation does."""
    config = ireert.Config("local-sync")

    def load(vmfb: Any) -> Any:
        module = ireert.VmModule.wrap_buffer(config.vm_instance, vmfb.map_memory())
        return ireert.load_vm_module(module, config)

    return load


@pytest.fixture
def python(tmp_path: Path) -> Callable[[str], list[str]]:
    """Return a function that gives the command to run a script, written to a file, in a child."""

    def python(script: str) -> list[str]:
        path = tmp_path / "script.py"
        path.write_text(f"SUM = {SUM.encode()!r}\n{script}")
        return [sys.executable, "-W", "ignore", str(path)]

    return python
