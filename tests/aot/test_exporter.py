# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ruff: noqa: B008  defaults of procedures are their signatures
"""`aot.export` of everything that it takes, compiled, run and compared with eager."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from iree.compiler.ir import Context, Module

import shark_turbine.aot as aot
from shark_turbine.compiler import driver
from shark_turbine.errors import TrainingModeWarning, TurbineError

torch.manual_seed(3)
Dim = torch.export.Dim
A = aot.AbstractTensor


def same(got: Any, expected: Any) -> None:
    torch.testing.assert_close(got, expected)


class Mlp(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(4, 8)
        self.last = torch.nn.Linear(8, 3)
        self.register_buffer("offset", torch.ones(3))

    def forward(self, x: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
        return self.last(torch.relu(self.first(x))) * scale + self.offset


MLP = Mlp()
X = torch.randn(2, 4)


def test_a_module_has_the_documented_names(build: Any) -> None:
    built = build(MLP, X)
    assert built.mlir.startswith("module @module {")
    assert "func.func @main(%arg0: tensor<2x4xf32>) -> tensor<2x3xf32>" in built.mlir
    assert "util.global private @first.weight" in built.mlir
    same(built.loaded.main(X), MLP(X).detach())
    expected = MLP(X).detach().numpy()
    np.testing.assert_allclose(built.stock.main(X.numpy()).to_host(), expected, 1e-5)


def test_a_loaded_module_is_called_as_main(build: Any) -> None:
    loaded = build(MLP, X).loaded
    same(loaded(X), MLP(X).detach())
    same(loaded(x=X), MLP(X).detach())


def test_names_arguments_and_keywords(build: Any) -> None:
    built = build(MLP, args=(X,), kwargs={"scale": 2.0}, module_name="net", function_name="forward")
    assert built.mlir.startswith("module @net {")
    same(built.loaded.forward(X, scale=2.0), MLP(X, scale=2.0).detach())
    same(built.loaded.forward(x=X, scale=2.0), MLP(X, scale=2.0).detach())


def test_tensors_by_keyword(build: Any) -> None:
    def mix(x: torch.Tensor, *, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return x - y * z

    y, z = torch.randn(2, 4), torch.randn(4)
    built = build(mix, X, kwargs={"z": z, "y": y})
    same(built.loaded.main(X, y=y, z=z), mix(X, y=y, z=z))


def test_functions_of_every_result(build: Any) -> None:
    def results(x: torch.Tensor, tree: dict[str, Any]) -> Any:
        total = x.sum()
        return {
            "total": total,
            "pair": (x, None, 3),
            "list": [tree["a"] * 2.0, True, 0.5],
            "size": x.shape[0],
            "same": x,
        }

    tree = {"a": torch.arange(3), "b": [torch.ones(1)]}
    built = build(
        results, X, tree, dynamic_shapes={"x": {0: Dim("n")}, "tree": {"a": {}, "b": [{}]}}
    )
    for x in (X, torch.randn(5, 4)):
        got, expected = built.loaded.main(x, tree), results(x, tree)
        same(got["total"], expected["total"])
        same(got["pair"][0], x)
        assert got["pair"][1:] == (None, 3)
        same(got["list"][0], expected["list"][0])
        assert got["list"][1:] == [True, 0.5]
        assert got["size"] == x.shape[0]
        same(got["same"], x)


@pytest.mark.parametrize("strict", [True, False])
def test_one_example_for_two_arguments(build: Any, strict: bool) -> None:
    class Two(torch.nn.Module):
        def forward(self, a: Any, *, b: Any, more: Any) -> Any:
            return 2 * a + b - more[0] * more[1]["c"]

    kwargs = {"b": X, "more": [X, {"c": X}]}
    built = build(Two(), args=(X,), kwargs=kwargs, strict_export=strict)
    a, b, c, d = torch.randn(4, 2, 4)
    same(built.loaded.main(a, b=b, more=[c, {"c": d}]), 2 * a + b - c * d)


def test_numbers_as_arguments(build: Any) -> None:
    def scale(x: torch.Tensor, by: int, flag: bool, none: None) -> torch.Tensor:
        return x * by if flag else x

    built = build(scale, X, 3, True, None)
    same(built.loaded.main(X, 3, True, None), X * 3)
    with pytest.raises(TurbineError, match="by"):
        built.loaded.main(X, 4, True, None)


def test_a_symbolic_number(build: Any) -> None:
    def head(x: torch.Tensor, n: int) -> torch.Tensor:
        return x + n

    built = build(head, X, 3, dynamic_shapes={"x": None, "n": Dim.DYNAMIC})
    for n in (3, 7):
        same(built.loaded.main(X, n), X + n)


class Counter(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.tensor(0, dtype=torch.int64))
        self.norm = torch.nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.count += 1
        return self.norm(x), self.count.clone()


@pytest.mark.filterwarnings("ignore::shark_turbine.errors.TrainingModeWarning")
def test_mutated_buffers_are_state(build: Any) -> None:
    built, eager = build(Counter(), torch.randn(6, 4)), Counter()
    assert "util.global private mutable @norm.running_mean" in built.mlir
    assert "util.global private mutable @count" in built.mlir
    assert "util.global private @norm.weight" in built.mlir
    for seed in range(3):
        x = torch.randn(6, 4, generator=torch.Generator().manual_seed(seed))
        got, count = built.loaded.main(x)
        expected, expected_count = eager(x)
        same(got, expected.detach())
        assert count == expected_count == seed + 1


class TestTrainingMode:
    def test_one_warning_names_the_layers_and_the_line(self) -> None:
        body = torch.nn.Sequential(torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.0))
        model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5), body)
        with pytest.warns(TrainingModeWarning) as caught:
            aot.export(model, X)
        (warning,) = caught
        assert warning.filename == __file__
        assert str(warning.message) == (
            "Sequential is exported in training mode, and so computes something else than in use: "
            "1 (Dropout), 2.0 (BatchNorm1d). Call model.eval() before the export."
        )

    def test_many_layers_are_counted(self) -> None:
        model = torch.nn.Sequential(*(torch.nn.Dropout() for _ in range(5)))
        with pytest.warns(TrainingModeWarning, match=r"2 \(Dropout\) and 2 more\. Call"):
            aot.export(model, X)

    def test_what_computes_the_same_in_both_modes_is_silent(self) -> None:
        with_dropout = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout())
        aot.export(with_dropout.eval(), X)
        aot.export(torch.nn.Linear(4, 4).train(), X)
        aot.export(torch.nn.BatchNorm1d(4, track_running_stats=False), X)
        aot.export(torch.export.export(with_dropout.train(), (X,)))


SHAPES = {
    "equal": (
        lambda x, y: x + y,
        [(3,), (3,)],
        lambda n: ({0: n}, {0: n}),
        [[(5,), (5,)], [(1,), (1,)], [(0,), (0,)]],
        [(5,), (4,)],
        "x.shape[0] must equal y.shape[0]",
    ),
    "twice": (
        lambda x, y: x.reshape(2, -1).sum(0) + y,
        [(6,), (3,)],
        lambda n: ({0: 2 * n}, {0: n}),
        [[(4,), (2,)], [(10,), (5,)]],
        [(8,), (5,)],
        "x.shape[0] must equal 2*y.shape[0]",
    ),
    "plus one": (
        lambda x, y: x[1:] + y,
        [(4,), (3,)],
        lambda n: ({0: n + 1}, {0: n}),
        [[(6,), (5,)], [(3,), (2,)]],
        [(6,), (6,)],
        "x.shape[0] must equal y.shape[0] + 1",
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_dynamic_shapes_are_contracts(build: Any, name: str) -> None:
    function, examples, shapes, good, bad, message = SHAPES[name]
    dims = shapes(Dim("n", min=0 if name == "equal" else 2))
    built = build(
        function,
        *[torch.randn(s) for s in examples],
        dynamic_shapes=dict(zip("xy", dims, strict=True)),
    )
    for sizes in good:
        tensors = [torch.randn(size) for size in sizes]
        same(built.loaded.main(*tensors), function(*tensors))
    arrays = [np.zeros(size, np.float32) for size in bad]
    with pytest.raises(RuntimeError) as caught:
        built.stock.main(*arrays)
    assert "main: " in str(caught.value)
    assert message.split(" must")[0] in str(caught.value)


def test_a_range_is_a_contract(build: Any) -> None:
    built = build(MLP, X, dynamic_shapes={"x": {0: Dim("batch", min=2, max=6)}})
    for rows in (2, 3, 6):
        x = torch.randn(rows, 4)
        same(built.loaded.main(x), MLP(x).detach())
    for rows in (1, 7):
        with pytest.raises(RuntimeError, match=r"main: x.shape\[0\] must be 2 to 6"):
            built.stock.main(np.zeros((rows, 4), np.float32))


def test_exported_programs_classes_and_instances(build: Any) -> None:
    program = torch.export.export(MLP, (X,))
    same(build(program).loaded.main(X), MLP(X).detach())

    class DoubleModule(aot.CompiledModule):
        def run(self, x=A(3)):
            return aot.jittable(lambda v: v * 2)(x)

    for thing in (DoubleModule, DoubleModule()):
        same(build(thing).loaded.run(torch.ones(3)), torch.full((3,), 2.0))
    assert build(DoubleModule, torch.ones(3)).output.compiled_module is not None


class MixedModule(aot.CompiledModule):
    program = torch.export.export(MLP, (X,))
    _private = torch.export.export(MLP, (X,))

    def twice(self, x=A(2, 4)):
        return self._private(x), self._private(x)


def test_exported_programs_in_a_class(build: Any) -> None:
    built = build(MixedModule)
    expected = MLP(X).detach()
    same(built.loaded.program(X), expected)
    same(built.loaded.twice(X), (expected, expected))
    assert built.mlir.count("util.global private @first.weight") == 1
    assert "func.func private @_private(" in built.mlir


def test_a_decomposition_table_replaces_the_default() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.silu(x)

    def halves(x: torch.Tensor) -> torch.Tensor:
        return x / 2

    table = {torch.ops.aten.silu.default: halves}
    output = aot.export(function, X, decomposition_table=table)
    assert "torch.aten.silu" not in str(output.mlir_module)
    assert "torch.aten.div" in str(output.mlir_module)


def test_without_torchdynamo(build: Any) -> None:
    class Printing(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * len(repr(type(self)))

    built = build(Printing(), X, strict_export=False)
    same(built.loaded.main(X), X * len(repr(Printing)))


def test_saving_keeps_an_old_file_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = aot.export(MLP, X)
    text, bytecode = tmp_path / "m.mlir", tmp_path / "m.mlirbc"
    output.save_mlir(text)
    output.save_mlir(bytecode)
    with Context() as context:
        context.allow_unregistered_dialects = True
        assert "@main" in str(Module.parse(text.read_text()))
        assert "@main" in str(Module.parse(bytecode.read_bytes()))
    before = text.read_bytes()
    with pytest.raises(OSError, match=r"m\.mlir"):
        output.save_mlir(tmp_path / "missing" / "m.mlir")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("the disk m.mlir")))
    with pytest.raises(OSError, match=r"m\.mlir"):
        output.save_mlir(text)
    assert text.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.mlir", "m.mlirbc"]


def test_what_is_printed_and_verified(capsys: pytest.CaptureFixture[str]) -> None:
    output = aot.export(torch.nn.Linear(64, 64), torch.zeros(64))
    output.verify()
    output.print_readable()
    printed = capsys.readouterr().out
    assert "func.func @main" in printed
    assert len(printed) < 8000
    file = io.StringIO()
    output.print_readable(file=file)
    assert file.getvalue() == printed


def test_a_failing_export_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    class Fixed(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1 if x.sum() > 3 else x

    with pytest.raises(TurbineError):
        aot.export(Fixed(), torch.zeros(4, 7))
    assert capsys.readouterr() == ("", "")


def test_lowering_in_place() -> None:
    output = aot.export(MLP, X)
    assert "torch.aten" in str(output.mlir_module)
    output.import_to("full")
    assert "torch.aten" not in str(output.mlir_module)
    output.verify()


def test_an_equal_program_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def program() -> aot.ExportOutput:
        return aot.export(lambda x: torch.sin(x) * 3.25 + 1, torch.randn(7))

    first = program().compile()

    def no_process(*_: object, **__: object) -> None:
        raise AssertionError("a process starts")

    monkeypatch.setattr(driver, "run_iree", no_process)
    assert bytes(program().compile()) == bytes(first)
    with pytest.raises(AssertionError, match="a process starts"):
        program().compile(cache=False)
