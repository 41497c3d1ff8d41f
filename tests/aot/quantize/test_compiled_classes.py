# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`aot.quantize` of CompiledModule classes: the derived class computes with integers, whatever reads them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import shark_turbine.aot as aot
import shark_turbine.runtime as rt

I64 = torch.int64


class Model(nn.Module):
    """Every kind of use: embedding, linear with a bias and without, and `x @ w.T` with a tied weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(64, 32)
        self.up = nn.Linear(32, 48)
        self.down = nn.Linear(48, 32, bias=False)

    def forward(self, tokens):
        x = self.embed(tokens)
        x = x + self.down(torch.relu(self.up(x)))
        return x @ self.embed.weight.T

    def plus_diagonal(self, x):
        return self.up(x), self.up.weight.diagonal(), self.down.weight


MODEL = Model().eval().requires_grad_(False)
TOKENS = torch.tensor([[1, 63, 17]])


def make_class(external: bool = False):
    class LanguageModule(aot.CompiledModule):
        params = aot.export_parameters(MODEL, external=external or None)
        steps = aot.export_global(torch.zeros((), dtype=I64), mutable=True)
        forward = aot.jittable(MODEL.forward)
        plus_diagonal = aot.jittable(MODEL.plus_diagonal)

        @aot.jittable
        def next_step(steps):
            return steps + 1

        def prefill(self, tokens=aot.AbstractTensor(1, None, dtype=I64)):
            self.steps = self.next_step(self.steps)
            return self.forward(tokens)

        def decode(self, token=aot.AbstractTensor(1, 1, dtype=I64)):
            return self.forward(token)

        def read(self):
            return self.params["up.weight"], self.params["up.bias"]

        def mixed(self, x=aot.AbstractTensor(2, 32)):
            return self.plus_diagonal(x)

    return LanguageModule


def with_stored_weights(report, bits, group_size):
    """Return the model with each weight as it is stored: what the compiled class should compute."""
    model = copy.deepcopy(MODEL)
    layers = aot.quantize(MODEL, bits=bits, group_size=group_size).module
    for name in ("embed", "up", "down"):
        getattr(model, name).weight.copy_(getattr(layers, name).weight)
    assert {weight.name for weight in report.weights} == {
        f"params.{name}.weight" for name in ("embed", "up", "down")
    }
    return model


@pytest.fixture(scope="module", params=[(8, None), (4, 16)], ids=["int8", "int4 of 16"])
def case(request):
    bits, group_size = request.param
    quantized = aot.quantize(make_class(), bits=bits, group_size=group_size)
    output = aot.export(quantized.module)
    reference = with_stored_weights(quantized.report, bits, group_size)
    return quantized, output, rt.load(output.compile(), device="local-sync"), reference


def test_procedures_compute_with_the_stored_weights(case):
    _, _, loaded, reference = case
    torch.testing.assert_close(loaded.prefill(TOKENS), reference(TOKENS), rtol=0, atol=1e-4)
    one = TOKENS[:, :1]
    torch.testing.assert_close(loaded.decode(one), reference(one), rtol=0, atol=1e-4)


def test_other_readers_get_floats(case):
    _, _, loaded, reference = case
    weight, bias = loaded.read()
    assert torch.equal(weight, reference.up.weight)
    assert torch.equal(bias, MODEL.up.bias)
    x = torch.randn(2, 32)
    result, diagonal, whole = loaded.mixed(x)
    torch.testing.assert_close(result, reference.up(x), rtol=0, atol=1e-5)
    assert torch.equal(diagonal, reference.up.weight.diagonal())
    assert torch.equal(whole, reference.down.weight)


def test_no_float_copy_of_a_weight_is_left(case):
    quantized, output, _, _ = case
    bits = quantized.report.weights[0].bits
    program = aot.CompiledModule.get_program(output.compiled_module)
    symbols = {item.symbol for item in program.globals}
    assert f"_params.embed.weight.q{bits}" in symbols
    assert "_params.embed.weight" not in symbols
    assert "_params.up.bias" in symbols
    stored = [item.initial.value for item in program.globals if not item.mutable]
    assert (
        sum(tensor.nbytes for tensor in stored if tensor is not None)
        == quantized.report.bytes_after
    )
    assert quantized.report.bytes_before == sum(p.nbytes for p in MODEL.parameters())


def test_the_class_itself_stays_and_a_subclass_is_quantized_too():
    layer = nn.Linear(32, 32)

    class BaseModule(aot.CompiledModule):
        params = aot.export_parameters(layer)
        forward = aot.jittable(layer.forward)

        def run(self, x=aot.AbstractTensor(1, 32)):
            return self.forward(x)

    quantized = aot.quantize(BaseModule).module
    assert quantized.__name__ == "BaseModule"
    assert "_params.weight: f32[32, 32]" in str(aot.CompiledModule.get_program(BaseModule()))

    class LongerModule(quantized):
        def twice(self, x=aot.AbstractTensor(1, 32)):
            return self.forward(self.forward(x))

    program = str(aot.CompiledModule.get_program(LongerModule()))
    assert "program @longer" in program
    assert "_params.weight.q8: i8[2, 1, 32, 16]" in program
    assert "_params.weight: f32[32, 32]" not in program


def test_external_weights_are_external_integers(tmp_path):
    quantized = aot.quantize(make_class(external=True), bits=8)
    output = aot.export(quantized.module)
    path = tmp_path / "weights.irpa"
    output.save_parameters(path)
    keys = {key for key, _ in aot.ParameterArchive(path).items()}
    assert {"params.embed.weight.q8", "params.embed.weight.scales", "params.up.bias"} <= keys
    assert "params.embed.weight" not in keys
    loaded = rt.load(output.compile(), parameters=path, device="local-sync")
    reference = with_stored_weights(quantized.report, 8, None)
    torch.testing.assert_close(loaded.prefill(TOKENS), reference(TOKENS), rtol=0, atol=1e-4)


def test_a_changed_weight_is_quantized_anew():
    layer = nn.Linear(32, 32, bias=False)

    class OneModule(aot.CompiledModule):
        params = aot.export_parameters(layer)
        forward = aot.jittable(layer.forward)

        def run(self, x=aot.AbstractTensor(1, 32)):
            return self.forward(x)

    quantized = aot.quantize(OneModule).module
    with torch.no_grad():
        layer.weight.copy_(torch.eye(32) * 127)
    x = torch.randn(1, 32)
    run = rt.load(aot.export(quantized).compile(), device="local-sync").run
    torch.testing.assert_close(run(x), 127 * x)
