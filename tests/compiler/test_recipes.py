# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Recipes and named targets: what is chosen, recorded, and right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from shark_turbine import aot, compiler, runtime
from shark_turbine.compiler import Recipe, recipes
from shark_turbine.compiler.core_cache import cache_of_core
from shark_turbine.errors import CompileError

PACKING = "--iree-opt-data-tiling"
IM2COL = "--iree-global-opt-use-im2col-for-convs"
VECTORS = "--iree-llvmcpu-reassociate-fp-reductions"
TILES = "--iree-llvmcpu-matmul-tile-bytes="


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(128, 128)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).relu()


class Conv(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).relu()


def recipe_of(vmfb: compiler.Vmfb) -> tuple[str, set[str]]:
    """Return a recipe's name and its flags, less how large tiles are: that is the machine's."""
    recipe = vmfb.manifest["recipe"]
    return recipe["name"], {flag for flag in recipe["flags"] if not flag.startswith(TILES)}


def tiles_of(vmfb: compiler.Vmfb) -> list[int]:
    flags = vmfb.manifest["recipe"]["flags"]
    return [int(flag.removeprefix(TILES)) for flag in flags if flag.startswith(TILES)]


@pytest.fixture(scope="module")
def net() -> tuple[Net, torch.Tensor, aot.ExportOutput]:
    model, x = Net().eval(), torch.randn(5, 128)
    return model, x, aot.export(model, x)


@pytest.mark.parametrize("recipe", ["auto", "prepacked", "size", "debug", "portable", "none"])
def test_each_recipe_computes_what_eager_does(
    net: tuple[Net, torch.Tensor, aot.ExportOutput], recipe: str
) -> None:
    model, x, output = net
    vmfb = output.compile(recipe=recipe)
    assert recipe_of(vmfb)[0] == recipe
    torch.testing.assert_close(runtime.load(vmfb).main(x), model(x))


def test_stored_weights_are_packed_and_passed_ones_are_not(
    net: tuple[Net, torch.Tensor, aot.ExportOutput],
) -> None:
    model, x, output = net
    assert recipe_of(output.compile()) == ("auto", {VECTORS, PACKING})
    passed = aot.export(torch.nn.functional.linear, x, model.layer.weight).compile()
    assert recipe_of(passed) == ("auto", {VECTORS})


def test_external_weights_are_packed_where_that_is_asked_for() -> None:
    class External(aot.CompiledModule):
        weight = aot.export_global(torch.randn(128, 128), external=True)
        product = aot.jittable(torch.matmul)

        def main(self, x=aot.AbstractTensor(4, 128)):
            return self.product(x, self.weight)

    output = aot.export(External)
    assert recipe_of(output.compile()) == ("auto", {VECTORS})
    assert recipe_of(output.compile(recipe="prepacked")) == ("prepacked", {VECTORS, PACKING})


def test_sums_along_the_last_dim_are_as_exact_as_eager() -> None:
    """Side by side in a vector: one after the other, 20,000 numbers add up several times the rounding."""
    torch.manual_seed(0)
    x = torch.randn(8, 20000)

    def total(x: torch.Tensor) -> torch.Tensor:
        return x.sum(-1)

    vmfb = aot.export(total, x).compile()
    exact = x.double().sum(-1)
    found = runtime.load(vmfb, device="local-sync").main(x)
    assert (found - exact).abs().max() < 4 * (total(x) - exact).abs().max()
    x[0, 5], x[1, 7], x[2, 3:5] = torch.nan, torch.inf, torch.tensor([torch.inf, -torch.inf])
    found = runtime.load(vmfb, device="local-sync").main(x)
    torch.testing.assert_close(found, total(x), rtol=1e-4, atol=1e-3, equal_nan=True)


def test_convolutions_become_matrix_products() -> None:
    model, x = Conv().eval(), torch.randn(1, 3, 16, 16)
    output = aot.export(model, x)
    portable = output.compile(target="aarch64-linux")
    assert recipe_of(portable) == ("auto", {VECTORS, PACKING})
    assert portable.manifest["recipe"]["rewrites"] == [
        "padding-before-expansion",
        "depthwise-as-sums",
        "narrow-as-products",
    ]
    vmfb = output.compile(target="x86-64-v3")
    assert vmfb.manifest["recipe"]["rewrites"] == [
        "channels-last",
        "padding-at-once",
        "panels-6x16",
    ]
    torch.testing.assert_close(runtime.load(vmfb).main(x), model(x))


@pytest.mark.parametrize(
    ("size", "tiles"), [(None, []), (2**18, []), (2**20, [2**20]), (2**24, [2**21])]
)
def test_tiles_are_as_large_as_the_cache_of_a_core(
    net: tuple[Net, torch.Tensor, aot.ExportOutput],
    monkeypatch: pytest.MonkeyPatch,
    size: int | None,
    tiles: list[int],
) -> None:
    model, x, output = net
    monkeypatch.setattr(recipes, "cache_of_core", lambda: size)
    vmfb = output.compile()
    assert tiles_of(vmfb) == tiles
    torch.testing.assert_close(runtime.load(vmfb).main(x), model(x))
    assert tiles_of(output.compile(recipe="portable")) == []
    assert tiles_of(output.compile(target="aarch64-linux")) == []


def test_the_cache_of_a_core_is_what_the_system_says(tmp_path: Path) -> None:
    for index, level, size in (
        (0, "1", "48K"),
        (1, "1", "32K"),
        (2, "2", "2048K"),
        (3, "3", "300M"),
    ):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        (folder / "level").write_text(level + "\n")
        (folder / "size").write_text(size + "\n")
    assert cache_of_core(tmp_path) == 2**21
    (tmp_path / "index2" / "size").write_text("unknown\n")
    assert cache_of_core(tmp_path) is None
    assert cache_of_core(tmp_path / "nowhere") is None


class Patches(torch.nn.Module):
    """A picture's patches, normalized: of 784 with 96 channels the compiler's usual tiles are too large."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.projection = torch.nn.Conv2d(3, 96, 4, 4)
        self.norm = torch.nn.LayerNorm(96)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.projection(x).flatten(2).transpose(1, 2))


def test_what_does_not_compile_in_large_tiles_compiles_in_small_ones() -> None:
    model, x = Patches().eval(), torch.randn(1, 3, 112, 112)
    mine = Recipe("mine", (VECTORS, PACKING), ("narrow-as-products",))
    vmfb = aot.export(model, x).compile(target="x86-64-v4", recipe=mine)
    assert recipe_of(vmfb) == ("mine, small tiles", {VECTORS, PACKING})
    assert tiles_of(vmfb) == [2**16]
    vmfb = aot.export(model, x).compile()
    assert vmfb.manifest["recipe"]["name"] in ("auto", "auto, small tiles")
    torch.testing.assert_close(runtime.load(vmfb).main(x), model(x), rtol=1e-4, atol=1e-5)


def test_what_does_not_compile_packed_compiles_unpacked() -> None:
    class Attention(torch.nn.Module):
        """Images of any number whose patches attend to each other: IREE 3.13 cannot tile it."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.patches = torch.nn.Conv2d(3, 32, 8, 8)
            self.layer = torch.nn.Linear(32, 32)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.patches(x).flatten(2).transpose(1, 2)
            q, k, v = (self.layer(x).view(x.shape[0], 16, 4, 8).transpose(1, 2) for _ in range(3))
            return torch.nn.functional.scaled_dot_product_attention(q, k, v)

    model, x = Attention().eval(), torch.randn(3, 3, 32, 32)
    output = aot.export(model, x, dynamic_shapes=({0: torch.export.Dim("n")},))
    daring = Recipe("daring", (PACKING, IM2COL))
    vmfb = output.compile(recipe=daring)
    torch.testing.assert_close(runtime.load(vmfb).main(x), model(x), rtol=1e-4, atol=1e-5)
    name, flags = recipe_of(vmfb)
    assert (name, flags) in [
        ("daring", {PACKING, IM2COL}),
        ("daring, small tiles", {PACKING, IM2COL}),
        ("daring, unpacked", {IM2COL}),
    ]


def test_a_recipe_of_ones_own_and_flags_over_it(
    net: tuple[Net, torch.Tensor, aot.ExportOutput],
) -> None:
    model, x, output = net
    vmfb = output.compile(
        recipe=Recipe("mine", ("--iree-opt-level=O1",)), flags=["--iree-opt-level=O2"]
    )
    assert vmfb.manifest["recipe"] == {
        "name": "mine", "flags": ["--iree-opt-level=O1"], "rewrites": []
    }  # fmt: skip
    assert vmfb.manifest["flags"] == ["--iree-opt-level=O2"]
    torch.testing.assert_close(runtime.load(vmfb).main(x), model(x))


def test_a_misspelt_recipe_is_refused(net: tuple[Net, torch.Tensor, aot.ExportOutput]) -> None:
    with pytest.raises(CompileError, match="did you mean 'portable'"):
        net[2].compile(recipe="portabel")


@pytest.mark.parametrize(
    "target", [name for name in compiler.MACHINES if name != "host"] + ["cuda:sm_90", "rocm:gfx90a"]
)
def test_every_named_target_compiles(
    net: tuple[Net, torch.Tensor, aot.ExportOutput], target: str
) -> None:
    vmfb = net[2].compile(target=target)
    assert vmfb.target["backends"] == [compiler.MACHINES[target.partition(":")[0]].backend]
    assert len(vmfb) > 0


@pytest.mark.parametrize(
    ("target", "fix"), [("aarch64-linus", "'aarch64-linux'"), ("wasm32:x", "'wasm32'")]
)
def test_an_unknown_target_is_refused(
    net: tuple[Net, torch.Tensor, aot.ExportOutput], target: str, fix: str
) -> None:
    with pytest.raises(CompileError, match=f"did you mean {fix}"):
        net[2].compile(target=target)


def test_a_target_said_twice_is_refused(net: tuple[Net, torch.Tensor, aot.ExportOutput]) -> None:
    with pytest.raises(CompileError, match="said in two ways"):
        net[2].compile(target="aarch64-linux", target_cpu="cortex-a72")


class TestTheDeviceIsChosen:
    """Where waking other threads would cost more than they save, the calling thread computes."""

    @staticmethod
    def device(model: torch.nn.Module, *args: torch.Tensor, **options: Any) -> str | None:
        output = aot.export(model.eval(), *args, dynamic_shapes=options.pop("dynamic_shapes", None))
        return output.compile(**options).manifest["recipe"].get("device")

    def test_small_and_large(self) -> None:
        small = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU())
        assert self.device(small, torch.randn(1, 64)) == "local-sync"
        assert self.device(torch.nn.Linear(1024, 1024), torch.randn(64, 1024)) is None
        assert self.device(torch.nn.Conv2d(3, 8, 3), torch.randn(1, 3, 8, 8)) == "local-sync"
        assert self.device(torch.nn.Conv2d(64, 64, 3), torch.randn(1, 64, 56, 56)) is None
        assert self.device(torch.nn.GELU(), torch.randn(100)) == "local-sync"
        assert self.device(torch.nn.GELU(), torch.randn(1000, 1000)) is None

    def test_many_small_steps_are_not_one_large_one(self) -> None:
        steps = torch.nn.LSTM(128, 128)
        assert self.device(steps, torch.randn(20, 128)) == "local-sync"

    def test_weights_that_come_from_memory_are_read_by_all(self) -> None:
        assert self.device(torch.nn.Linear(512, 4096, bias=False), torch.randn(1, 512)) is None

    def test_unknown_sizes_and_other_machines_have_the_usual_device(self) -> None:
        small, x = torch.nn.Linear(8, 8), torch.randn(2, 8)
        batch = ({0: torch.export.Dim("batch", min=1, max=4)},)
        assert self.device(small, x, dynamic_shapes=batch) is None
        assert self.device(small, x, recipe="portable") is None
        assert self.device(small, x, recipe="none") is None
        assert self.device(small, x, target="vmvx") is None

    def test_what_is_not_read_is_not_judged(self) -> None:
        text = """module @m { func.func @f(%a: tensor<4xf32>) -> tensor<4xf32> {
          %0 = arith.addf %a, %a : tensor<4xf32> return %0 : tensor<4xf32> } }"""
        assert "device" not in compiler.compile(text).manifest["recipe"]

    def test_load_takes_it_and_can_be_told_another(
        self, net: tuple[Net, torch.Tensor, aot.ExportOutput]
    ) -> None:
        model, x, output = net
        vmfb = output.compile()
        assert runtime.load(vmfb).device.uri == "local-sync"
        module = runtime.load(vmfb, device="local-task")
        assert module.device.uri == "local-task"
        torch.testing.assert_close(module.main(x), model(x))
