# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A small random Llama, quantized: compiled against the same model in eager PyTorch, and its sizes."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import shark_turbine.aot as aot
import shark_turbine.runtime as rt

TOKENS = torch.tensor([[1, 5, 250, 77, 3, 9]])


class Logits(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens):
        return self.model(tokens).logits


@pytest.fixture(scope="module")
def llama():
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=256,
        tie_word_embeddings=True,
        use_cache=False,
    )
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def test_a_llama_computes_as_in_eager(llama, tmp_path):
    quantized = aot.quantize(llama, bits=4, group_size=32)
    assert len(quantized.report.weights) == 1 + 7 * 2  # The head is tied to the embedding.
    model = Logits(quantized.module)
    output = aot.export(model, TOKENS, strict_export=False, weights="external")
    output.save_parameters(tmp_path / "model.safetensors")
    vmfb = output.compile()
    run = rt.load(vmfb, parameters=tmp_path / "model.safetensors", device="local-sync").main
    actual, expected, original = run(TOKENS), model(TOKENS), Logits(llama)(TOKENS)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert (actual - original).norm() < 0.3 * original.norm()
    size = (tmp_path / "model.safetensors").stat().st_size
    assert size < 0.17 * quantized.report.bytes_before
    assert quantized.report.bytes_after <= size < quantized.report.bytes_after + 20_000
