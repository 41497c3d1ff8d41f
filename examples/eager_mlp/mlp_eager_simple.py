# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A small neural network learns to read digits, in eager PyTorch and under `torch.compile`.

Run it with `python examples/eager_mlp/mlp_eager_simple.py`. Both runs begin with the same weights
and see the same batches. It exits with 0 when they go the same way, with 1 when not.
"""

import argparse
import copy
import sys
import time

import torch
from sklearn.datasets import load_digits

from shark_turbine.dynamo import explain

BATCH = 125
TRAINING_IMAGES = 12 * BATCH  # of 1797; the other 297 are for the test

# Compiled code adds numbers up in another order than eager PyTorch does. Each step carries the tiny
# differences of the one before it on, so equal to the last bit is not to be expected.
LOSS_TOLERANCE = 1e-3
ACCURACY_TOLERANCE = 0.01


class MLP(torch.nn.Module):
    """Two linear layers: 64 pixels in, 10 scores out, for each image of a batch."""

    def __init__(self):
        super().__init__()
        self.hidden = torch.nn.Linear(64, 64)
        self.scores = torch.nn.Linear(64, 10)

    def forward(self, x):
        return self.scores(torch.relu(self.hidden(x)))


def digits():
    """Return the images and labels that scikit-learn ships, in a random order."""
    pixels, numbers = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32) / 16
    labels = torch.tensor(numbers, dtype=torch.int64)
    order = torch.randperm(len(images))
    return images[order], labels[order]


def train(network, images, labels, epochs):
    """Train a network, compiled or not, and return the loss of every step."""
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(epochs):
        for x, y in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            loss = torch.nn.functional.cross_entropy(network(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    return losses


def accuracy(network, images, labels):
    """Return which part of the images a network reads right."""
    with torch.no_grad():
        return (network(images).argmax(dim=-1) == labels).float().mean().item()


def count_operators(network, x):
    """Print what becomes of a network, and return how many of its operators are compiled."""
    report = explain(network)(x)
    print("\n".join(f"     {line}" for line in str(report).splitlines()))
    operators = sum(graph.compiled_operators for graph in report.graphs)
    print(f"\n   {operators} operators are compiled, {len(report.eager)} run in eager PyTorch.")
    return operators


def main():
    """Run every step; return 0 when the compiled network learns what the eager one learns."""
    parser = argparse.ArgumentParser(description="Train a network in eager and compiled.")
    parser.add_argument("--epochs", type=int, default=10, help="how often each image is seen")
    options = parser.parse_args()

    torch.manual_seed(0)
    images, labels = digits()
    training = images[:TRAINING_IMAGES], labels[:TRAINING_IMAGES]
    test = images[TRAINING_IMAGES:], labels[TRAINING_IMAGES:]
    print(f"1. Images of digits: {len(training[0])} to learn from, {len(test[0])} for the test.")

    eager = MLP()
    twin = copy.deepcopy(eager)
    compiled = torch.compile(twin, backend="turbine_cpu")
    print("\n2. Two networks with the same weights. torch.compile() wrapped the second, with the")
    print("   backend turbine_cpu. explain() says what becomes of it, forward and backward:\n")
    operators = count_operators(twin, training[0][:BATCH])

    print("\n3. The same loop trains both, then they read the images that neither has seen:\n")
    losses, right = {}, {}
    for name, network in {"eager": eager, "compiled": compiled}.items():
        start = time.perf_counter()
        losses[name] = train(network, *training, options.epochs)
        seconds = time.perf_counter() - start
        right[name] = accuracy(network, *test)
        steps, first, last = len(losses[name]), losses[name][0], losses[name][-1]
        print(f"   {name:8}  {steps} steps, {seconds:.1f} s: loss {first:.4f} -> {last:.4f}")
        print(f"             accuracy {right[name]:.1%}")

    pairs = zip(losses["eager"], losses["compiled"], strict=True)
    differences = [abs(left - right) for left, right in pairs]
    agrees = (
        operators > 0
        and all(difference <= LOSS_TOLERANCE for difference in differences)
        and abs(right["eager"] - right["compiled"]) <= ACCURACY_TOLERANCE
    )
    print(f"\nLargest difference: {max(differences):.1e}; {LOSS_TOLERANCE:.0e} is allowed.")
    print("The two agree." if agrees else "The two DISAGREE: this is a bug.")
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
