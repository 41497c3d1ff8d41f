# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compile a checkpoint folder of a Llama to a vmfb that generates by itself.

`python export_llama.py CHECKPOINT FILE.vmfb` reads a Hugging Face folder (config.json and .safetensors
files). The weights stay where they are: the folder is the vmfb's parameter file. What the vmfb generates
is compared with `model.generate`; the exit code is 1 when they differ.
"""

import argparse
import sys
from pathlib import Path

import torch
from llama import build_module, load_model

from shark_turbine import aot, runtime


def generated(loaded, prompt, count):
    """Generate `count` tokens with the compiled module: all but the first in one call."""
    loaded.reset()
    first = loaded.prefill(prompt)
    return torch.cat((first, loaded.generate(first, count - 1)), dim=1)


def expected(model, prompt, count, end):
    """Generate them with PyTorch; what comes after the end is the end again, as ours says it."""
    tokens = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=end,
        pad_token_id=0,
    )[:, prompt.shape[1] :]
    missing = count - tokens.shape[1]
    return torch.nn.functional.pad(tokens, (0, missing), value=end) if missing else tokens


def main():
    """Compile, load, compare; return 0 when the tokens are PyTorch's."""
    parser = argparse.ArgumentParser(description="Compile a Llama checkpoint to a vmfb.")
    parser.add_argument("checkpoint", type=Path, help="a Hugging Face folder")
    parser.add_argument("vmfb", type=Path, help="where the compiled module goes")
    parser.add_argument("--window", type=int, default=512, help="tokens that a token can see")
    parser.add_argument("--end", type=int, help="the token that ends a text")
    parser.add_argument("--check", type=int, default=32, help="how many tokens to compare")
    options = parser.parse_args()

    model = load_model(options.checkpoint)
    exported = aot.export(build_module(model, window=options.window, end=options.end))
    vmfb = exported.compile(save_to=options.vmfb)
    weights = sum(weight.numel() * weight.itemsize for weight in model.parameters())
    print(
        f"{options.vmfb}: {vmfb.size:,} bytes; {weights:,} bytes of weights stay in the checkpoint."
    )
    for signature in vmfb.functions:
        print(f"  {signature}")

    loaded = runtime.load(options.vmfb, parameters=options.checkpoint)
    prompt = torch.randint(
        0, model.config.vocab_size, (1, 8), generator=torch.Generator().manual_seed(0)
    )
    result = generated(loaded, prompt, options.check)
    same = torch.equal(result, expected(model, prompt, options.check, options.end))
    print(f"{options.check} tokens after {prompt[0].tolist()}: {result[0, :8].tolist()} ...")
    print("PyTorch generates the same." if same else "PyTorch generates OTHER tokens.")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
