# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Generating with a compiled Llama, beside eager Hugging Face and inductor, in one run.

    python benchmarks/llama_decode.py [--weights f32 int8] [--threads N] [--rounds N] [--tokens N] [--json FILE]

The model has 110 million random parameters. In each round every way generates the same number of tokens
after the same prompt, one way after the other, so that a noisy machine is noisy for all:

- `compiled`: `generate` of examples/llama, with the loop in the vmfb, over a cache of `--window` tokens;
- `eager`: `model.generate` with its cache;
- `inductor`: `torch.compile` of one step over a static cache of the same size, called in a Python loop.

The table gives milliseconds of a token, medians and minima, and processor time. On a shared machine `--threads 1`
is the fair one: with more, eager and inductor wait for the slowest thread at each operation. The goals are 1.5 times eager's speed and inductor's own. Last comes what the process
grows by for each token when `compiled` goes on past its window.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from shark_turbine import aot, runtime

sys.path.insert(0, str(Path(__file__).parents[1] / "examples/llama"))

from llama import build_module

PROMPT = 16
GOALS = {"eager": 1.5, "inductor": 1.0}

Generate = Callable[[torch.Tensor, int], list[int]]


def make_model() -> Any:
    """Return a random Llama of 110 million parameters in the proportions of the small open ones."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=32000,
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=12,
        num_attention_heads=12,
        num_key_value_heads=12,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
    )
    return transformers.LlamaForCausalLM(config).eval()


def compiled(model: Any, window: int, threads: int) -> tuple[Generate, Any]:
    """Compile the model and load it over the memory of its weights; return the module too."""
    vmfb = aot.export(build_module(model, window=window)).compile()
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    loaded = runtime.load(
        vmfb,
        parameters={"model": runtime.parameters_in_memory(weights)},
        device=f"local-task?threads={threads}",
    )

    def generate(prompt: torch.Tensor, count: int) -> list[int]:
        loaded.reset()
        first = loaded.prefill(prompt)
        return [int(first), *loaded.generate(first, count - 1)[0].tolist()]

    return generate, loaded


def eager(model: Any) -> Generate:
    """Return the model's own `generate`."""

    def generate(prompt: torch.Tensor, count: int) -> list[int]:
        tokens = model.generate(
            prompt, max_new_tokens=count, do_sample=False, eos_token_id=None, pad_token_id=0
        )
        return tokens[0, prompt.shape[1] :].tolist()

    return generate


def inductor(model: Any, window: int) -> Generate:
    """Return a loop around one step that inductor compiled."""
    cache = transformers.StaticCache(model.config, max_cache_len=window)

    def read(tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        result = model(
            input_ids=tokens,
            position_ids=positions[None],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return result.logits[:, -1:].argmax(-1)

    step = torch.compile(read, backend="inductor", dynamic=False, fullgraph=True)

    @torch.no_grad()
    def generate(prompt: torch.Tensor, count: int) -> list[int]:
        cache.reset()
        token = read(prompt, torch.arange(prompt.shape[1]))
        tokens = [int(token)]
        for position in range(prompt.shape[1], prompt.shape[1] + count - 1):
            token = step(token.clone(), torch.tensor([position]))
            tokens.append(int(token))
        return tokens

    return generate


def measure(ways: dict[str, Generate], rounds: int, count: int) -> dict[str, Any]:
    """Let every way generate in turn; return milliseconds of a token, and whether tokens agree."""
    prompt = torch.randint(0, 32000, (1, PROMPT))
    times: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    expected = ways["eager"](prompt, count)
    agree = {name: generate(prompt, count) == expected for name, generate in ways.items()}
    for _ in range(rounds):
        for name, generate in ways.items():
            clock, used = time.perf_counter(), time.process_time()
            generate(prompt, count)
            times[name].append((time.perf_counter() - clock) / count * 1e3)
            processor[name].append((time.process_time() - used) / count * 1e3)
    return {
        "medians": {name: statistics.median(each) for name, each in times.items()},
        "minima": {name: min(each) for name, each in times.items()},
        "processor": {name: statistics.median(each) for name, each in processor.items()},
        "agree": agree,
    }


def growth(loaded: Any, window: int) -> float:
    """Return by how many bytes the process grows for each token, over one window and more."""
    count = window + 128
    token = loaded.generate(torch.ones(1, 1, dtype=torch.int64), count)[:, -1:].contiguous()
    before = _resident()
    loaded.generate(token, count)
    return (_resident() - before) / count


def _resident() -> int:
    """Return the resident memory of the process in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def run(weights: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one kind of weights. The others always compute with the floats."""
    model = make_model()
    ours = model if weights == "f32" else aot.quantize(model, bits=8).module
    generate, loaded = compiled(ours, options.window, options.threads)
    ways = {
        "compiled": generate,
        "eager": eager(model),
        "inductor": inductor(model, options.window),
    }
    found = {
        "weights": weights,
        "threads": options.threads,
        **measure(ways, options.rounds, options.tokens),
    }
    return {**found, "growth": growth(loaded, options.window)}


def show(found: dict[str, Any]) -> None:
    """Print one kind of weights."""
    print(f"\nweights {found['weights']}, {found['threads']} threads: milliseconds of a token")
    for name, median in found["medians"].items():
        agrees = "same tokens as eager" if found["agree"][name] else "other tokens than eager"
        low, used = found["minima"][name], found["processor"][name]
        print(
            f"  {name:<9} {median:7.1f}  min {low:7.1f}  processor {used:7.1f}"
            f"  {1e3 / median:6.1f} tokens/s  {agrees}"
        )
    for name, goal in GOALS.items():
        ratios = [found[kind][name] / found[kind]["compiled"] for kind in ("medians", "minima")]
        print(f"  {ratios[0]:.2f} × {name}'s speed (of the minima {ratios[1]:.2f}; goal {goal})")
    print(f"  memory: {found['growth']:+.0f} bytes for each further token", flush=True)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--weights", nargs="+", choices=("f32", "int8"), default=["f32", "int8"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--json", help="write what was measured to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    results = [run(weights, options) for weights in options.weights]
    for found in results:
        show(found)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
