# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Convolutions as one operation with their channels last: eager's numbers, and which of them are written so."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shark_turbine import aot, compiler, runtime
from shark_turbine.compiler.rewrites import rewrite
from tests.compiler.layers import BATCH, Many

RECIPE = compiler.Recipe("direct", rewrites=("direct-8x16", "channels-last", "panels-8x32"))
OPERATION = "linalg.conv_2d_nhwc_hwcf"


def layers() -> Many:
    """Convolutions with strides, paddings and dilations of all kinds, of an image of 16 x 24 points."""
    torch.manual_seed(0)
    return Many(
        nn.Conv2d(6, 16, 3, padding=1),
        nn.Conv2d(6, 48, (5, 3), 2, (2, 1), bias=False),
        nn.Conv2d(6, 24, (2, 1), padding=(3, 0)),
        nn.Conv2d(6, 32, 3, (1, 3), padding=(0, 2), dilation=(2, 2)),
        nn.Conv2d(6, 10, 3, padding="same", dilation=3),
        nn.Conv2d(6, 64, 7, 2, 3),
    ).eval()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_convolution_is_what_eager_computes(dtype: torch.dtype, batch: int) -> None:
    model, x = layers().to(dtype), torch.randn(batch, 6, 16, 24, dtype=dtype)
    output = aot.export(model, x)
    assert str(rewrite(output.mlir_module, ["direct-8x16"])).count(OPERATION) == len(model.layers)
    vmfb = output.compile(recipe=RECIPE)
    assert vmfb.manifest["recipe"]["name"] == "direct"
    for found, expected in zip(runtime.load(vmfb).main(x), model(x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_dynamic_batch() -> None:
    model = layers()
    output = aot.export(model, torch.randn(2, 6, 16, 24), dynamic_shapes={"x": {0: BATCH}})
    vmfb = output.compile(recipe=RECIPE)
    assert vmfb.manifest["recipe"]["name"] == "direct"
    loaded = runtime.load(vmfb)
    for batch in (1, 2, 5):
        x = torch.randn(batch, 6, 16, 24)
        for found, expected in zip(loaded.main(x), model(x), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_network_with_pools_and_norms_between_them() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU6(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.GELU(), nn.Conv2d(64, 10, 1),
    ).eval()  # fmt: skip
    x = torch.randn(2, 3, 64, 64)
    x[0, 1, 2, 3], x[1, 0, 9, 9] = torch.nan, torch.inf
    output = aot.export(model, x)
    changed = str(rewrite(output.mlir_module, RECIPE.rewrites))
    assert changed.count(OPERATION) == 2
    assert "torch.aten.conv" not in changed
    vmfb = output.compile(recipe=RECIPE)
    assert vmfb.manifest["recipe"]["name"] == "direct"
    torch.testing.assert_close(
        runtime.load(vmfb).main(x), model(x), rtol=1e-4, atol=1e-5, equal_nan=True
    )


@pytest.mark.parametrize(
    ("layer", "sizes"),
    [
        (nn.Conv2d(8, 32, 3, padding=1), (8, 13)),  # Nothing divides 13 points.
        (nn.Conv2d(8, 38, 3, padding=1), (8, 16)),  # Nor 38 features, but 2.
        (nn.Conv2d(256, 256, 3, padding=1), (4, 8)),  # More weights than a cache holds.
        (nn.Conv2d(8, 32, 1), (8, 16)),  # Rows times a weight.
        (nn.Conv2d(8, 32, 2, 2), (16, 16)),  # As well.
        (nn.Conv2d(32, 32, 3, groups=2), (18, 18)),
    ],
)
def test_others_are_left_alone(layer: nn.Module, sizes: tuple[int, int]) -> None:
    module = aot.export(layer.eval(), torch.randn(1, layer.in_channels, *sizes)).mlir_module
    assert OPERATION not in str(rewrite(module, ["direct-8x16"]))


def test_weights_that_are_passed_are_left_alone() -> None:
    def convolved(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(x, weight)

    module = aot.export(convolved, torch.randn(1, 8, 18, 18), torch.randn(16, 8, 3, 3)).mlir_module
    assert OPERATION not in str(rewrite(module, ["direct-8x16"]))
