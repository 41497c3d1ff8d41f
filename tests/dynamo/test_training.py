# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Training: gradients equal to eager's, for several steps, with optimizers outside and inside."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shark_turbine.dynamo import explain

from .conftest import compiled, same

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def pair(model):
    """Return a model compiled, itself, and a copy that stays eager."""
    return compiled(model), model, copy.deepcopy(model)


def same_gradients(model, other):
    for (name, left), (_, right) in zip(
        model.named_parameters(), other.named_parameters(), strict=True
    ):
        if right.grad is None:
            assert left.grad is None, name
        else:
            torch.testing.assert_close(left.grad, right.grad, **TOLERANCE)


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 3, stride=2, padding=1),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        return self.head(self.body(x))


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.norm = nn.LayerNorm(16)

    def forward(self, tokens):
        return self.norm(self.layer(self.embedding(tokens))) @ self.embedding.weight.t()


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop])
def test_steps_with_an_optimizer_outside(optimizer):
    wrapped, model, other = pair(
        nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.LayerNorm(16), nn.Linear(16, 3))
    )
    optimizers = [optimizer(each.parameters(), lr=0.01) for each in (model, other)]
    for _ in range(5):
        x, y = torch.randn(7, 6), torch.randint(0, 3, (7,))
        losses = []
        for function, each in zip((wrapped, other), optimizers, strict=True):
            each.zero_grad()
            losses.append(F.cross_entropy(function(x), y))
            losses[-1].backward()
            each.step()
        torch.testing.assert_close(losses[0], losses[1], **TOLERANCE)
    for left, right in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(left, right, **TOLERANCE)


def test_a_convolutional_network():
    wrapped, model, other = pair(Convolutional())
    x, y = torch.randn(4, 1, 12, 12), torch.randint(0, 5, (4,))
    F.cross_entropy(wrapped(x), y).backward()
    F.cross_entropy(other(x), y).backward()
    same_gradients(model, other)


def test_attention_and_embeddings():
    wrapped, model, other = pair(Attentive())
    tokens = torch.randint(0, 20, (3, 9))
    for function in (wrapped, other):
        F.cross_entropy(function(tokens).flatten(0, 1), tokens.flatten()).backward()
    same_gradients(model, other)


# TorchDynamo imports torch's own scripted optimizers when it meets one.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
def test_a_whole_step_compiled_with_its_optimizer():
    model = nn.Linear(5, 3)
    other = copy.deepcopy(model)
    optimizers = [torch.optim.AdamW(each.parameters(), lr=0.05) for each in (model, other)]

    def update(optimizer):
        optimizer.step()

    compiled_update = compiled(update)
    for _ in range(3):
        x = torch.randn(4, 5)
        for each, optimizer in zip((model, other), optimizers, strict=True):
            optimizer.zero_grad()
            each(x).square().mean().backward()
        compiled_update(optimizers[0])
        update(optimizers[1])
    for left, right in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(left, right, **TOLERANCE)


def test_gradients_inside_the_compiled_function():
    def step(w, x):
        w = w.detach().requires_grad_()
        loss = (x @ w).square().sum()
        loss.backward()
        return w - 0.1 * w.grad

    w, x = torch.randn(4, 2), torch.randn(3, 4)
    torch.testing.assert_close(compiled(step)(w, x), step(w, x))


def test_gradients_accumulate():
    wrapped, model, other = pair(nn.Linear(4, 2))
    for _ in range(3):
        x = torch.randn(5, 4)
        wrapped(x).sum().backward()
        other(x).sum().backward()
    same_gradients(model, other)


def test_frozen_parts_get_no_gradient():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    model[0].requires_grad_(False)
    wrapped, model, other = pair(model)
    x = torch.randn(3, 4)
    wrapped(x).sum().backward()
    other(x).sum().backward()
    same_gradients(model, other)
    assert model[0].weight.grad is None


def test_results_that_need_no_gradient_and_gradients_of_arguments():
    def f(x, y, index):
        z = (x * y).sum(-1)
        return z.sigmoid(), z.argmax(), z.detach() + 1, x[index]

    x, y = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3)
    index = torch.tensor([2, 0, 2])
    other = x.detach().clone().requires_grad_()
    results, expected = compiled(f)(x, y, index), f(other, y, index)
    same(results[1:3], expected[1:3])
    (results[0].sum() + results[3].square().sum()).backward()
    (expected[0].sum() + expected[3].square().sum()).backward()
    torch.testing.assert_close(x.grad, other.grad)


def test_no_grad_and_inference_mode():
    wrapped, _, other = pair(nn.Linear(4, 2))
    x = torch.randn(3, 4)
    with torch.no_grad():
        result = wrapped(x)
    assert not result.requires_grad
    same(result, other(x).detach())
    with torch.inference_mode():
        torch.testing.assert_close(wrapped(x), other(x))
    assert wrapped(x).requires_grad


@pytest.mark.filterwarnings("ignore::shark_turbine.errors.FallbackWarning")
def test_dropout_draws_the_numbers_of_eager():
    model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.ReLU(), nn.Dropout(0.2))
    wrapped, model, other = pair(model)
    x = torch.randn(6, 8)
    for _ in range(2):
        torch.manual_seed(3)
        result = wrapped(x)
        result.sum().backward()
        torch.manual_seed(3)
        expected = other(x)
        expected.sum().backward()
        torch.testing.assert_close(result, expected)
    same_gradients(model, other)
    assert not wrapped(x).equal(wrapped(x))


@pytest.mark.filterwarnings("ignore::shark_turbine.errors.FallbackWarning")
def test_random_numbers_come_in_the_order_of_eager():
    def f(x):
        late = (x @ x).cumsum(0)
        first = torch.rand(3)
        second = torch.randn(3) * late[0]
        return first, second, torch.randint(0, 9, (3,)), torch.bernoulli(x.sigmoid())

    x = torch.randn(3, 3)
    torch.manual_seed(5)
    results = compiled(f)(x)
    torch.manual_seed(5)
    same(results, f(x))


def test_dynamic_batches_train():
    wrapped, model, other = pair(nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2)))
    for rows in (3, 5, 8):
        x = torch.randn(rows, 4)
        wrapped(x).square().mean().backward()
        other(x).square().mean().backward()
        same_gradients(model, other)


@pytest.mark.parametrize(
    ("model", "batch"),
    [
        pytest.param(
            nn.Sequential(
                nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2)
            ),
            torch.ones(0, 3, 8, 8),
            id="convolution",
        ),
        pytest.param(
            nn.Sequential(nn.Embedding(10, 4), nn.TransformerEncoderLayer(4, 2, 8, 0.0)),
            torch.ones(0, 3, dtype=torch.int64),
            id="transformer",
        ),
    ],
)
def test_an_empty_batch_is_compiled_without_a_warning(model, batch):
    wrapped, model, other = pair(model)
    for function in (wrapped, other):
        function(batch).sum().backward()
    same(wrapped(batch).detach(), other(batch).detach())
    same_gradients(model, other)


def test_mixed_precision():
    wrapped, model, other = pair(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)))
    x = torch.randn(4, 8)
    for function in (wrapped, other):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            result = function(x)
        assert result.dtype is torch.bfloat16
        result.float().sum().backward()
    for left, right in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad, rtol=5e-2, atol=5e-2)


def test_double_backward_is_refused_as_by_every_compiler_of_graphs():
    x = torch.randn(3, requires_grad=True)
    y = compiled(lambda x: x.sin().sum())(x)
    (gradient,) = torch.autograd.grad(y, x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"double backward|does not require grad"):
        gradient.sum().backward()


def test_explain_compiles_the_backward_graph_and_leaves_gradients_alone():
    model = nn.Linear(4, 2)
    report = explain(model)(torch.randn(3, 4))
    assert [graph.kind for graph in report.graphs] == ["forward", "backward"]
    assert all(graph.compiled_operators for graph in report.graphs)
    assert model.weight.grad is None


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(F.silu, id="silu"),
        pytest.param(F.mish, id="mish"),
        pytest.param(F.softshrink, id="softshrink"),
        pytest.param(lambda x: F.group_norm(x, 2), id="group norm"),
        pytest.param(lambda x: F.max_pool1d(x, 2), id="max pool"),
        pytest.param(lambda x: F.interpolate(x, scale_factor=2), id="interpolate"),
        pytest.param(lambda x: torch._weight_norm(x, x[:, :1, :1].exp(), 0), id="weight norm"),
        pytest.param(lambda x: F.scaled_dot_product_attention(x, x, x.tanh()), id="attention"),
        pytest.param(lambda x: x.cumsum(-1).sort(-1).values, id="sort"),
        pytest.param(lambda x: F.pad(x, (1, 1), "reflect"), id="pad"),
    ],
)
def test_gradients_compile_whole(function):
    """Nothing falls back: a warning is an error here."""
    x = torch.randn(3, 4, 6, requires_grad=True)
    other = x.detach().clone().requires_grad_()
    result, expected = compiled(function)(x), function(other)
    torch.testing.assert_close(result, expected, **TOLERANCE)
    gradient = torch.randn_like(expected)
    result.backward(gradient)
    expected.backward(gradient)
    torch.testing.assert_close(x.grad, other.grad, **TOLERANCE)
