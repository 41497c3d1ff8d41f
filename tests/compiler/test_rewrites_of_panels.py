# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Products with stored weights in panels: eager's numbers, for every number of rows, and the tiles kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from shark_turbine import aot, compiler, runtime
from shark_turbine.compiler.recipes import cautious
from shark_turbine.compiler.rewrites import rewrite

NAMES = ["panels-8x32", "panels-6x16"]
Dim = torch.export.Dim


class Turned(nn.Module):
    """`addmm` by a weight `[depth, features]`, as GPT-2 has it, then `mm` by the transpose of one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(40, 64))
        self.bias = nn.Parameter(torch.randn(64))
        self.second = nn.Parameter(torch.randn(96, 64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.bias, x, self.first).relu() @ self.second.t()


class Heads(nn.Module):
    """A projection that is split into heads, `width` wide, and turned: `[batch, heads, rows, width]`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer, self.width = nn.Linear(48, 128), width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.layer(x).view(x.shape[0], x.shape[1], -1, self.width)
        return parts.transpose(1, 2).softmax(-1)


def rewritten(output: aot.ExportOutput, name: str = NAMES[0]) -> int:
    return str(rewrite(output.mlir_module, [name])).count("linalg.pack ")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "shape", [(2, 64), (9, 33), (37, 768), (2, 3, 17, 64), (300, 16), (33,), (1, 1000), (1, 1, 64)]
)
def test_rows_times_a_stored_weight(shape: tuple[int, ...], bias: bool, name: str) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(shape[-1], 96, bias=bias).eval(), torch.randn(shape)
    output = aot.export(layer, x)
    assert rewritten(output, name) == 1
    vmfb = output.compile(recipe=compiler.Recipe("panels", rewrites=(name,)))
    assert vmfb.manifest["recipe"]["name"] == "panels"
    torch.testing.assert_close(runtime.load(vmfb).main(x), layer(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("features", [16, 24, 32, 33, 72, 144, 1000])
@pytest.mark.parametrize("leading", [(1, 1), (2, 9)])
def test_any_number_of_columns(
    leading: tuple[int, int], features: int, bias: bool, name: str
) -> None:
    """What a panel has too much is zeros; of at most as many columns as the weight has."""
    torch.manual_seed(0)
    layer, x = nn.Linear(64, features, bias=bias).eval(), torch.randn(*leading, 64)
    output = aot.export(nn.Sequential(layer, nn.Tanh()).eval(), x)
    assert rewritten(output, name) == 1
    vmfb = output.compile(recipe=compiler.Recipe("panels", rewrites=(name,)))
    assert vmfb.manifest["recipe"]["name"] == "panels"
    torch.testing.assert_close(runtime.load(vmfb).main(x), layer(x).tanh(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("model", "x", "products"),
    [
        (Turned(), torch.randn(21, 40), 2),
        (Heads(16), torch.randn(2, 9, 48), 1),
        (Heads(32), torch.randn(2, 9, 48), 1),
        (Heads(64), torch.randn(2, 9, 48), 1),
        (Turned(), torch.randn(1, 40), 2),
        (Heads(16), torch.randn(1, 1, 48), 1),
        (Heads(32), torch.randn(1, 1, 48), 1),
        (Heads(64), torch.randn(1, 1, 48), 1),
    ],
    ids=[
        f"{form}, {rows}"
        for rows in ("rows", "row")
        for form in ("turned", "heads-16", "heads-32", "heads-64")
    ],
)
def test_other_forms(model: nn.Module, x: torch.Tensor, products: int, name: str) -> None:
    output = aot.export(model.eval(), x)
    assert rewritten(output, name) == products
    vmfb = output.compile(recipe=compiler.Recipe("panels", rewrites=(name,)))
    torch.testing.assert_close(runtime.load(vmfb).main(x), model(x), rtol=1e-5, atol=1e-4)


def test_panels_are_not_as_wide_as_heads() -> None:
    """Both reshapes would cancel out, and the compiler forget the tiles: Swin-T would take 126 ms, not 75."""
    several, single = torch.randn(2, 9, 48), torch.randn(1, 1, 48)
    forms = (
        (several, 16, 32),
        (several, 32, 64),
        (several, 64, 32),
        (single, 32, 64),
        (single, 64, 32),
    )
    for x, width, columns in forms:
        output = aot.export(Heads(width).eval(), x)
        assert f"static_inner_tiles = array<i64: {columns}>" in str(
            rewrite(output.mlir_module, [NAMES[0]]).operation.get_asm(print_generic_op_form=True)
        )


def test_any_number_of_rows() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 64)).eval()
    x = torch.randn(3, 5, 64)
    shapes = ({0: Dim("batch", min=0, max=512), 1: Dim("length", min=1, max=512)},)
    vmfb = aot.export(model, x, dynamic_shapes=shapes).compile()
    loaded = runtime.load(vmfb)
    for batch, length in ((3, 5), (1, 1), (1, 7), (8, 8), (64, 1), (33, 9), (0, 4), (130, 2)):
        x = torch.randn(batch, length, 64)
        torch.testing.assert_close(loaded.main(x), model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [8, 13, 128])
def test_what_is_not_finite_stays_in_its_row(rows: int) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 64).eval(), torch.randn(rows, 64)
    x[0, 3], x[5, 7], x[rows - 1, 0] = torch.nan, torch.inf, -torch.inf
    vmfb = aot.export(layer, x).compile()
    torch.testing.assert_close(
        runtime.load(vmfb).main(x), layer(x), rtol=1e-5, atol=1e-5, equal_nan=True
    )


@pytest.mark.parametrize(
    ("model", "args"),
    [
        (nn.Linear(64, 7), (torch.randn(8, 64),)),
        (nn.Linear(64, 7), (torch.randn(1, 64),)),
        (nn.Linear(64, 64).double(), (torch.randn(8, 64).double(),)),
        (nn.Linear(64, 64).half(), (torch.randn(8, 64).half(),)),
        (nn.Linear(64, 64).double(), (torch.randn(1, 64).double(),)),
        (nn.Linear(64, 64).half(), (torch.randn(1, 64).half(),)),
        (nn.Bilinear(8, 8, 64), (torch.randn(8, 8), torch.randn(8, 8))),
    ],
    ids=["few-columns", "few-columns of a row", "f64", "f16", "f64 row", "f16 row", "bilinear"],
)
def test_others_are_left_alone(model: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
    assert rewritten(aot.export(model.eval(), *args)) == 0


@pytest.mark.parametrize("rows", [1, 8])
def test_weights_that_are_passed_or_change_are_left_alone(rows: int) -> None:
    class Learner(aot.CompiledModule):
        weight = aot.export_global(torch.ones(64, 64), mutable=True)

        def step(self, x=aot.AbstractTensor(rows, 64), other=aot.AbstractTensor(64, 64)):
            return self.apply(x, self.weight, other)

        @aot.jittable
        def apply(x, weight, other):
            return x @ weight + x @ other

    assert rewritten(aot.export(Learner)) == 0


@pytest.mark.parametrize("rows", [1, 9])
def test_external_weights_are_packed_where_that_is_asked_for(rows: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(128, 256).eval(), torch.randn(rows, 128)
    output = aot.export(layer, x, weights="external")
    output.save_parameters(tmp_path / "weights.irpa")
    for recipe, packs in (("auto", False), ("prepacked", True)):
        vmfb = output.compile(recipe=recipe, target="x86-64-v3")
        assert any(name in NAMES for name in vmfb.manifest["recipe"]["rewrites"]) == packs
        loaded = runtime.load(vmfb, parameters=tmp_path / "weights.irpa")
        torch.testing.assert_close(loaded.main(x), layer(x), rtol=1e-5, atol=1e-5)


def test_steps_of_a_recurrent_layer() -> None:
    """Each is a row times a weight; the inputs of all steps together are several."""
    torch.manual_seed(0)
    layer, x = nn.LSTM(32, 128, num_layers=2).eval(), torch.randn(6, 32)
    output = aot.export(layer, x)
    assert rewritten(output) == 2 * 6 + 2
    vmfb = output.compile(target="x86-64-v3")
    assert "panels-6x16" in vmfb.manifest["recipe"]["rewrites"]
    found, expected = runtime.load(vmfb).main(x), layer(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("x86-64-v4", ["panels-8x32"]),
        ("x86-64-v3", ["panels-6x16"]),
        ("aarch64-linux", []),
        ("vmvx", []),
    ],
)
def test_the_registers_of_the_target_decide(target: str, expected: list[str]) -> None:
    layer = nn.Linear(128, 256).eval()
    vmfb = aot.export(layer, torch.randn(9, 128)).compile(target=target)
    assert vmfb.manifest["recipe"]["rewrites"] == expected


def test_where_panels_do_not_compile_the_rest_of_the_recipe_is_kept() -> None:
    packing, im2col = "--iree-opt-data-tiling", "--iree-global-opt-use-im2col-for-convs"
    given = compiler.Recipe("given", (packing,), ("winograd", "panels-8x32"))
    small = (packing, "--iree-llvmcpu-matmul-tile-bytes=65536")
    found = [(milder.name, milder.flags, milder.rewrites) for milder in cautious(given)]
    assert found == [
        ("given, small tiles", small, ("winograd", "panels-8x32")),
        ("given, tiles of the compiler", small, ("winograd",)),
        ("given, unpacked", (), ("panels-8x32",)),
        ("given, plain", (im2col,), ()),
    ]
    dynamic = compiler.Recipe("dynamic", (), ("panels-8x32",))
    names = [milder.name for milder in cautious(dynamic)]
    assert names == ["dynamic, tiles of the compiler", "dynamic, plain"]
