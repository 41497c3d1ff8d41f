# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A small GPT learns a text by heart, in eager PyTorch and compiled, and both are drawn.

Run it with `python examples/jit_train/train_gpt.py [FILE.png]`. Both runs begin with the same
weights and see the same batches. It exits with 0 when their losses agree, with 1 when not.
"""

import argparse
import codecs
import contextlib
import io
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional

BATCH, CONTEXT, WIDTH, HEADS, LAYERS = 16, 64, 64, 4, 2

# Compiled code adds numbers up in another order than eager PyTorch does, and each step carries the
# tiny differences of the one before it on. Losses begin near 4.
TOLERANCE = 1e-3


class Attention(nn.Module):
    """Each character looks at those before it."""

    def __init__(self):
        super().__init__()
        self.to_all = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        batch, length, _ = x.shape
        queries, keys, values = (
            part.view(batch, length, HEADS, WIDTH // HEADS).transpose(1, 2)
            for part in self.to_all(x).split(WIDTH, dim=-1)
        )
        mixed = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, WIDTH))


class Block(nn.Module):
    """Attention, then two linear layers for each character; both add to what came in."""

    def __init__(self):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(WIDTH), Attention()
        self.norm2 = nn.LayerNorm(WIDTH)
        self.feed = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.feed(self.norm2(x))


class GPT(nn.Module):
    """Scores for the next character, after each character of a text."""

    def __init__(self, characters):
        super().__init__()
        self.meaning = nn.Embedding(characters, WIDTH)
        self.place = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.scores = nn.Linear(WIDTH, characters)

    def forward(self, text):
        x = self.meaning(text) + self.place(torch.arange(text.shape[1]))
        return self.scores(self.norm(self.blocks(x)))


def zen_of_python():
    """Return the text that `import this` prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        import this  # noqa: PLC0415  it prints when it is imported
    return codecs.decode(this.s, "rot13")


@dataclass
class Run:
    """What a training run was like; `first` is the time of the first step, in seconds."""

    losses: list[float]
    first: float
    rate: float


def train(name, text, characters, steps):
    """Train a GPT from fixed weights on fixed batches."""
    torch.manual_seed(0)
    model = GPT(characters)

    def loss_of(batch):
        scores = model(batch[:, :-1])
        return functional.cross_entropy(scores.flatten(0, 1), batch[:, 1:].flatten())

    if name == "compiled":
        loss_of = torch.compile(loss_of, backend="turbine_cpu")

    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses, times = [], []
    for _ in range(steps):
        starts = torch.randint(len(text) - CONTEXT, (BATCH, 1))
        batch = text[starts + torch.arange(CONTEXT + 1)]
        start = time.perf_counter()
        loss = loss_of(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
        losses.append(loss.item())
    return Run(losses, times[0], (steps - 1) / sum(times[1:]))


def differences(eager, compiled):
    """Return how far the losses of two runs are apart, step by step."""
    pairs = zip(eager.losses, compiled.losses, strict=True)
    return [abs(left - right) for left, right in pairs]


def draw(eager, compiled, path):
    """Draw both losses, and below them how far they are apart, into a PNG."""
    steps = range(1, len(eager.losses) + 1)
    figure = Figure(figsize=(8, 6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.plot(steps, eager.losses, color="#f2a65a", linewidth=5, label="eager PyTorch")
    top.plot(
        steps, compiled.losses, "--", color="#1b3a5c", linewidth=1.8, label="compiled, turbine_cpu"
    )
    top.set_title("A small GPT learns the Zen of Python: two runs from the same weights")
    top.set_ylabel("loss per character")
    top.legend()
    bottom.plot(steps, differences(eager, compiled), ".-", color="#1b3a5c")
    bottom.axhline(TOLERANCE, color="#b3312c", linestyle=":")
    bottom.annotate("allowed", (len(steps), TOLERANCE), ha="right", va="bottom", color="#b3312c")
    bottom.set_yscale("symlog", linthresh=1e-7)  # so that equal losses have a place: 0
    bottom.set_ylim(-2e-8, 20 * TOLERANCE)
    bottom.set_yticks([0, 1e-7, 1e-5, 1e-3])
    bottom.set_ylabel("difference")
    bottom.set_xlabel("step of training")
    figure.align_ylabels()
    for axes in (top, bottom):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def main():
    """Train twice and draw the losses; return 0 when they agree."""
    parser = argparse.ArgumentParser(description="Train a small GPT in eager and compiled.")
    default = Path(tempfile.gettempdir()) / "train_gpt.png"
    parser.add_argument("picture", nargs="?", type=Path, default=default, metavar="FILE.png")
    parser.add_argument("--steps", type=int, default=50, help="steps of training, 2 or more")
    options = parser.parse_args()
    if options.steps < 2:
        parser.error("--steps: the first step compiles, so it takes two to tell the speed")

    zen = zen_of_python()
    alphabet = sorted(set(zen))
    text = torch.tensor([alphabet.index(character) for character in zen])
    print(
        f"The text has {len(zen)} characters, {len(alphabet)} different ones. It begins: {zen[:32]}"
    )

    print(f"Training {options.steps} steps in eager PyTorch, then compiled.\n")
    eager = train("eager", text, len(alphabet), options.steps)
    compiled = train("compiled", text, len(alphabet), options.steps)
    apart = differences(eager, compiled)

    print("   step    eager   compiled   difference")
    for step in sorted({0, *range(9, options.steps, 10), options.steps - 1}):
        left, right = eager.losses[step], compiled.losses[step]
        print(f"   {step + 1:4}   {left:6.4f}     {right:6.4f}      {apart[step]:.1e}")

    print(f"\nEager PyTorch: {eager.rate:.1f} steps/s. Compiled: {compiled.rate:.1f} steps/s.")
    print(
        f"The first compiled step, which compiles or reads the cache, took {compiled.first:.1f} s."
    )
    draw(eager, compiled, options.picture)
    print(f"Both losses are drawn in {options.picture}.")

    agrees = all(difference <= TOLERANCE for difference in apart)
    print(f"\nLargest difference: {max(apart):.1e}; {TOLERANCE:.0e} is allowed.")
    print("The two agree." if agrees else "The two DISAGREE: this is a bug.")
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
