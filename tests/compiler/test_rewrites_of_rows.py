# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Linear layers of one row, in pieces of their depth: the same numbers, and only where it pays."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shark_turbine import aot, runtime
from shark_turbine.compiler.rewrites import rewrite

NAME = "rows-in-pieces"


class Weights(nn.Module):
    """`linear` with weights that are given: [features, depth]."""

    def forward(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, weight)


def rewritten(output: aot.ExportOutput) -> int:
    return str(rewrite(output.mlir_module, [NAME])).count("torch.aten.bmm")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(128,), (1, 136), (1, 1, 1024)])
@pytest.mark.parametrize("features", [1, 7, 256])
def test_one_row_times_a_small_weight(shape: tuple[int, ...], features: int, bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(shape[-1], features, bias=bias).eval(), torch.randn(shape)
    output = aot.export(layer, x)
    assert rewritten(output) == 1
    vmfb = output.compile()
    # Weights of this size count as a few numbers: the recipe has nothing to pack.
    assert (NAME in vmfb.manifest["recipe"]["rewrites"]) == (shape[-1] * features >= 2**14)
    torch.testing.assert_close(runtime.load(vmfb).main(x), layer(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "args"),
    [
        (nn.Linear(256, 64), (torch.randn(2, 256),)),
        (nn.Linear(64, 256), (torch.randn(1, 64),)),
        (nn.Linear(252, 64), (torch.randn(1, 252),)),
        (nn.Linear(1024, 512), (torch.randn(1, 1024),)),
        (nn.Linear(256, 64).double(), (torch.randn(1, 256).double(),)),
        (nn.Linear(256, 64).half(), (torch.randn(1, 256).half(),)),
        (Weights(), (torch.randn(1, 256), torch.randn(64, 256))),
    ],
    ids=["rows", "shallow", "uneven", "large", "f64", "f16", "argument"],
)
def test_others_are_left_alone(model: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
    assert rewritten(aot.export(model.eval(), *args)) == 0


def test_weights_from_outside_are_left_alone() -> None:
    output = aot.export(nn.Linear(256, 64).eval(), torch.randn(1, 256), weights="external")
    assert rewritten(output) == 0


def test_weights_that_change_are_left_alone() -> None:
    class Learner(aot.CompiledModule):
        weight = aot.export_global(torch.ones(128, 128), mutable=True)

        def step(self, x=aot.AbstractTensor(1, 128)):
            return self.apply(x, self.weight)

        @aot.jittable
        def apply(x, weight):
            return nn.functional.linear(x, weight)

    assert rewritten(aot.export(Learner)) == 0


def test_a_recurrent_layer() -> None:
    torch.manual_seed(0)
    layer = nn.LSTM(32, 128, num_layers=2).eval()
    x = torch.randn(6, 32)
    output = aot.export(layer, x)
    assert rewritten(output) == 12
    # The rows of the pieces, a row each, are no rows for panels; the input of all steps is.
    both = str(rewrite(output.mlir_module, [NAME, "panels-8x32"]))
    assert both.count("torch.aten.bmm") == 12
    vmfb = output.compile()
    assert NAME in vmfb.manifest["recipe"]["rewrites"]
    found, expected = runtime.load(vmfb).main(x), layer(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
