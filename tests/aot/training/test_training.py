# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a compiled training does with modes, frozen and tied parameters, its state and dynamic batches."""

from __future__ import annotations

import copy

import iree.runtime as ireert
import numpy as np
import pytest
import torch
from torch import nn

import shark_turbine.aot as aot
import shark_turbine.runtime as rt
from shark_turbine.errors import ArgumentError, ContractError


class Shared(nn.Module):
    """Two parameters that have the same gradient, and two buffers that get the same value."""

    def __init__(self):
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.randn(6)) for _ in range(2))
        self.register_buffer("last", torch.zeros(6))
        self.register_buffer("seen", torch.zeros(6))

    def forward(self, x):
        if self.training:
            mean = x.detach().mean(0)
            self.last.copy_(mean)
            self.seen.copy_(mean)
        return x * (self.a + self.b)


class Network(nn.Module):
    """A convolution, BatchNorm, a layer used twice, a frozen bias, layers in evaluation mode, a layer
    that nobody uses.
    """

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 3, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.encode = nn.Linear(48, 6, bias=False)
        self.decode = nn.Linear(6, 48, bias=False)
        self.again = self.encode
        self.head = nn.Linear(6, 2)
        self.head.bias.requires_grad_(False)
        self.unused = nn.Linear(2, 2)
        self.shared = Shared()
        self.fixed = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5)).eval()

    def forward(self, x, *, scale):
        x = torch.relu(self.norm(self.convolution(x))).flatten(1)
        x = self.again(self.decode(self.encode(x)) * scale)
        return self.head(self.fixed(self.shared(x)))


def data(count, rows):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(count, rows, 1, 4, 4, generator=generator)
    return list(zip(x, torch.randn(count, rows, 2, generator=generator), strict=True))


SCALE = torch.tensor(0.5)


def eager_step(model, optimizer, x, y):
    loss = nn.functional.mse_loss(model(x, scale=SCALE), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Network()


def make_optimizer(model):
    rest = [*model.shared.parameters(), *model.fixed.parameters()]
    groups = [
        {"params": [*model.convolution.parameters(), *model.norm.parameters()]},
        {"params": [*model.encode.parameters(), *model.decode.parameters()], "lr": 2e-3},
        {"params": [*model.head.parameters(), *model.unused.parameters(), *rest]},
    ]
    return torch.optim.AdamW(groups, lr=1e-3)


@pytest.fixture(scope="module")
def output(model):
    x, y = data(1, 5)[0]
    batch = torch.export.Dim("batch", max=64)
    return aot.export_training(
        model,
        nn.functional.mse_loss,
        make_optimizer(model),
        args=(x,),
        targets=(y,),
        kwargs={"scale": SCALE},
        dynamic_shapes={"x": {0: batch}, "target": {0: batch}, "scale": None},
        module_name="network",
    )


@pytest.fixture(scope="module")
def vmfb(output):
    return output.compile()


@pytest.fixture
def compiled(vmfb):
    return rt.load(vmfb, device="local-sync")


def test_training_and_prediction_are_those_of_pytorch(model, compiled):
    eager = copy.deepcopy(model)
    optimizer = make_optimizer(eager)
    for rows in (3, 7, 7, 2):
        for x, y in data(5, rows):
            expected = eager_step(eager, optimizer, x, y)
            torch.testing.assert_close(compiled.train_step(x, y, scale=SCALE), expected)
    eager.eval()
    x, _ = data(1, 9)[0]
    torch.testing.assert_close(
        compiled.predict(x, scale=SCALE), eager(x, scale=SCALE).detach(), rtol=1e-4, atol=1e-5
    )
    learned = copy.deepcopy(model)
    found = learned.load_state_dict(compiled.state_dict(), strict=False)
    assert all(name.startswith("optimizer.") for name in found.unexpected_keys)
    fixed = ["fixed.0.running_mean", "fixed.0.running_var"]
    unchanged = ["again.weight", "head.bias", "unused.weight", "unused.bias", *fixed]
    assert found.missing_keys == unchanged
    for name, value in eager.state_dict().items():
        torch.testing.assert_close(learned.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_exporting_changes_neither_the_model_nor_the_optimizer(model, output):
    torch.manual_seed(0)
    untouched = Network()
    modes = [module.training for module in model.modules()]
    assert modes == [module.training for module in untouched.modules()]
    assert modes.count(False) == 3
    for name, value in untouched.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert all(parameter.grad is None for parameter in model.parameters())
    assert output.compiled_module is not None


def test_the_state_has_the_names_of_pytorch(compiled):
    names = list(compiled.state_dict())
    trained = [
        "convolution.weight", "norm.weight", "norm.bias", "encode.weight",
        "decode.weight", "head.weight", "shared.a", "shared.b", "fixed.0.weight", "fixed.0.bias",
    ]  # fmt: skip
    buffers = [
        "shared.last",
        "shared.seen",
        "norm.running_mean",
        "norm.running_var",
        "norm.num_batches_tracked",
    ]
    moments = [
        f"optimizer.state.{name}.{moment}"
        for name in trained
        for moment in ("exp_avg", "exp_avg_sq")
    ]
    rates = [f"optimizer.param_groups.{number}.lr" for number in range(3)]
    assert sorted(names) == sorted([*trained, *buffers, *moments, "optimizer.step", *rates])


def test_state_is_reset_forked_saved_and_loaded(compiled, tmp_path):
    first = compiled.state_dict()
    (x, y), (x2, y2) = data(2, 4)
    compiled.train_step(x, y, scale=SCALE)
    compiled.save_state(tmp_path / "state.safetensors")
    fork = compiled.fork()
    losses = [one.train_step(x2, y2, scale=SCALE) for one in (compiled, fork)]
    assert losses[0] == losses[1]
    compiled.reset()
    assert all(torch.equal(value, first[name]) for name, value in compiled.state_dict().items())
    compiled.load_state(tmp_path / "state.safetensors")
    assert compiled.train_step(x2, y2, scale=SCALE) == losses[0]
    assert compiled.state_dict()["optimizer.step"] == 2
    assert compiled.state_dict()["norm.num_batches_tracked"] == 2


def test_learning_rates_change_while_it_runs(model, compiled):
    eager = copy.deepcopy(model)
    optimizer = make_optimizer(eager)
    for number, (x, y) in enumerate(data(6, 4)):
        rates = [1e-2 / (number + 1), 0.0, 1e-3]
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        compiled.set_learning_rate(*rates)
        expected = eager_step(eager, optimizer, x, y)
        torch.testing.assert_close(compiled.train_step(x, y, scale=SCALE), expected)
    state = compiled.state_dict()
    assert state["optimizer.param_groups.2.lr"].item() == pytest.approx(1e-3)
    assert torch.equal(state["encode.weight"], model.encode.weight)


def test_batches_of_different_sizes_are_refused(compiled):
    x, y = data(1, 4)[0]
    with pytest.raises(ArgumentError, match="train_step"):
        compiled.train_step(x, y[:3], scale=SCALE)
    with pytest.raises(ContractError, match="64"):
        compiled.train_step(torch.zeros(65, 1, 4, 4), torch.zeros(65, 2), scale=SCALE)


def test_stock_iree_trains(model, vmfb):
    eager = copy.deepcopy(model)
    optimizer = make_optimizer(eager)
    config = ireert.Config("local-sync")
    module = ireert.load_vm_module(
        ireert.VmModule.wrap_buffer(config.vm_instance, vmfb.map_memory()), config
    )
    scale = np.float32(0.5)
    for x, y in data(3, 4):
        loss = module.train_step(x.numpy(), y.numpy(), scale=np.asarray(scale)).to_host()
        assert loss == pytest.approx(eager_step(eager, optimizer, x, y).item(), rel=1e-4)
