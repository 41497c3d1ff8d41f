# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A checkpoint folder as `save_pretrained` writes it is the parameter file, shards and all."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import shark_turbine.aot as aot
import shark_turbine.runtime as rt


class Logits(torch.nn.Module):
    """A sub-model with a result that is a tensor."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        super().__init__()
        self.inner = model

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.inner(ids, use_cache=False).logits


def test_a_sharded_llama_with_tied_embeddings(tmp_path: Path) -> None:
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=64,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    ids = torch.tensor([[5, 3, 1, 2]])
    output = aot.export(Logits(model), ids, weights=tmp_path, strict_export=False)
    vmfb = output.compile()
    entries = {entry["key"]: entry["aliases"] for entry in vmfb.manifest["parameters"]}
    assert "lm_head.weight" not in entries
    assert entries["model.embed_tokens.weight"] == ["lm_head.weight"]
    assert "model.layers.0.mlp.up_proj.weight" in entries
    expected = model(ids).logits
    for source in (tmp_path, model.state_dict()):
        module = rt.load(vmfb, device="local-sync", parameters=source)
        torch.testing.assert_close(module.main(ids), expected, rtol=1e-4, atol=1e-4)
