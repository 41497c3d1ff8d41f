# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Padding in front of a convolution, and of the layer that widens its image: the numbers of eager PyTorch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import shark_turbine.runtime as runtime
from shark_turbine import aot
from shark_turbine.compiler.rewrites import rewrite

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
ACTIVATIONS = {
    1: nn.ReLU6(), 2: nn.SiLU(), 3: nn.Hardswish(), 4: nn.GELU(), 5: nn.Identity()
}  # fmt: skip


def block(dims: int, kernel: int, stride: int, activation: int, **options) -> nn.Sequential:
    """An inverted residual's first half: a product to more channels, and a depthwise convolution."""
    kind = CONVOLUTIONS[dims - 1]
    norm = NORMS[dims - 1](16)
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias)
    return nn.Sequential(
        kind(4, 16, 1, bias=activation % 2 == 0),
        norm,
        ACTIVATIONS[activation],
        kind(16, 16, kernel, stride, groups=16, **options),
        nn.ReLU(),
    )


class Blocks(nn.Module):
    """Several blocks of one input: one compilation checks them all."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x):
        return tuple(block(x) for block in self.blocks)


def rewritten(model: nn.Module, x: torch.Tensor, **options) -> str:
    return str(rewrite(aot.export(model, x, **options).mlir_module, ["padding-before-expansion"]))


def check(model: nn.Module, x: torch.Tensor) -> None:
    vmfb = aot.export(model, x).compile()
    assert vmfb.manifest["recipe"]["name"] == "auto"
    found = runtime.load(vmfb, device="local-sync").main(x)
    for each, expected in zip(found, model(x), strict=True):
        torch.testing.assert_close(each, expected, rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize(("dims", "batch"), [(1, 3), (2, 1), (2, 9), (3, 1)])
def test_blocks_are_what_eager_computes(dims: int, batch: int) -> None:
    torch.manual_seed(0)
    model = Blocks(
        block(dims, 3, 1, 1, padding=1),
        block(dims, 3, 2, 2, padding=1),
        block(dims, 5, 1, 3, padding=2),
        block(dims, 5, 3, 4, padding=1),
        block(dims, 3, 1, 5, padding=2, dilation=2),
        block(dims, 3, 2, 1, padding=0, bias=False),
    ).eval()
    x = torch.randn(batch, 4, *(13, 10, 8)[:dims])
    assert rewritten(model, x).count("where.ScalarOther") == len(model.blocks)
    check(model, x)


class Uneven(nn.Module):
    """Padded by an operation of its own, as TensorFlow's models are, also by other things than zeros."""

    def __init__(self, layer: nn.Module, pads: tuple[int, ...], **how) -> None:
        super().__init__()
        self.layer, self.pads, self.how = layer, pads, how

    def forward(self, x):
        return self.layer(nn.functional.pad(x, self.pads, **self.how))


def test_padding_of_its_own() -> None:
    torch.manual_seed(0)
    zeros = [
        Uneven(nn.Conv2d(4, 6, 3, stride=2), (0, 1, 0, 1)),
        Uneven(nn.Conv2d(4, 6, 3, padding=1), (2, 0)),
        Uneven(nn.Conv2d(4, 4, 3, groups=4), (0, 1, 2, 3), value=0.0),
    ]
    others = [
        Uneven(nn.Conv2d(4, 6, 3), (0, 1, 0, 1), value=1.0),
        Uneven(nn.Conv2d(4, 6, 3), (0, 1, 0, 1), value=-math.inf),
        Uneven(nn.Conv2d(4, 6, 3), (1, 1, 1, 1), mode="reflect"),
        Uneven(nn.Conv2d(4, 6, 3), (-1, 0, 2, -2)),
        Uneven(nn.Conv2d(5, 6, 3), (0, 0, 0, 0, 1, 0)),
        Uneven(nn.Conv2d(4, 4, 3, groups=4), (1, 1), value=2.0),
    ]
    check(Blocks(*zeros, *others).eval(), torch.randn(2, 4, 11, 8))


def test_an_expansion_before_padding_of_its_own() -> None:
    torch.manual_seed(0)
    expand = nn.Sequential(nn.Conv2d(4, 16, 1), nn.ReLU6())
    layer = nn.Conv2d(16, 16, 3, stride=2, groups=16)
    model = Blocks(nn.Sequential(expand, Uneven(layer, (0, 1, 0, 1)))).eval()
    x = torch.randn(1, 4, 10, 12)
    assert "where.ScalarOther" in rewritten(model, x)
    check(model, x)


def test_what_is_not_finite_stays_at_its_place() -> None:
    """Outside there are zeros, whatever a layer makes of zeros; inside everything is as it was."""
    torch.manual_seed(0)
    infinite = block(2, 3, 1, 5, padding=1)
    wider = infinite[0]
    assert isinstance(wider, nn.Conv2d)
    with torch.no_grad():
        wider.weight[3] = math.inf
    model = Blocks(block(2, 3, 1, 1, padding=1), infinite).eval()
    x = torch.randn(1, 4, 12, 12)
    x[0, 1, 0, 0], x[0, 2, 7, 11] = math.nan, math.inf
    check(model, x)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wider = nn.Conv2d(4, 16, 1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)

    def forward(self, x):
        wide = self.wider(x).relu()
        return self.depthwise(wide) + wide


class Shifted(Residual):
    def forward(self, x):
        wide = self.wider(x)
        return self.depthwise(wide + torch.linspace(0, 1, wide.shape[-1]))


def test_what_is_left_alone() -> None:
    """Images that others use too, or that a position decides; and where it costs more than it brings."""
    x = torch.randn(1, 4, 10, 10)
    batch = torch.export.Dim("batch", min=1, max=8)
    depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
    left = [
        Residual(),
        Shifted(),
        nn.Sequential(nn.Conv2d(4, 16, 3, padding=1), depthwise),
        nn.Sequential(nn.Conv2d(4, 16, 1), nn.Softmax(1), depthwise),
        nn.Sequential(nn.Conv2d(4, 16, 1), nn.Conv2d(16, 16, 3, groups=16)),
        nn.Sequential(nn.Conv2d(4, 16, 1), nn.Conv2d(16, 16, 3, padding=1)),
    ]
    for model in left:
        assert "where.ScalarOther" not in rewritten(model.eval(), x)
    dynamic = block(2, 3, 1, 1, padding=1).eval()
    assert "where.ScalarOther" not in rewritten(
        dynamic, torch.randn(2, 4, 10, 10), dynamic_shapes=({0: batch},)
    )
    deep = nn.Sequential(nn.Conv2d(160, 320, 1), nn.Conv2d(320, 320, 3, padding=1, groups=320))
    assert "where.ScalarOther" not in rewritten(deep.eval(), torch.randn(1, 160, 7, 7))
    # A mask as large as the image would be in the artifact.
    large = block(2, 3, 1, 1, padding=1).eval()
    assert "where.ScalarOther" not in rewritten(large, torch.randn(1, 4, 400, 400))
    check(Blocks(*left), x)
