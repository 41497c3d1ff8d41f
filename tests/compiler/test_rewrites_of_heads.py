# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attention's weights times its values, read where they lie: eager's numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shark_turbine import aot, compiler, runtime
from shark_turbine.compiler.rewrites import rewrite

NAMES = ["heads-8x32", "heads-6x16"]
Dim = torch.export.Dim


class Attention(nn.Module):
    """Heads of `width` over the rows of x."""

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.heads, self.projection = heads, nn.Linear(32, 3 * heads * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        parts = self.projection(x).view(batch, length, 3, self.heads, -1).unbind(2)
        q, k, v = (part.transpose(1, 2) for part in parts)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return mixed.transpose(1, 2).reshape(batch, length, -1)


class Weighted(nn.Module):
    """The product alone: `[batch, heads, rows, depth]` by values `[batch, depth, heads, width]`."""

    def forward(self, rows: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        return torch.matmul(rows, values.transpose(1, 2))


def rewritten(output: aot.ExportOutput, name: str = NAMES[0]) -> bool:
    return "compilation_info" in str(rewrite(output.mlir_module, [name]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("batch", "heads", "width"), [(1, 4, 64), (3, 2, 32), (2, 3, 96)])
def test_attention(batch: int, heads: int, width: int, name: str) -> None:
    torch.manual_seed(0)
    model, x = Attention(heads, width).eval(), torch.randn(batch, 21, 32)
    output = aot.export(model, x)
    assert rewritten(output, name)
    vmfb = output.compile(recipe=compiler.Recipe("heads", rewrites=(name,)))
    assert vmfb.manifest["recipe"]["name"] == "heads"
    torch.testing.assert_close(runtime.load(vmfb).main(x), model(x), rtol=1e-4, atol=1e-5)


def test_attention_by_default() -> None:
    torch.manual_seed(0)
    model, x = Attention(4, 64).eval(), torch.randn(1, 50, 32)
    vmfb = aot.export(model, x).compile(target="x86-64-v4")
    assert {"panels-8x32", "heads-8x32"} <= set(vmfb.manifest["recipe"]["rewrites"])
    vmfb = aot.export(model, x).compile()
    torch.testing.assert_close(runtime.load(vmfb).main(x), model(x), rtol=1e-4, atol=1e-5)


def test_any_number_of_tokens() -> None:
    torch.manual_seed(0)
    model, x = Attention(4, 32).eval(), torch.randn(2, 21, 32)
    output = aot.export(model, x, dynamic_shapes=({1: Dim("length", min=2, max=512)},))
    assert rewritten(output)
    loaded = runtime.load(output.compile())
    for length in (2, 7, 8, 64, 77, 300):
        x = torch.randn(2, length, 32)
        torch.testing.assert_close(loaded.main(x), model(x), rtol=1e-4, atol=1e-5)


def test_what_is_not_finite_stays_in_its_row_and_head() -> None:
    rows, values = torch.randn(2, 3, 9, 17), torch.randn(2, 17, 3, 64)
    rows[0, 1, 8, 16], rows[1, 2, 0, 0], values[1, 3, 0, 5] = torch.nan, torch.inf, torch.inf
    output = aot.export(Weighted(), rows, values)
    assert rewritten(output)
    found = runtime.load(output.compile()).main(rows, values)
    expected = Weighted()(rows, values)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize(
    ("rows", "values"),
    [
        (torch.randn(1, 2, 1, 9), torch.randn(1, 9, 2, 32)),
        (torch.randn(1, 1, 5, 9), torch.randn(1, 9, 1, 32)),
        (torch.randn(1, 2, 5, 9), torch.randn(1, 9, 2, 40)),
        (torch.randn(2, 2, 5, 9), torch.randn(1, 9, 2, 32)),
        (torch.randn(1, 2, 5, 9).double(), torch.randn(1, 9, 2, 32).double()),
        (torch.randn(5, 9), torch.randn(1, 9, 2, 32)),
    ],
    ids=["row", "one-head", "uneven", "broadcast", "f64", "matrix"],
)
def test_others_are_left_alone(rows: torch.Tensor, values: torch.Tensor) -> None:
    assert not rewritten(aot.export(Weighted(), rows, values))
