# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Train a small Llama inside a vmfb, letter by letter, then have the same vmfb write.

Run it with `python examples/llama/train_tiny.py`. The text is what Python's own `help()` says of the language.
Weights, AdamW's moments and the text are globals of one compiled module; the loops over steps and letters
are in it too. The first steps are compared with eager PyTorch: the exit code is 1 when losses differ.
"""

import argparse
import sys
import time
from pydoc_data.topics import topics

import torch
from llama import build_module
from torch._decomp import get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx
from transformers import LlamaConfig, LlamaForCausalLM

from shark_turbine import aot, runtime

BATCH, LENGTH = 16, 64
RATE, BETAS, EPSILON, DECAY = 3e-3, (0.9, 0.99), 1e-8, 0.01
TEXT = "".join(text for _, text in sorted(topics.items()))[:120_000]
LETTERS = sorted(set(TEXT))


def make_model():
    """Return the model: one layer, a token for each letter."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(LETTERS),
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=1,
        num_attention_heads=4,
        attn_implementation="eager",
        use_cache=False,
    )
    return LlamaForCausalLM(config)


def loss_of(model, weights, tokens):
    """Return the mean loss of predicting each letter of a batch, int64[BATCH, LENGTH + 1]."""
    before = torch.full((LENGTH, LENGTH), -torch.inf).triu(1)[None, None]
    arguments = {"input_ids": tokens[:, :-1], "attention_mask": before}
    scores = torch.func.functional_call(model, weights, kwargs=arguments).logits
    return torch.nn.functional.cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten())


def make_update(model):
    """Return a training step as a graph of plain operations, the backward pass among them."""

    def update(weights, means, squares, count, tokens):
        weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
        with torch.enable_grad():
            loss = loss_of(model, weights, tokens)
            gradients = torch.autograd.grad(loss, list(weights.values()))
        count = count + 1
        correction, correction2 = (1 - torch.pow(beta, count) for beta in BETAS)
        new = [], [], []
        # AdamW (arXiv 1711.05101), as torch.optim has it.
        for weight, mean, square, gradient in zip(
            weights.values(), means.values(), squares.values(), gradients, strict=True
        ):
            mean = mean * BETAS[0] + gradient * (1 - BETAS[0])
            square = square * BETAS[1] + gradient * gradient * (1 - BETAS[1])
            change = (mean / correction) / (torch.sqrt(square / correction2) + EPSILON)
            new[0].append(weight.detach() * (1 - RATE * DECAY) - RATE * change)
            new[1].append(mean)
            new[2].append(square)
        return (
            loss.detach().reshape(1),
            *(dict(zip(weights, tree, strict=True)) for tree in new),
            count,
        )

    # An example of each argument: tracing takes one tensor for one argument.
    weights, means, squares = (
        {name: weight.detach().clone() for name, weight in model.named_parameters()}
        for _ in range(3)
    )
    tokens = torch.zeros(BATCH, LENGTH + 1, dtype=torch.int64)
    # Of the operations of the backward pass the compiler knows all but this one.
    plainer = get_decompositions([torch.ops.aten.silu_backward])
    return make_fx(update, decomposition_table=plainer)(
        weights, means, squares, torch.zeros(1), tokens
    )


def sample(scores):
    """Draw a letter, likely ones more often (by adding Gumbel noise to the scores)."""
    noise = -torch.log(-torch.log(torch.rand_like(scores) * 0.999998 + 1e-6))
    return (scores / 0.6 + noise).argmax(-1, keepdim=True)


def build(model):
    """Return the class: what a Llama can do, with weights that can change, and `train`."""
    # Two trees: a tensor that is exported twice is one global with two names.
    first, second = (
        {name: torch.zeros_like(weight.data) for name, weight in model.named_parameters()}
        for _ in range(2)
    )
    letters = torch.tensor([LETTERS.index(letter) for letter in TEXT])

    def piece_of(text, starts):
        return text[starts.T + torch.arange(LENGTH + 1)]

    class TrainingModule(build_module(model, window=LENGTH, choose=sample)):
        params = aot.export_parameters(model, mutable=True)
        means = aot.export_global_tree(first, mutable=True)
        squares = aot.export_global_tree(second, mutable=True)
        count = aot.export_global(torch.zeros(1), mutable=True)
        text = aot.export_global(letters)

        update = aot.jittable(make_update(model))
        pieces = aot.jittable(piece_of)

        def train(self, starts=aot.AbstractTensor(None, BATCH, dtype=torch.int64)):
            steps = aot.IREE.tensor_dim(starts, 0, dtype=aot.AbstractI64)

            def step(index, losses):
                row = aot.IREE.tensor_slice(starts, (index, 1), (0, BATCH))
                tokens = self.pieces(self.text, row)
                weights, means, squares = (
                    dict(tree.items()) for tree in (self.params, self.means, self.squares)
                )
                loss, weights, means, squares, count = self.update(
                    weights, means, squares, self.count, tokens
                )
                self.params, self.means, self.squares = weights, means, squares
                self.count = count
                return aot.IREE.tensor_update(losses, loss, index)

            losses = aot.IREE.tensor_splat(steps, value=0.0, dtype=torch.float32)
            return aot.fori_loop(0, steps, step, losses)

    return TrainingModule


def train_eagerly(model, starts):
    """Train with PyTorch; return the losses."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=RATE, betas=BETAS, eps=EPSILON, weight_decay=DECAY
    )
    letters = torch.tensor([LETTERS.index(letter) for letter in TEXT])
    losses = []
    for row in starts:
        loss = loss_of(
            model, dict(model.named_parameters()), letters[row[:, None] + torch.arange(LENGTH + 1)]
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def main():
    """Train, compare, write; return 0 when the losses are PyTorch's and fall."""
    parser = argparse.ArgumentParser(description="Train a small Llama inside a vmfb.")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--compare", type=int, default=20, help="how many steps to compare")
    options = parser.parse_args()
    model = make_model()
    size = sum(weight.numel() for weight in model.parameters())
    print(f"{len(TEXT):,} letters, {len(LETTERS)} different ones; {size:,} weights.")

    clock = time.perf_counter()
    vmfb = aot.export(build(model)).compile()
    print(f"Compiled to {vmfb.size:,} bytes in {time.perf_counter() - clock:.0f} s.")
    loaded = runtime.load(vmfb)

    starts = torch.randint(0, len(TEXT) - LENGTH - 1, (options.steps, BATCH))
    clock, losses = time.perf_counter(), []
    for part in starts.split(100):
        losses.append(loaded.train(part))
        print(f"  after {sum(map(len, losses)):5} steps: loss {losses[-1].mean():.3f}", flush=True)
    seconds = time.perf_counter() - clock
    losses = torch.cat(losses)
    print(f"{options.steps / seconds:.0f} steps/s.")

    expected = train_eagerly(model, starts[: options.compare])
    difference = (losses[: options.compare] - expected).abs().max().item()
    same = torch.allclose(losses[: options.compare], expected, rtol=1e-3)
    falls = losses[-10:].mean() < losses[:10].mean() - 0.5
    verdict = "The two agree" if same else "The two DISAGREE"
    print(f"Against AdamW of PyTorch, {options.compare} steps: {difference:.1e}. {verdict}.")

    start = torch.tensor([[LETTERS.index(letter) for letter in "The "]])
    first = loaded.prefill(start)
    written = loaded.generate(first, 400)[0].tolist()
    print("It writes:\n\nThe " + "".join(LETTERS[token] for token in [int(first), *written]))
    return 0 if same and falls else 1


if __name__ == "__main__":
    sys.exit(main())
