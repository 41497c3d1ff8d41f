# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Programs around a training step: a loop over batches, the state as arguments and results."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import shark_turbine.aot as aot
import shark_turbine.runtime as rt


class Criterion(nn.Module):
    """A loss with a parameter of its own, and a model's member called optimizer beside it."""

    def __init__(self):
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(()))

    def forward(self, output, target):
        error = (output["y"] - target["y"]) ** 2
        return (error * torch.exp(-self.log_variance) + self.log_variance).mean()


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.optimizer = nn.Linear(3, 2)

    def forward(self, x):
        return {"y": self.optimizer(x)}


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    model, loss = Model(), Criterion()
    optimizer = torch.optim.Adam([*model.parameters(), *loss.parameters()], lr=0.05)
    training = aot.training_module(
        model, loss, optimizer, args=(torch.zeros(4, 3),), targets=({"y": torch.zeros(4, 2)},)
    )

    class LoopModule(training):
        def train(
            self,
            state=training.state,
            x=aot.AbstractTensor("steps", 4, 3),
            y=aot.AbstractTensor("steps", 4, 2),
        ):
            self.state = state

            def step(index, losses):
                inputs = aot.IREE.tensor_slice(x, (index, 1), (0, 4), (0, 3))
                targets = aot.IREE.tensor_slice(y, (index, 1), (0, 4), (0, 2))
                loss = self.train_step(
                    aot.IREE.tensor_reshape(inputs, 4, 3),
                    {"y": aot.IREE.tensor_reshape(targets, 4, 2)},
                )
                return aot.IREE.tensor_update(losses, aot.IREE.tensor_reshape(loss, 1), index)

            steps = aot.IREE.tensor_dim(x, 0, dtype=aot.AbstractI64)
            losses = aot.IREE.tensor_splat(steps, value=0.0, dtype=torch.float32)
            losses = aot.fori_loop(0, steps, step, losses)
            return losses, dict(self.state.items())

    compiled = rt.load(aot.export(LoopModule).compile(), device="local-sync")
    return copy.deepcopy((model, loss, optimizer)), training, compiled


def test_a_loop_in_the_module_trains_as_pytorch_does(trained):
    (model, loss, optimizer), _, compiled = trained
    x, y = torch.randn(30, 4, 3), torch.randn(30, 4, 2)
    state = compiled.state_dict()
    losses = []
    for part in (slice(0, 10), slice(10, 30)):
        compiled.reset()  # What is learned goes out and comes in again.
        result, state = compiled.train(state, x[part], y[part])
        losses.append(result)
    expected = []
    for inputs, targets in zip(x, y, strict=True):
        value = loss(model(inputs), {"y": targets})
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        expected.append(value.detach())
    torch.testing.assert_close(torch.cat(losses), torch.stack(expected), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        state["loss.log_variance"], loss.log_variance.detach(), rtol=1e-4, atol=1e-5
    )


def test_names_that_the_model_has_already_get_a_number(trained):
    _, training, compiled = trained
    names = list(compiled.state_dict())
    assert names == list(training.state)
    assert {"optimizer.weight", "optimizer$1.step", "optimizer$1.param_groups.0.lr"} <= {*names}
    assert training.state["optimizer.weight"] == aot.AbstractTensor(2, 3)


def test_the_types_of_globals_can_be_read_from_a_class():
    class SmallModule(aot.CompiledModule):
        tree = aot.export_global_tree({"a": [torch.zeros(2)]}, mutable=True)
        count = aot.export_global(3)

    assert SmallModule.tree == {"a": [aot.AbstractTensor(2)]}
    assert SmallModule.count == aot.AbstractI64
