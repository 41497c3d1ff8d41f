# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Convolution networks with their channels last: eager's numbers, and no image turned between two layers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from shark_turbine import aot, compiler, runtime
from shark_turbine.compiler.probing import walk
from shark_turbine.compiler.recipes import cautious
from shark_turbine.compiler.rewrites import rewrite
from tests.compiler.layers import BATCH, CONVOLUTIONS, Many

NAMES = ("channels-last", "panels-8x32")


class Chain(nn.Module):
    """A convolution, something that an image passes through, and another convolution."""

    def __init__(self, between: nn.Module, channels: int = 16) -> None:
        super().__init__()
        self.first, self.between = nn.Conv2d(3, 16, 3, padding=1), between
        self.last = nn.Conv2d(channels, 32, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.between(self.first(x)))


class Squeezed(nn.Module):
    """Each channel times a number that is made of all, as in a squeeze-and-excitation block."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.up(self.down(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class Side(nn.Module):
    """An image beside itself, less one number of each channel, plus a bias without a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.bias, self.row = nn.Parameter(torch.randn(16, 1, 1)), nn.Parameter(torch.randn(1, 9))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x + self.bias, (x * self.row - 0.5).clamp(0, 6)], 1)


def dense(dims: int) -> Sequence[nn.Module]:
    """Dense and depthwise convolutions with strides, paddings and dilations of all kinds."""
    torch.manual_seed(0)
    kind = CONVOLUTIONS[dims - 1]
    choices = itertools.product((1, 4), (1, 2, 3), (1, 2, 3), (1, 2))
    layers = [
        kind(4, 4 if groups > 1 else 38, kernel, stride, (kernel + groups) % 3, dilation, groups,
             bias=kernel != 2)
        for groups, kernel, stride, dilation in itertools.islice(choices, dims % 2, None, 2)
    ]  # fmt: skip
    uneven = {1: (5,), 2: (3, 2), 3: (2, 1, 3)}[dims]
    layers.append(kind(4, 48, uneven, uneven[::-1], padding=tuple(size // 2 for size in uneven)))
    layers.append(kind(4, 4, uneven, padding="same", groups=4))
    layers.append(kind(4, 64, uneven, stride=uneven))
    return layers


def is_needed(use: Any) -> bool:
    return use.owner.name == "func.return" or any(use.owner.results[0].uses)


def turns(module: Any) -> int:
    """Return how often an image or a weight is turned; a row of numbers needs no turning."""
    found = [
        item.results[0] for item in walk(module.operation) if item.name == "torch.aten.permute"
    ]
    # A list of images that were put together by another operation is left behind.
    used = [value for value in found if any(map(is_needed, value.uses))]
    sizes = [re.findall(r"\d+(?=[,\]])", str(value.type)) for value in used]
    return sum(len(dims) - dims.count("1") > 1 for dims in sizes)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_every_convolution_is_what_eager_computes(dims: int, batch: int) -> None:
    model = Many(*dense(dims)[batch // 3 :: 2]).eval()
    x = torch.randn(batch, 4, *(11, 9, 7)[:dims])
    output = aot.export(model, x)
    assert "torch.aten.conv" not in str(rewrite(output.mlir_module, ["channels-last"]))
    vmfb = output.compile(target="x86-64-v3")
    assert vmfb.manifest["recipe"]["name"] == "auto"
    assert vmfb.manifest["recipe"]["rewrites"] == [
        "channels-last",
        "padding-at-once",
        "panels-6x16",
    ]
    for found, expected in zip(runtime.load(vmfb).main(x), model(x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_dynamic_batch(dims: int) -> None:
    model = Many(*dense(dims)[::4]).eval()
    sizes = (11, 9, 7)[:dims]
    output = aot.export(model, torch.randn(2, 4, *sizes), dynamic_shapes={"x": {0: BATCH}})
    vmfb = output.compile(target="x86-64-v3")
    assert vmfb.manifest["recipe"]["rewrites"] == [
        "channels-last",
        "padding-at-once",
        "panels-6x16",
    ]
    loaded = runtime.load(vmfb)
    for batch in (1, 2, 5):
        x = torch.randn(batch, 4, *sizes)
        for found, expected in zip(loaded.main(x), model(x), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


BETWEEN = {
    "batch-norm": nn.Sequential(nn.BatchNorm2d(16), nn.ReLU6()),
    "group-norm": nn.Sequential(nn.GroupNorm(4, 16), nn.SiLU()),
    "gelu": nn.GELU(),
    "hardswish": nn.Hardswish(),
    "largest": nn.MaxPool2d(3, 2, 1),
    "largest-ceil": nn.MaxPool2d((2, 3), 2, ceil_mode=True),
    "largest-dilated": nn.MaxPool2d(2, 1, dilation=2),
    "mean": nn.AdaptiveAvgPool2d(1),
    "nearest": nn.Upsample(scale_factor=2),
    "transposed": nn.ConvTranspose2d(16, 16, (2, 3), stride=(2, 3)),
    "squeezed": Squeezed(),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_an_image_is_turned_at_the_ends_only(name: str) -> None:
    torch.manual_seed(0)
    model, x = Chain(BETWEEN[name]).eval(), torch.randn(1, 3, 10, 9)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    output = aot.export(model, x)
    # Weights are turned when compiling; the first image is read as it lies, and the last one is a result.
    layers = nn.Conv2d, nn.ConvTranspose2d
    weights = sum(isinstance(module, layers) for module in model.modules())
    # An image of one point needs none; the places of a transposed kernel are put in their order.
    more = {"mean": -1, "transposed": 1}.get(name, 0)
    assert turns(rewrite(output.mlir_module, ["channels-last"])) == weights + 1 + more
    vmfb = output.compile(recipe=compiler.Recipe("last", rewrites=NAMES))
    assert vmfb.manifest["recipe"]["name"] == "last"
    torch.testing.assert_close(runtime.load(vmfb).main(x), model(x), rtol=1e-4, atol=1e-5)


def test_images_side_by_side_and_numbers_of_other_ranks() -> None:
    torch.manual_seed(0)
    model, x = Chain(Side(), 32).eval(), torch.randn(1, 3, 10, 9)
    output = aot.export(model, x)
    # Both weights and the result.
    assert turns(rewrite(output.mlir_module, ["channels-last"])) == 3
    vmfb = output.compile(recipe=compiler.Recipe("last", rewrites=NAMES))
    torch.testing.assert_close(runtime.load(vmfb).main(x), model(x), rtol=1e-4, atol=1e-5)


def test_turns_of_the_model_cancel_out() -> None:
    """As in ConvNeXt, whose blocks have linear layers between depthwise convolutions."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.norm = nn.Conv2d(32, 32, 7, padding=3, groups=32), nn.LayerNorm(32)
            self.wide, self.narrow = nn.Linear(32, 128), nn.Linear(128, 32)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found = self.norm(self.mix(x).permute(0, 2, 3, 1))
            return x + self.narrow(nn.functional.gelu(self.wide(found))).permute(0, 3, 1, 2)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 32, 4, stride=4), Block(), Block()).eval()
    x = torch.randn(1, 3, 32, 32)
    output = aot.export(model, x)
    # The patches of the first image, two weights, and the result.
    assert turns(rewrite(output.mlir_module, ["channels-last"])) == 4
    vmfb = output.compile()
    assert "channels-last" in vmfb.manifest["recipe"]["rewrites"] or vmfb.target["cpu"] != "host"
    torch.testing.assert_close(runtime.load(vmfb).main(x), model(x), rtol=1e-4, atol=1e-5)


def test_large_images_by_rows_of_the_kernel() -> None:
    torch.manual_seed(0)
    model, x = nn.Conv2d(48, 24, 5, padding=2, dilation=(2, 1)).eval(), torch.randn(1, 48, 46, 44)
    output = aot.export(model, x)
    changed = str(rewrite(output.mlir_module, ["channels-last"]))
    assert changed.count("torch.aten.linear ") == 5
    vmfb = output.compile(recipe=compiler.Recipe("last", rewrites=NAMES))
    torch.testing.assert_close(runtime.load(vmfb).main(x), model(x), rtol=1e-4, atol=1e-4)


def test_a_result_that_is_made_of_padding_alone() -> None:
    model, x = nn.Conv2d(4, 32, 1, stride=5, padding=2).eval(), torch.randn(1, 4, 1, 1)
    loaded = runtime.load(aot.export(model, x).compile())
    torch.testing.assert_close(loaded.main(x), model(x), rtol=1e-5, atol=1e-6)


def test_winograd_between() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(16, 64, 1), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.BatchNorm2d(64))
    model, x = Chain(body, 64).eval(), torch.randn(1, 3, 17, 14)
    output = aot.export(model, x)
    changed = rewrite(output.mlir_module, ["winograd", "channels-last"])
    assert "torch.aten.conv" not in str(changed)
    names = ("winograd", *NAMES)
    vmfb = output.compile(recipe=compiler.Recipe("last", rewrites=names))
    assert vmfb.manifest["recipe"]["name"] == "last"
    torch.testing.assert_close(runtime.load(vmfb).main(x), model(x), rtol=1e-4, atol=1e-5)


def test_what_is_not_finite_stays_where_it_is() -> None:
    """The padding of a largest number is less than all; NaN is passed on, as in eager."""
    torch.manual_seed(0)
    model = Chain(nn.MaxPool2d(3, 2, 1)).eval()
    x = torch.randn(1, 3, 12, 12)
    x[0, 1, 2, 3], x[0, 0, 9, 9], x[0, 2, 11, 0] = torch.nan, torch.inf, -torch.inf
    vmfb = aot.export(model, x).compile(recipe=compiler.Recipe("last", rewrites=NAMES))
    torch.testing.assert_close(
        runtime.load(vmfb).main(x), model(x), rtol=1e-4, atol=1e-5, equal_nan=True
    )


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(8, 8, 3, groups=2),
        nn.Conv2d(8, 16, 3, groups=8),
        nn.ConvTranspose2d(8, 8, 3),
        nn.Conv2d(8, 8, 3).half(),
    ],
    ids=["grouped", "multiplied", "transposed", "f16"],
)
def test_modules_with_other_convolutions_are_left_alone(layer: nn.Module) -> None:
    model = nn.Sequential(layer, nn.Conv2d(layer.out_channels, 64, 1).to(layer.weight.dtype)).eval()
    output = aot.export(model, torch.randn(1, 8, 9, 9).to(layer.weight.dtype))
    vmfb = output.compile(target="x86-64-v3")
    assert "channels-last" not in vmfb.manifest["recipe"]["rewrites"]
    assert "torch.aten.conv" in str(rewrite(output.mlir_module, ["channels-last"]))


def test_weights_that_are_passed_are_left_alone() -> None:
    args = torch.randn(1, 8, 9, 9), torch.randn(64, 8, 3, 3)
    output = aot.export(nn.functional.conv2d, *args)
    vmfb = output.compile(target="x86-64-v3")
    assert vmfb.manifest["recipe"]["rewrites"][-1:] == ["narrow-as-products"]
    torch.testing.assert_close(
        runtime.load(vmfb).main(*args), nn.functional.conv2d(*args), rtol=1e-4, atol=1e-4
    )


def test_external_weights_are_turned_where_that_is_asked_for(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Chain(nn.ReLU()).eval(), torch.randn(1, 3, 10, 9)
    output = aot.export(model, x, weights="external")
    output.save_parameters(tmp_path / "weights.irpa")
    for recipe, turns in (("auto", False), ("prepacked", True)):
        vmfb = output.compile(recipe=recipe, target="x86-64-v3")
        assert ("channels-last" in vmfb.manifest["recipe"]["rewrites"]) == turns
        loaded = runtime.load(vmfb, parameters=tmp_path / "weights.irpa")
        torch.testing.assert_close(loaded.main(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("x86-64-v4", ["direct-8x16", "channels-last", "padding-at-once", "panels-8x32"]),
        ("x86-64-v3", ["channels-last", "padding-at-once", "panels-6x16"]),
        ("aarch64-linux", ["padding-before-expansion", "depthwise-as-sums", "narrow-as-products"]),
        ("vmvx", []),
    ],
)
def test_the_registers_of_the_target_decide(target: str, expected: list[str]) -> None:
    vmfb = aot.export(Chain(nn.ReLU()).eval(), torch.randn(1, 3, 10, 9)).compile(target=target)
    assert vmfb.manifest["recipe"]["rewrites"] == expected


def test_where_it_does_not_compile_convolutions_are_products_as_before() -> None:
    given = compiler.Recipe("given", (), ("winograd", "direct-8x16", "padding-at-once", *NAMES))
    found = [(milder.name, milder.rewrites) for milder in cautious(given)]
    others = ("winograd", "padding-before-expansion", "depthwise-as-sums", "narrow-as-products")
    assert found == [("given, tiles of the compiler", others), ("given, plain", ())]
