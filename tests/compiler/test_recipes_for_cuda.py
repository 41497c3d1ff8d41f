# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What `auto` chooses for GPUs with CUDA, and what the compiler makes of it: none is run here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from shark_turbine import aot, compiler, runtime
from shark_turbine.compiler import Recipe, tiles
from shark_turbine.compiler.recipes import cautious
from shark_turbine.errors import CompileError

IM2COL = "--iree-global-opt-use-im2col-for-convs"
# How a product is cut by the library: the compiler itself copies nothing that is added to.
OURS = "promote_operands = [0, 1, 2]"
Dim = torch.export.Dim


class Product(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x @ y


class Transposed(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x @ y.mT


class Strided(nn.Module):
    """What a ResNet has where images get smaller: of those the compiler's own code was wrong, it seems."""

    def __init__(self) -> None:
        super().__init__()
        self.three, self.one = nn.Conv2d(32, 64, 3, 2, padding=1), nn.Conv2d(32, 64, 1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.three(x) + self.one(x)).relu()


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64)).eval()


def dumped(output: aot.ExportOutput, folder: Path) -> tuple[str, str]:
    """Return how the compiler cuts operations, and its assembly."""
    flag = f"--iree-hal-dump-executable-files-to={folder}"
    vmfb = output.compile(target="cuda:sm_90", flags=[flag])
    assert vmfb.manifest["recipe"]["name"] == "auto"
    found = [
        "\n".join(path.read_text() for path in sorted(folder.glob(pattern)))
        for pattern in ("configured_*.mlir", "*.ptx")
    ]
    return found[0], found[1]


def test_what_is_chosen() -> None:
    output = aot.export(linear(), torch.randn(5, 64))
    recipe = output.compile(target="cuda").manifest["recipe"]
    assert (recipe["name"], recipe["tiles"]) == ("auto", "workgroups")
    assert recipe["rewrites"] == ["turned-weights"]
    assert IM2COL not in recipe["flags"]
    none = output.compile(target="cuda", recipe="none").manifest["recipe"]
    assert none == {"name": "none", "flags": [], "rewrites": []}
    assert "tiles" not in output.compile(target="vulkan").manifest["recipe"]
    assert "tiles" not in output.compile().manifest["recipe"]


def test_convolutions_are_products(tmp_path: Path) -> None:
    output = aot.export(Strided().eval(), torch.randn(1, 32, 28, 28))
    cut, assembly = dumped(output, tmp_path)
    assert cut.count(OURS) == 2
    assert re.search(r"\.entry \w+dispatch_\d+_matmul", assembly)
    assert not re.search(r"\.entry \w+dispatch_\d+_(conv|reduction)", assembly)


def test_operands_are_shared_and_sums_are_f32(tmp_path: Path) -> None:
    cut, assembly = dumped(aot.export(linear(), torch.randn(33, 64)), tmp_path)
    assert cut.count(OURS) == 2
    assert "ld.shared.v4" in assembly
    assert "fma.rn.f32" in assembly
    assert "tf32" not in assembly


@pytest.mark.parametrize(
    ("model", "shapes", "workgroup"),
    [
        (Product(), ((2048, 768), (768, 768)), "[64, 64, 0]"),
        (Product(), ((128, 768), (768, 3072)), "[32, 32, 0]"),
        (Product(), ((3, 200), (200, 50)), "[16, 32, 0]"),
        (Product(), ((192, 128, 64), (192, 64, 128)), "[1, 64, 64, 0]"),
        (Transposed(), ((130, 64), (77, 64)), "[32, 32, 0]"),
        (Transposed(), ((6, 130, 64), (6, 77, 64)), "[1, 32, 32, 0]"),
    ],
)
def test_tiles_by_size(
    model: nn.Module, shapes: tuple[tuple[int, ...], ...], workgroup: str, tmp_path: Path
) -> None:
    output = aot.export(model, *(torch.randn(shape) for shape in shapes))
    cut, _ = dumped(output, tmp_path)
    assert cut.count(OURS) == 1
    assert f"workgroup = {workgroup}" in cut


def test_a_single_row_is_left_to_the_compiler(tmp_path: Path) -> None:
    cut, _ = dumped(aot.export(linear(), torch.randn(1, 64)), tmp_path)
    assert OURS not in cut


def test_unknown_sizes(tmp_path: Path) -> None:
    batch = Dim("batch", min=1, max=512)
    rows = aot.export(linear(), torch.randn(5, 64), dynamic_shapes=({0: batch},))
    cut, _ = dumped(rows, tmp_path / "rows")
    assert cut.count(OURS) == 2
    image = torch.randn(2, 32, 28, 28)
    images = aot.export(Strided().eval(), image, dynamic_shapes=({0: batch},))
    assert images.compile(target="cuda").manifest["recipe"]["name"] == "auto"


def test_a_depth_that_is_not_known_is_left_to_the_compiler(tmp_path: Path) -> None:
    # Its loop over the depth would never end (IREE 3.13).
    depth = Dim("depth", min=2, max=512)
    given = torch.randn(64, 40), torch.randn(40, 64)
    output = aot.export(Product(), *given, dynamic_shapes=({1: depth}, {0: depth}))
    cut, _ = dumped(output, tmp_path)
    assert OURS not in cut


def test_constants_are_not_cut_for_the_gpu_on_this_cpu() -> None:
    # The first step's state is zeros: its product with a weight is made of constants.
    output = aot.export(nn.LSTM(64, 128).eval(), torch.randn(12, 3, 64))
    assert output.compile(target="cuda").manifest["recipe"]["name"] == "auto"


def test_what_the_compiler_fails_at_is_compiled_with_its_own_tiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Without a copy of what is added to, the compiler fails where that is a bias, and fills no tile.
    output = aot.export(nn.Conv2d(64, 128, 1, 2).eval(), torch.randn(1, 64, 28, 28))
    text = tiles.LIBRARIES["workgroups"]().replace(OURS, "promote_operands = [0, 1]")
    monkeypatch.setitem(tiles.LIBRARIES, "workgroups", lambda: text)
    recipe = output.compile(target="cuda").manifest["recipe"]
    assert recipe["name"] == "auto, tiles of the compiler"
    assert recipe["rewrites"] == []
    assert "tiles" not in recipe


def test_milder_recipes_keep_what_is_right() -> None:
    daring = Recipe("auto", (IM2COL,), ("turned-weights",), tiles="workgroups")
    assert cautious(daring) == [Recipe("auto, tiles of the compiler", (IM2COL,))]


def test_a_library_of_the_call_replaces_ours(tmp_path: Path) -> None:
    mine = tmp_path / "mine.mlir"
    mine.write_text(tiles.LIBRARIES["workgroups"]().replace("[16, 32, 0]", "[16, 64, 0]"))
    given = [f"--iree-codegen-transform-dialect-library={mine}"]
    assert tiles.flags("workgroups", str(tmp_path), given) == []
    assert tiles.flags(None, str(tmp_path), []) == []


def test_unknown_tiles_are_refused() -> None:
    with pytest.raises(CompileError, match="no such tiles"):
        Recipe("mine", tiles="squares")


@pytest.mark.parametrize("rows", [(7,), (3, 5), (1,)])
def test_turned_weights_give_eagers_numbers(rows: tuple[int, ...]) -> None:
    model, x = linear(), torch.randn(*rows, 64)
    recipe = Recipe("turned", rewrites=("turned-weights",))
    vmfb = aot.export(model, x).compile(recipe=recipe)
    assert vmfb.manifest["recipe"]["rewrites"] == ["turned-weights"]
    torch.testing.assert_close(runtime.load(vmfb).main(x), model(x))


def test_turned_weights_of_unknown_numbers_of_rows() -> None:
    model = linear()
    dims = {0: Dim("batch", min=1, max=8), 1: Dim("length", min=1, max=8)}
    output = aot.export(model, torch.randn(2, 3, 64), dynamic_shapes=(dims,))
    main = runtime.load(output.compile(recipe=Recipe("turned", rewrites=("turned-weights",)))).main
    for shape in ((1, 1), (2, 3), (8, 5)):
        x = torch.randn(*shape, 64)
        torch.testing.assert_close(main(x), model(x))


def test_it_compiles_the_same_twice() -> None:
    output = aot.export(linear(), torch.randn(5, 64))
    first, second = (output.compile(target="cuda:sm_90").map_memory() for _ in range(2))
    assert bytes(first) == bytes(second)
    assert compiler.Recipe("mine", tiles="workgroups").to_json()["tiles"] == "workgroups"
