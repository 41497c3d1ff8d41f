# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Padding written together with the image: eager's numbers, zeros where the padding is, and nothing done twice."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shark_turbine import aot, compiler, runtime
from shark_turbine.compiler.rewrites import rewrite
from tests.compiler.layers import BATCH

NAMES = ("channels-last", "padding-at-once", "panels-8x32")
RECIPE = compiler.Recipe("padded", rewrites=NAMES)


class Block(nn.Module):
    """A layer, numbers that are not zero outside of its image, and a depthwise kernel over both."""

    def __init__(self, between: nn.Module, kernel: int = 3) -> None:
        super().__init__()
        self.wider, self.between = nn.Conv2d(4, 16, 1), between
        self.kernel = nn.Conv2d(16, 16, kernel, padding=kernel // 2, groups=16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.kernel(self.between(self.wider(x)))


class Residual(nn.Module):
    """An image that is used again behind the kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.wider, self.kernel = nn.Conv2d(4, 16, 1), nn.Conv2d(16, 16, 3, padding=1, groups=16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        image = (self.wider(x) + 1).relu()
        return image + self.kernel(image)


class Rows(nn.Module):
    """Numbers of each line: there are none for the padding."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = nn.Parameter(torch.randn(9, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.exp() * self.lines + 1


class Edges(nn.Module):
    """Paddings of a module's own: other edges, another number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(x.sigmoid() - 2, (0, 2, 1, 0), value=self.value)


def norm() -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(16)
    nn.init.uniform_(layer.bias, 1, 2)
    return layer


torch.manual_seed(0)
BLOCKS = {
    "norm-relu6": Block(nn.Sequential(norm(), nn.ReLU6())),
    "silu": Block(nn.Sequential(norm(), nn.SiLU()), kernel=5),
    "rows": Block(Rows()),
    "residual": Residual(),
    "largest": Block(nn.Sequential(nn.Softplus(), nn.MaxPool2d(3, 1, 1))),
    "zeros": Block(Edges(0.0)),
    "another-number": Block(Edges(-1.5)),
    "stride": nn.Sequential(nn.Conv2d(4, 16, 1), norm(), nn.GELU(), nn.Conv2d(16, 32, 3, 2, 1)),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_eagers_numbers_and_no_padding_of_its_own(name: str) -> None:
    model, x = BLOCKS[name].eval(), torch.randn(2, 4, 9, 11)
    output = aot.export(model, x)
    assert "constant_pad_nd" not in str(rewrite(output.mlir_module, NAMES[:2]))
    vmfb = output.compile(recipe=RECIPE)
    assert vmfb.manifest["recipe"]["name"] == "padded"
    torch.testing.assert_close(runtime.load(vmfb).main(x), model(x), rtol=1e-4, atol=1e-5)


def test_what_is_used_again_is_computed_once() -> None:
    output = aot.export(BLOCKS["residual"].eval(), torch.randn(1, 4, 9, 11))
    assert str(rewrite(output.mlir_module, NAMES)).count("torch.aten.relu ") == 1


def test_a_dynamic_batch() -> None:
    model = BLOCKS["norm-relu6"].eval()
    output = aot.export(model, torch.randn(2, 4, 9, 11), dynamic_shapes={"x": {0: BATCH}})
    vmfb = output.compile(recipe=RECIPE)
    assert vmfb.manifest["recipe"]["name"] == "padded"
    loaded = runtime.load(vmfb)
    for batch in (1, 2, 5):
        x = torch.randn(batch, 4, 9, 11)
        torch.testing.assert_close(loaded.main(x), model(x), rtol=1e-4, atol=1e-5)


def test_what_is_not_finite_at_an_edge_stays_there() -> None:
    """The padding reads what is nearest, and must not keep it."""
    model, x = BLOCKS["norm-relu6"].eval(), torch.randn(1, 4, 9, 11)
    x[0, 1, 0, 0], x[0, 2, 8, 10], x[0, 0, 0, 5] = torch.nan, torch.inf, -torch.inf
    vmfb = aot.export(model, x).compile(recipe=RECIPE)
    torch.testing.assert_close(
        runtime.load(vmfb).main(x), model(x), rtol=1e-4, atol=1e-5, equal_nan=True
    )


def test_other_paddings_are_left_alone() -> None:
    def padded(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        channels = torch.constant_pad_nd(x.relu(), (1, 1))
        whole = torch.constant_pad_nd(x.to(torch.int32), (0, 0, 1, 1))
        narrow = torch.constant_pad_nd(x[..., :4].relu(), (0, 0, 1, 1))
        return channels, whole, narrow

    x = torch.randn(1, 5, 16)
    changed = str(rewrite(aot.export(padded, x).mlir_module, ["padding-at-once"]))
    assert changed.count("torch.aten.constant_pad_nd ") == 3
