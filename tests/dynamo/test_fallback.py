# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the compiler does not take runs in eager between the compiled parts, and says so once."""

from __future__ import annotations

import warnings

import pytest
import torch

from shark_turbine import compiler
from shark_turbine.cache_folder import remembered
from shark_turbine.dynamo import explain, fallback, knowledge, probing
from shark_turbine.errors import CompileError, FallbackWarning, UnsupportedTypeError

from .conftest import check, compiled, same


@pytest.fixture(autouse=True)
def _nothing_announced(monkeypatch):
    monkeypatch.setattr(fallback, "_announced", set())


def _solved(x):
    y = (x @ x.T).relu() + torch.eye(4)
    return torch.linalg.solve(y, x).sin()


@pytest.mark.filterwarnings("ignore::shark_turbine.errors.FallbackWarning")
@pytest.mark.parametrize(
    "function",
    [
        pytest.param(_solved, id="no lowering"),
        pytest.param(lambda x: torch.fft.fft(x * 2).abs().sum(0), id="complex"),
        pytest.param(lambda x: torch.view_as_complex(x.view(8, 2)) * 1j, id="complex result"),
        pytest.param(lambda x: (x * 2).to_sparse().to_dense() + 1, id="sparse"),
        pytest.param(lambda x: (x * 2).nonzero() + 1, id="data-dependent shape"),
        pytest.param(lambda x: x[x > 0] * 2, id="data-dependent selection"),
        pytest.param(lambda x: (x * 2).abs().max().item() + 1, id="data-dependent number"),
        pytest.param(lambda x: torch.unique((x * 3).round()), id="unique"),
        pytest.param(lambda x: torch.special.airy_ai(x + 1) * 2, id="special function"),
        pytest.param(lambda x: (x + 1).as_strided((2, 3), (1, 2)) * 2, id="strides"),
        pytest.param(lambda x: torch.histc(x * 2, 5).cumsum(0), id="histogram"),
        pytest.param(lambda x: torch.tensor_split(x * 2, 3)[2] + 1, id="lists"),
        pytest.param(lambda x: sum(p.sum() for p in (x * 2).unbind(0)), id="unbind"),
    ],
)
def test_agrees_with_eager(function):
    x = torch.randn(4, 4)
    same(compiled(function)(x), function(x))


def test_one_warning_names_operator_and_line():
    x = torch.randn(4, 4)
    with pytest.warns(FallbackWarning) as caught:
        compiled(_solved)(x)
    (warning,) = caught
    assert "aten._linalg_solve_ex" in str(warning.message)
    assert "test_fallback.py:" in str(warning.message)
    assert "no lowering" in str(warning.message)
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled(_solved)(x)


def test_an_error_lists_all_operators():
    def f(x):
        y = torch.linalg.cholesky(x @ x.T + 5 * torch.eye(4))
        return torch.fft.fft(y).real + torch.rand(4), torch.special.airy_ai(x)

    with pytest.raises(Exception, match="cannot be compiled") as caught:
        compiled(f, options={"fallback": "error"})(torch.randn(4, 4))
    text = str(caught.value)
    for name in ("linalg_cholesky", "fft", "aten.rand", "airy_ai"):
        assert name in text
    assert "fallback': 'eager'" in text


@pytest.mark.filterwarnings("ignore::shark_turbine.errors.FallbackWarning")
def test_the_error_is_ours():
    report = explain(lambda x: torch.rand(3) + x)(torch.ones(3))
    error = fallback.refuse(report.graphs[0])
    assert isinstance(error, UnsupportedTypeError)
    assert "aten.rand" in str(error)


@pytest.mark.filterwarnings("ignore::shark_turbine.errors.FallbackWarning")
def test_compiled_parts_surround_the_eager_one():
    report = explain(_solved)(torch.randn(4, 4))
    (graph,) = report.graphs
    assert len(graph.pieces) == 2
    assert {operator.name for operator in graph.eager} >= {"aten._linalg_solve_ex.default"}
    assert graph.compiled_operators >= 4


def test_refusals_are_remembered_on_disk(monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FallbackWarning)
        compiled(_solved)(torch.randn(4, 4))
    known = remembered(f"refused-operators-{knowledge._source()}")
    assert any(name.startswith("aten._linalg_solve_ex.default(") for name in known)
    torch._dynamo.reset()

    def no_probing(*_):
        raise AssertionError("what was found out once is found out again")

    monkeypatch.setattr(probing, "blame", no_probing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FallbackWarning)
        check(lambda x: torch.linalg.solve(x @ x.T + 9 * torch.eye(6), x), torch.randn(6, 6))


def test_what_fails_only_together_is_found_by_halving(monkeypatch):
    """A compiler that dies of a program although it takes each of its operations."""
    real = compiler.compile_cached

    def fails_on_both(module, **keywords):
        text = str(module)
        if "aten.tanh" in text and "aten.erf" in text:
            raise CompileError("the compiler crashed (SIGSEGV)", stage="crash")
        return real(module, **keywords)

    monkeypatch.setattr(compiler, "compile_cached", fails_on_both)
    x = torch.randn(5)
    with pytest.warns(FallbackWarning, match="together"):
        result = compiled(lambda x: (x.tanh() * 2).erf() + x.exp())(x)
    torch.testing.assert_close(result, (x.tanh() * 2).erf() + x.exp())


def test_what_the_compiler_dies_of_runs_in_eager():
    """A float64 function that has no machine code, in the middle of a program."""
    with pytest.warns(FallbackWarning, match="has no function|cannot generate code"):
        result = compiled(lambda x: torch.atan2(x * 2, x + 1) * 3)(
            torch.ones(3, dtype=torch.float64)
        )
    x = torch.ones(3, dtype=torch.float64)
    torch.testing.assert_close(result, torch.atan2(x * 2, x + 1) * 3)
