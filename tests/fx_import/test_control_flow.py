# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Loops and branches of the program become loops and branches of the function."""

from __future__ import annotations

import pytest
import torch
from torch._higher_order_ops.while_loop import while_loop

from tests.ops import harness


class Branch(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(3, 3))

    def forward(self, x):
        return torch.cond(
            x.sum() > 0, lambda x: (x @ self.weight, x + 1), lambda x: (x * 2, x - 1), (x,)
        )


class Loop(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.step = torch.nn.Parameter(torch.full((3,), 0.5))

    def forward(self, count, x):
        return while_loop(
            lambda i, x: i < count.max(),
            lambda i, x: (i + 1, x * 2 + self.step),
            (torch.tensor(0), x),
        )


def nested(x):
    def body(i, x):
        return i + 1, torch.cond(x.sum() > 20, lambda x: x - 1, lambda x: x * 2, (x,))

    return while_loop(lambda i, x: i < 5, body, (torch.tensor(0), x))


@pytest.fixture(scope="module")
def artifact():
    torch.manual_seed(0)
    modules = {"branch": Branch(), "branch2": Branch(), "loop": Loop(), "nested": nested}
    arguments = {
        "branch": (torch.ones(2, 3),),
        "branch2": (torch.ones(2, 3),),
        "loop": (torch.tensor([3]), torch.ones(3)),
        "nested": (torch.ones(3),),
    }
    programs = {name: harness.export(module, arguments[name]) for name, module in modules.items()}
    compiled = harness.compile_module(harness.import_all(programs))
    return harness.Artifact(compiled), modules


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("branch", (torch.ones(2, 3),)),
        ("branch", (-torch.ones(2, 3),)),
        ("branch2", (torch.ones(2, 3),)),
        ("loop", (torch.tensor([3]), torch.ones(3))),
        ("loop", (torch.tensor([0]), torch.ones(3))),
        ("nested", (torch.ones(3),)),
        ("nested", (torch.full((3,), 9.0),)),
    ],
)
def test_agrees_with_eager(artifact, name, arguments):
    loaded, modules = artifact
    with torch.no_grad():
        expected = harness.flat_tensors(modules[name](*arguments))
    assert harness.mismatch(loaded.call(name, arguments, expected), expected) is None
