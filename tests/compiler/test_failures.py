# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Modules that do not compile: what the user reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from shark_turbine.compiler import compile
from shark_turbine.compiler.diagnostics import parse
from shark_turbine.errors import CompileError, Diagnostic, SourceLocation

T = "!torch.vtensor<[4],f32>"
B = "!torch.vtensor<[4],i1>"


def unsupported(model: Path) -> bytes:
    """Two operators that no pipeline lowers; the second is called through torch."""
    return f"""
    #model = loc("{model}":2:0)
    #torch = loc("{__import__("torch").__path__[0]}/functional.py":9:0)
    #call = loc(callsite(#torch at "{model}":3:0))
    func.func @main(%x: {T}) -> {B} {{
      %0 = torch.operator "torch.aten.signbit"(%x) : ({T}) -> {B} loc(#model)
      %1 = torch.operator "torch.aten.__and__.Tensor"(%0, %0) : ({B}, {B}) -> {B} loc(#call)
      %2 = torch.operator "torch.aten.__and__.Tensor"(%1, %0) : ({B}, {B}) -> {B} loc(#call)
      return %2 : {B}
    }}""".encode()


EMPTY_MATMUL = b"""
func.func @k(%a: !torch.vtensor<[4,0],f32>, %b: !torch.vtensor<[0,4],f32>)
    -> !torch.vtensor<[4,4],f32> {
  %0 = torch.aten.mm %a, %b : !torch.vtensor<[4,0],f32>, !torch.vtensor<[0,4],f32>
      -> !torch.vtensor<[4,4],f32> loc("model.py":7:1)
  return %0 : !torch.vtensor<[4,4],f32>
}
"""

COS_F64 = b"""
func.func @main(%x: tensor<4xf64>) -> tensor<4xf64> {
  %0 = math.cos %x : tensor<4xf64> loc("model.py":3:4)
  return %0 : tensor<4xf64>
}
"""


def test_unsupported_operators_are_all_named(tmp_path: Path) -> None:
    model = tmp_path / "model.py"
    model.write_text("def forward(x):\n    s = torch.signbit(x)\n    return s & s & s\n")
    with pytest.raises(CompileError) as caught:
        compile(unsupported(model), name="Model.main")
    assert str(caught.value) == (
        f"Model.main ({model}:2): the compiler does not support 2 operators: "
        "aten.signbit, aten.__and__.Tensor\n"
        f"  got:      aten.signbit  {model}:2  s = torch.signbit(x)\n"
        f"            aten.__and__.Tensor  {model}:3  return s & s & s\n"
        "  expected: operators that IREE's torch pipeline lowers, after decomposition\n"
        "  fix:      write it with other operators, or give a decomposition_table that replaces it"
    )
    assert caught.value.location == SourceLocation(str(model), 2)
    assert [item.location for item in caught.value.diagnostics] == [
        SourceLocation(str(model), 2),
        SourceLocation(str(model), 3),
    ]


def test_an_operator_without_complex_numbers_is_named() -> None:
    of_complex = "!torch.vtensor<[4],complex<f32>>"
    module = f"""
    func.func @main(%x: {of_complex}, %y: {of_complex}) -> {of_complex} {{
      %0 = torch.aten.mul.Tensor %x, %y : {of_complex}, {of_complex} -> {of_complex}
      %1 = torch.aten.sin %0 : {of_complex} -> {of_complex} loc("model.py":5:1)
      return %1 : {of_complex}
    }}"""
    with pytest.raises(CompileError) as caught:
        compile(module.encode())
    assert str(caught.value) == (
        "(model.py:5): the compiler does not support the operator aten.sin of complex numbers\n"
        "  expected: the operators of complex numbers that docs/op-support.md lists\n"
        "  fix:      compute with the parts: x.real, x.imag, and torch.complex(real, imaginary)"
    )
    assert "math.sin" in str(caught.value.diagnostics)


def test_crash_is_an_error_that_names_the_operation() -> None:
    with pytest.raises(CompileError) as caught:
        compile(EMPTY_MATMUL)
    assert caught.value.stage == "crash"
    assert caught.value.location == SourceLocation("model.py", 7)
    assert "crashed (SIGFPE) on aten.mm(vtensor<[4,0],f32>, vtensor<[0,4],f32>)" in str(
        caught.value
    )


def test_missing_f64_function() -> None:
    with pytest.raises(CompileError, match="no function cos for this dtype") as caught:
        compile(COS_F64)
    assert caught.value.location == SourceLocation("model.py", 3)


def test_empty_module() -> None:
    with pytest.raises(CompileError, match=r"^basic: the module has no public function"):
        compile(b"module @basic {\n}")


def test_timeout(sum_module: bytes) -> None:
    with pytest.raises(CompileError, match=r"stopped after 0\.01 s") as caught:
        compile(sum_module, timeout=0.01)
    assert caught.value.stage == "timeout"


def test_unknown_option(sum_module: bytes) -> None:
    with pytest.raises(CompileError, match=r"knows no option '--iree-opt-levle=O2'") as caught:
        compile(sum_module, flags=["--iree-opt-levle=O2"])
    assert caught.value.fix == "did you mean '--iree-opt-level=O2'?"


def test_bad_value_of_an_option(sum_module: bytes) -> None:
    with pytest.raises(CompileError, match="use O0/O1/O2/O3"):
        compile(sum_module, flags=["--iree-opt-level=O9"])


def test_a_failure_keeps_no_dump() -> None:
    stderr = (
        "model.py:12:0: error: failed to legalize operation 'torch.operator' that was explicitly "
        'marked illegal: %3 = "torch.operator"(%arg0) <{name = "torch.aten.signbit"}> : (i1) -> i1\n'
        "model.py:20:4: note: called from\n"
        "    return f(x)\n"
        "           ^\n"
        "model.py:12:0: note: see current operation: %3 = ...\n"
        "<unknown>:0: error: 'func.func' op has no body\n"
        "model.py:12:0: warning: slow: this op is slow\n"
    )
    where = SourceLocation("model.py", 12)
    assert parse(stderr) == (
        Diagnostic("error", "the compiler has no lowering for aten.signbit", where),
        Diagnostic("error", "'func.func' op has no body", None),
        Diagnostic("warning", "slow: this op is slow", where),
    )
