# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Modules with large weights go through a child that leaves the weights in their file."""

from __future__ import annotations

import pytest

from shark_turbine import compiler
from shark_turbine.compiler import driver
from shark_turbine.errors import CompileError

ADD = """
module @add {
  func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
    %0 = arith.addf %a, %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
"""
UNKNOWN = """
module @unknown {
  func.func @main(%a: !torch.vtensor<[4],f32>) -> !torch.vtensor<[4],f32> {
    %0 = torch.operator "torch.aten.no_such"(%a) : (!torch.vtensor<[4],f32>) -> !torch.vtensor<[4],f32>
    return %0 : !torch.vtensor<[4],f32>
  }
}
"""


@pytest.fixture
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LARGE_MODULE", 0)


def test_the_artifact_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    small = compiler.compile(ADD)
    monkeypatch.setattr(driver, "LARGE_MODULE", 0)
    assert bytes(compiler.compile(ADD)) == bytes(small)


@pytest.mark.usefixtures("all_are_large")
def test_options_that_only_the_tool_knows() -> None:
    compiler.compile(ADD, flags=["--mlir-disable-threading"])


@pytest.mark.usefixtures("all_are_large")
def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(CompileError, match="no-such-option"):
        compiler.compile(ADD, flags=["--iree-no-such-option"])


@pytest.mark.usefixtures("all_are_large")
def test_failures_are_told_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CompileError) as large:
        compiler.compile(UNKNOWN)
    monkeypatch.setattr(driver, "LARGE_MODULE", 1 << 40)
    with pytest.raises(CompileError) as small:
        compiler.compile(UNKNOWN)
    assert str(large.value) == str(small.value)
