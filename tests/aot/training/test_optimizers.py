# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A hundred compiled training steps are those of eager PyTorch, for every optimizer and option."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import shark_turbine.aot as aot
import shark_turbine.runtime as rt

STEPS = 100


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 16)
        self.second = nn.Linear(16, 8)
        self.third = nn.Linear(8, 8)
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        x = torch.tanh(self.second(torch.relu(self.first(x))))
        return self.last(torch.tanh(self.third(x)))


def groups_of(model, first, second, third, last):
    parts = [(model.first, first), (model.second, second), (model.third, third)]
    return [
        {"params": part.parameters(), **options} for part, options in [*parts, (model.last, last)]
    ]


def sgd(model):
    groups = groups_of(
        model,
        {"momentum": 0.9},
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
        {"lr": 0.03},
        {"momentum": 0.5, "dampening": 0.3, "maximize": True},
    )
    return torch.optim.SGD(groups, lr=0.01)


def adam(model):
    groups = groups_of(
        model,
        {},
        {"amsgrad": True, "eps": 1e-6},
        {"weight_decay": 0.1, "betas": (0.0, 0.95)},
        {"maximize": True, "lr": torch.tensor(1e-4)},
    )
    return torch.optim.Adam(groups, lr=3e-3)


def adamw(model):
    return torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)


def batches(count):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 10, 6, generator=generator)
    y = torch.randint(0, 3, (count, 10), generator=generator)
    return list(zip(x, y, strict=True))


def eager_step(model, optimizer, x, y):
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


@pytest.mark.parametrize(
    "make_optimizer", [sgd, adam, adamw], ids=lambda function: function.__name__
)
def test_a_hundred_steps_are_those_of_pytorch(make_optimizer):
    torch.manual_seed(0)
    model = MLP()
    optimizer = make_optimizer(model)
    data = batches(STEPS + 2)
    # What the optimizer did before is taken over; for the last layer all is new.
    model.last.requires_grad_(False)
    for x, y in data[:2]:
        eager_step(model, optimizer, x, y)
    model.last.requires_grad_(True)
    eager = copy.deepcopy((model, optimizer))
    output = aot.export_training(
        model, nn.CrossEntropyLoss(), optimizer, args=(data[0][0],), targets=(data[0][1],)
    )
    compiled = rt.load(output.compile(), device="local-sync")
    worst, state = 0.0, {}
    for x, y in data[2:]:
        loss, expected = compiled.train_step(x, y), eager_step(*eager, x, y)
        state = compiled.state_dict()
        differences = [(loss - expected).abs().max()]
        for name, parameter in eager[0].named_parameters():
            differences.append((state[name] - parameter).abs().max())
        worst = max(worst, max(differences).item())
    assert worst < 1e-5
    check_moments(state, *eager)


def check_moments(state, model, optimizer):
    """Compare what the two optimizers remember."""
    kept = 0
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state[parameter].items():
            if key == "step":
                behind = 2 if name.startswith("last.") else 0
                assert state["optimizer.step"] == STEPS
                assert value == STEPS + 2 - behind
                continue
            found = state[f"optimizer.state.{name}.{key}"]
            torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-6)
            kept += 1
    assert kept == sum(name.startswith("optimizer.state.") for name in state)
