# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The Llama of examples/llama generates what PyTorch does, from the checkpoint's own files, and without PyTorch."""

import importlib.util
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from shark_turbine import aot, runtime
from shark_turbine.errors import ContractError, LoadError

FOLDER = Path(__file__).parents[2] / "examples/llama"
IREE_RUN_MODULE = Path(sys.executable).with_name("iree-run-module")
WINDOW = 144
FIVE = torch.tensor([[5]])
PROMPT = torch.tensor([[17, 200, 3, 3, 99, 54, 121, 250]])

SIZES = {
    "vocab_size": 256,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_hidden_layers": 1,
    # Small random weights make models that say one thing only.
    "initializer_range": 0.2,
}
CONFIGS = {
    "llama": {"num_key_value_heads": 4},
    "grouped": {"num_key_value_heads": 2, "num_hidden_layers": 2, "attention_bias": True},
    "tied": {"num_key_value_heads": 4, "tie_word_embeddings": True, "head_dim": 32},
}


@dataclass
class Case:
    """A checkpoint, its vmfb, and the model as PyTorch has it."""

    model: Any
    checkpoint: Path
    vmfb: Path
    end: int | None = None

    def load(self) -> Any:
        return runtime.load(self.vmfb, parameters=self.checkpoint, device="local-sync")

    def expected(self, prompt: torch.Tensor, count: int, end: int | None = None) -> list[int]:
        tokens = self.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=count,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=0,
        )
        return tokens[0, prompt.shape[1] :].tolist()


@pytest.fixture(scope="module")
def example() -> Any:
    specification = importlib.util.spec_from_file_location("llama_example", FOLDER / "llama.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def case(example: Any, tmp_path_factory: Any) -> Any:
    """Return a function that makes the case of a configuration, once."""
    made: dict[str, Case] = {}

    def make(name: str) -> Case:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            torch.manual_seed(4)
            config = transformers.LlamaConfig(**{**SIZES, **CONFIGS[name]})
            model = transformers.LlamaForCausalLM(config)
            # Several files where there are layers enough.
            model.save_pretrained(folder / "checkpoint", max_shard_size="200KB")
            it = Case(model.eval(), folder / "checkpoint", folder / "llama.vmfb")
            if name == "tied":
                said = it.expected(PROMPT, 128)
                it.end = next(token for token in it.expected(FIVE, 20) if token not in said)
            module = example.build(it.checkpoint, window=WINDOW, end=it.end)
            aot.export(module).compile(save_to=it.vmfb)
            made[name] = it
        return made[name]

    return make


@pytest.mark.parametrize("name", CONFIGS)
def test_128_greedy_tokens_are_those_of_pytorch(case: Any, name: str) -> None:
    it = case(name)
    expected = it.expected(PROMPT, 128)
    assert len(set(expected)) > 10
    loaded = it.load()
    first = loaded.prefill(PROMPT)
    assert [int(first), *loaded.generate(first, 127)[0].tolist()] == expected
    # Once more, a token a call.
    loaded.reset()
    token, tokens = loaded.prefill(PROMPT), []
    for _ in range(20):
        tokens.append(int(token))
        token = loaded.decode(token)
    assert tokens == expected[:20]


def test_the_weights_are_not_in_the_vmfb(case: Any) -> None:
    it = case("grouped")
    assert len(list(it.checkpoint.glob("*.safetensors"))) > 1
    artifact = it.vmfb.read_bytes()
    for weight in it.model.parameters():
        if weight.ndim == 2:
            assert weight.detach().numpy().tobytes()[:1024] not in artifact


def test_beyond_the_window_the_oldest_are_forgotten(case: Any) -> None:
    it = case("grouped")
    loaded = it.load()
    count = 2 * WINDOW + 20
    first = loaded.prefill(PROMPT)
    tokens = torch.cat((PROMPT, first, loaded.generate(first, count)), 1)
    # All at once in eager PyTorch: each token sees itself and the WINDOW - 1 before it.
    places = torch.arange(tokens.shape[1])
    distance = places[:, None] - places
    mask = torch.where((distance >= 0) & (distance < WINDOW), 0.0, -torch.inf)[None, None]
    with torch.no_grad():
        scores = it.model(tokens, attention_mask=mask).logits[0]
        all_of_it = it.model(tokens).logits[0]
    new = slice(PROMPT.shape[1] - 1, -1)
    assert torch.equal(scores.argmax(-1)[new], tokens[0, PROMPT.shape[1] :])
    assert not torch.equal(all_of_it.argmax(-1)[new], tokens[0, PROMPT.shape[1] :])


def test_a_text_is_read_in_pieces_of_any_length(case: Any) -> None:
    it = case("grouped")
    text = torch.randint(0, 256, (1, 100), generator=torch.Generator().manual_seed(1))
    loaded = it.load()
    whole = loaded.prefill(text)
    assert int(whole) == it.expected(text, 1)[0]
    loaded.reset()
    read = [loaded.prefill(piece.contiguous()) for piece in text.split((1, 40, 2, 57), dim=1)]
    assert torch.equal(read[-1], whole)
    # Into the slots of the oldest ones, some of which the piece itself still sees.
    again = torch.cat((text, text), 1)
    places = torch.arange(200)
    distance = places[:, None] - places
    mask = torch.where((distance >= 0) & (distance < WINDOW), 0.0, -torch.inf)[None, None]
    assert int(loaded.prefill(text)) == int(
        it.model(again, attention_mask=mask).logits[0, -1].argmax()
    )


def test_after_a_reset_nothing_is_left(case: Any) -> None:
    it = case("llama")
    loaded = it.load()
    loaded.generate(torch.tensor([[7]]), 2 * WINDOW)
    loaded.reset()
    first = loaded.prefill(PROMPT)
    assert [int(first), *loaded.generate(first, 9)[0].tolist()] == it.expected(PROMPT, 10)


def test_the_end_is_repeated(case: Any) -> None:
    it = case("tied")
    expected = it.expected(FIVE, 40, it.end)
    assert len(expected) < 40
    assert expected[-1] == it.end
    loaded = it.load()
    first = loaded.prefill(FIVE)
    tokens = [int(first), *loaded.generate(first, 39)[0].tolist()]
    assert tokens == expected + [it.end] * (40 - len(expected))


def test_more_than_the_window_at_once_is_refused(case: Any) -> None:
    loaded = case("llama").load()
    with pytest.raises(ContractError, match=f"must be 1 to {WINDOW}"):
        loaded.prefill(torch.zeros(1, WINDOW + 1, dtype=torch.int64))


def test_another_checkpoint_is_refused(case: Any) -> None:
    it, other = case("llama"), case("grouped")
    with pytest.raises(LoadError) as refused:
        runtime.load(it.vmfb, parameters=other.checkpoint)
    assert "model.layers.0.self_attn.k_proj.weight" in str(refused.value)
    assert "[64, 64]" in str(refused.value)


def test_what_is_no_llama_is_refused(example: Any, tmp_path: Path) -> None:
    transformers.GPT2Config(n_layer=1).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="'gpt2', not of 'llama'"):
        example.build(tmp_path)


def test_the_script_exports_and_compares(
    case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, vmfb = case("llama").checkpoint, tmp_path / "llama.vmfb"
    words = ["export_llama.py", checkpoint, vmfb, "--window", WINDOW, "--check", 16]
    monkeypatch.setattr(sys, "argv", [*map(str, words)])
    monkeypatch.syspath_prepend(FOLDER)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(FOLDER / "export_llama.py"), run_name="__main__")
    sys.modules.pop("llama")
    assert ended.value.code == 0
    assert "PyTorch generates the same." in capsys.readouterr().out
    assert vmfb.stat().st_size > 10_000


def test_it_runs_without_pytorch(case: Any) -> None:
    it = case("grouped")
    prompt = [str(token) for token in PROMPT[0].tolist()]
    script = FOLDER / "run_without_torch.py"
    process = subprocess.run(
        [sys.executable, script, it.vmfb, it.checkpoint, "24", *prompt],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    assert [int(token) for token in process.stdout.split()] == it.expected(PROMPT, 24)
    assert process.stderr.strip() == "of PyTorch and ours: []"


def test_it_runs_from_the_command_line(case: Any) -> None:
    it = case("grouped")
    files = it.checkpoint.glob("*.safetensors")
    process = subprocess.run(
        [
            IREE_RUN_MODULE,
            f"--module={it.vmfb}",
            *(f"--parameters=model={file}" for file in files),
            "--function=generate",
            "--input=1x1xi64=5",
            "--input=12",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    expected = " ".join(str(token) for token in it.expected(FIVE, 12))
    assert f"1x12xi64=[{expected}]" in process.stdout, process.stdout + process.stderr
