# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Frozen parameters: packed once, never stale."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shark_turbine.dynamo import freezing, native

from .conftest import compiled

FREEZE = {"options": {"freeze": True}}


@pytest.fixture
def bindings(monkeypatch):
    """Count how often parameters are packed."""
    real, seen = native._bind, []

    def count(*arguments):
        seen.append(arguments[-1])
        return real(*arguments)

    monkeypatch.setattr(native, "_bind", count)
    return seen


def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10)
    ).eval()


def test_parameters_are_packed_once(bindings):
    module, x = model(), torch.randn(2, 3, 6, 6)
    wrapped = compiled(module, **FREEZE)
    with torch.no_grad():
        for _ in range(3):
            torch.testing.assert_close(wrapped(x), module(x), rtol=1e-4, atol=1e-5)
    assert len(bindings) == 1
    assert len(bindings[0]) == 8  # weights, biases, and what batch norm keeps


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda m: m[4].weight.mul_(2), id="in place"),
        pytest.param(
            lambda m: setattr(m[4].weight, "data", torch.randn(10, 128)), id="other memory"
        ),
        pytest.param(lambda m: setattr(m[4], "bias", nn.Parameter(torch.randn(10))), id="replaced"),
        pytest.param(
            lambda m: m.load_state_dict(nn.Sequential(*[*model()]).state_dict()), id="loaded"
        ),
        pytest.param(lambda m: m[1].running_mean.add_(1), id="buffer"),
    ],
)
def test_changes_are_noticed(change):
    module, x = model(), torch.randn(2, 3, 6, 6)
    wrapped = compiled(module, **FREEZE)
    with torch.no_grad():
        wrapped(x)
        change(module)
        torch.testing.assert_close(wrapped(x), module(x), rtol=1e-4, atol=1e-5)


def test_an_optimizer_between_evaluations():
    module = nn.Linear(6, 3)
    wrapped = compiled(module, **FREEZE)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    x = torch.randn(4, 6)
    for _ in range(4):
        wrapped(x).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            torch.testing.assert_close(wrapped(x), module(x))


def test_who_changes_parameters_before_every_call_gets_live_ones(bindings):
    module, x = nn.Linear(6, 3), torch.randn(4, 6)
    wrapped = compiled(module, **FREEZE)
    with torch.no_grad():
        for _ in range(10):
            module.weight.mul_(1.1)
            torch.testing.assert_close(wrapped(x), module(x))
    assert len(bindings) <= freezing._MOST_UNUSED + 1


def test_tensors_of_inference_mode_stay_live(bindings):
    with torch.inference_mode():
        module, x = nn.Linear(6, 3), torch.randn(4, 6)
        wrapped = compiled(module, **FREEZE)
        for _ in range(3):
            torch.testing.assert_close(wrapped(x), module(x))
            module.weight.mul_(2)
    assert not bindings


def test_buffers_that_the_program_writes_stay_live():
    module = nn.BatchNorm1d(5)
    other = nn.BatchNorm1d(5)
    wrapped = compiled(module, **FREEZE)
    with torch.no_grad():
        for _ in range(3):
            x = torch.randn(8, 5)
            torch.testing.assert_close(wrapped(x), other(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(module.running_var, other.running_var)


def test_training_is_live():
    module = nn.Linear(6, 3)
    wrapped = compiled(module, **FREEZE)
    x = torch.randn(4, 6)
    wrapped(x).sum().backward()
    torch.testing.assert_close(module.weight.grad, x.sum(0).expand(3, 6))


def test_transposed_and_shared_parameters():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.randn(8, 5).t())
            self.again = self.table

        def forward(self, x):
            return x @ self.table, x @ self.again.tanh()

    module, x = Tied(), torch.randn(3, 5)
    with torch.no_grad():
        for left, right in zip(compiled(module, **FREEZE)(x), module(x), strict=True):
            torch.testing.assert_close(left, right)
