# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`aot.quantize` of nn.Modules: exported, compiled, run, and compared with themselves in eager PyTorch."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import shark_turbine.aot as aot
import shark_turbine.runtime as rt
from shark_turbine.errors import IndexContractError


class Tied(nn.Module):
    """A small language model: embedding and head share their weight; 100 rows do not fill tiles of 16."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(100, 64)
        self.up = nn.Linear(64, 48)
        self.down = nn.Linear(48, 64, bias=False)
        self.norm = nn.LayerNorm(64)
        self.head = nn.Linear(64, 100, bias=False)
        self.head.weight = self.embed.weight
        self.to(dtype).eval()

    def forward(self, tokens):
        x = self.embed(tokens)
        return self.head(self.norm(x + self.down(torch.relu(self.up(x)))))


class Entries(nn.Module):
    """One vmfb for several forms of input: steps of decoding, a batch, any length."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, one, batch, any_length, vector):
        return self.model(one), self.model(batch), self.model(any_length), self.model(vector)


TOKENS = (
    torch.tensor([[7]]),
    torch.tensor([[0, 99, 15, 16], [31, 32, 5, 98]]),
    torch.tensor([[1, 2, 3, 50, 60]]),
    torch.tensor(3),
)


def compiled(model, *inputs, **options):
    return rt.load(aot.export(model, *inputs, **options).compile(), device="local-sync").main


def assert_close(actual, expected, tolerance=1e-5):
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    torch.testing.assert_close(
        actual.float(), expected.float(), rtol=0, atol=tolerance * float(expected.abs().max())
    )


@pytest.mark.parametrize(
    ("bits", "group_size", "dtype"),
    [
        (8, None, torch.bfloat16),
        (4, 16, torch.float32),
    ],
)
def test_compiled_as_eager(bits, group_size, dtype):
    model = Entries(Tied(dtype)).requires_grad_(False)
    quantized = aot.quantize(model, bits=bits, group_size=group_size).module
    free = {"one": None, "batch": None, "any_length": {1: torch.export.Dim("n")}, "vector": None}
    run = compiled(quantized, *TOKENS, dynamic_shapes=free)
    inputs = (*TOKENS[:2], torch.tensor([[9, 8, 7]]), TOKENS[3])
    tolerance = 1e-5 if dtype is torch.float32 else 2e-2
    results = zip(run(*inputs), quantized(*inputs), model(*inputs), strict=True)
    for actual, expected, original in results:
        assert_close(actual, expected, tolerance)
        error = (actual.float() - original.float()).norm() / original.float().norm()
        assert error < (0.03 if bits == 8 else 0.3)


def test_an_index_out_of_range_is_an_error_also_within_the_last_tile():
    layer = aot.quantize(nn.Embedding(100, 64).requires_grad_(False)).module
    run = compiled(layer, torch.tensor([1]))
    assert_close(run(torch.tensor([99])), layer(torch.tensor([99])))
    for index in (100, -1):
        with pytest.raises(IndexContractError, match="index out of range"):
            run(torch.tensor([index]))
        with pytest.raises(IndexError, match="100 rows"):
            layer(torch.tensor([index]))


def test_a_tied_weight_is_stored_once():
    quantized = aot.quantize(Tied(), bits=8).module
    assert quantized.head.qweight is quantized.embed.qweight
    assert sum(p.nbytes for p in quantized.parameters()) < 0.31 * sum(
        p.nbytes for p in Tied().parameters()
    )
    program = str(aot.CompiledModule.get_program(aot.export(quantized, TOKENS[0]).compiled_module))
    assert program.count("i8[7, 1, 64, 16]") == 1


def test_what_was_given_stays_and_shares_the_rest():
    model = Tied()
    before = copy.deepcopy(model.state_dict())
    quantized = aot.quantize(model).module
    assert type(model.up) is nn.Linear
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert quantized.norm.weight is model.norm.weight
    assert quantized.up.bias is model.up.bias
    assert isinstance(quantized.up, aot.QuantizedLinear)
    assert isinstance(quantized.embed, aot.QuantizedEmbedding)
    assert not quantized.training


def test_the_weight_can_be_read_in_floats():
    layer = nn.Linear(64, 40).to(torch.bfloat16)
    quantized = aot.quantize(layer, bits=8).module
    assert quantized.weight.dtype == torch.bfloat16
    assert quantized.weight.shape == (40, 64)
    assert (quantized.weight - layer.weight).abs().max() < 0.002


def test_a_state_dict_travels():
    quantized = aot.quantize(Tied(), bits=4, group_size=16).module
    other = aot.quantize(Tied(), bits=4, group_size=16).module
    with torch.no_grad():
        other.embed.qweight.zero_()
    other.load_state_dict(quantized.state_dict())
    assert torch.equal(other(TOKENS[1]), quantized(TOKENS[1]))


def test_the_filter_sees_weights_and_names():
    seen = []

    def is_wanted(weight, name):
        seen.append((name, tuple(weight.shape)))
        return name != "head.weight"

    quantized = aot.quantize(Tied(), filter_fn=is_wanted).module
    assert seen == [
        ("embed.weight", (100, 64)),
        ("head.weight", (100, 64)),
        ("up.weight", (48, 64)),
        ("down.weight", (64, 48)),
    ]
    assert type(quantized.head) is nn.Linear  # It is tied, and one of its names is refused.
    assert quantized.head.weight is quantized.embed.weight
    assert isinstance(quantized.down, aot.QuantizedLinear)


def test_layers_that_would_not_shrink_or_are_not_plain_stay():
    model = nn.ModuleDict(
        {
            "few_rows": nn.Linear(64, 2),
            "attention": nn.MultiheadAttention(64, 2),
            "renormalized": nn.Embedding(64, 64, max_norm=1.0),
            "wide": nn.Linear(64, 64, dtype=torch.float64),
            "plain": nn.Linear(64, 64),
        }
    )
    quantized = aot.quantize(model).module
    kinds = {type(layer) for layer in quantized.modules() if "Quantized" in type(layer).__name__}
    assert kinds == {aot.QuantizedLinear}
    assert isinstance(quantized["plain"], aot.QuantizedLinear)
    assert type(quantized["few_rows"]) is nn.Linear


def test_a_model_that_is_one_layer_and_its_hooks():
    layer = nn.Linear(64, 64)
    layer.register_forward_hook(lambda module, args, result: result + 1)
    quantized = aot.quantize(layer).module
    x = torch.randn(2, 64)
    assert (quantized(x) - layer(x)).abs().max() < 0.03


def test_weights_that_were_external_stay_external(tmp_path):
    model = Tied().requires_grad_(False)
    aot.externalize_module_parameters(model, external_scope="lm")
    quantized = aot.quantize(model, bits=4).module
    output = aot.export(quantized, TOKENS[1])
    output.save_parameters(tmp_path / "lm.safetensors")
    vmfb = output.compile()
    run = rt.load(vmfb, parameters={"lm": tmp_path / "lm.safetensors"}, device="local-sync").main
    assert_close(run(TOKENS[1]), quantized(TOKENS[1]))
    stored = (tmp_path / "lm.safetensors").stat().st_size
    assert stored < 0.2 * sum(p.nbytes for p in Tied().parameters())


def test_under_torch_compile_the_layers_are_compiled_too():
    model = aot.quantize(Tied().requires_grad_(False), bits=8).module
    run = torch.compile(
        model, backend="turbine_cpu"
    )  # A fallback would be a warning, an error here.
    assert_close(run(TOKENS[1]), model(TOKENS[1]))
