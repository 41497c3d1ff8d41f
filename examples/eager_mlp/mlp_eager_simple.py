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
    bunch = load_digits()
    images = torch.tensor(bunch["data"], dtype=torch.float32) / 16
    labels = torch.tensor(bunch["target"], dtype=torch.int64)
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


def main():
    """Run every step; return 0 when the compiled network learns what the eager one learns."""
    parser = argparse.ArgumentParser(description="Train a network in eager and compiled.")
    parser.add_argument("--epochs", type=int, default=10, help="how often all images are seen")
    options = parser.parse_args()

    torch.manual_seed(0)
    images, labels = digits()
    training = images[:TRAINING_IMAGES], labels[:TRAINING_IMAGES]
    test = images[TRAINING_IMAGES:], labels[TRAINING_IMAGES:]
    eager = MLP()
    twin = copy.deepcopy(eager)
    print(
        f"1. {len(images)} images of digits: {len(training[0])} to learn from, {len(test[0])} to test."
    )
    print("   Two copies of one network, with the same weights.")

    compiled = torch.compile(twin, backend="turbine_cpu")
    print(
        '\n2. torch.compile(network, backend="turbine_cpu") wrapped the second. What will become of it'
    )
    print("   is what explain() tells:\n")
    report = explain(twin)(training[0][:BATCH])
    print("\n".join(f"     {line}" for line in str(report).splitlines()))
    operators = sum(graph.compiled_operators for graph in report.graphs)
    print(f"\n   {operators} operators are compiled, {len(report.eager)} run in eager PyTorch.")

    print("\n3. Training, the same loop for both:")
    losses = {}
    for name, network in (("eager", eager), ("compiled", compiled)):
        start = time.perf_counter()
        losses[name] = train(network, *training, options.epochs)
        seconds = time.perf_counter() - start
        print(
            f"   {name:8}  {len(losses[name])} steps in {seconds:.1f} s, "
            f"loss {losses[name][0]:.4f} -> {losses[name][-1]:.4f}"
        )

    print("\n4. The images that neither has seen:")
    right = {"eager": accuracy(eager, *test), "compiled": accuracy(compiled, *test)}
    for name, part in right.items():
        print(f"   {name:8}  accuracy {part:.1%}")

    pairs = zip(losses["eager"], losses["compiled"], strict=True)
    difference = max(abs(left - right) for left, right in pairs)
    agrees = (
        operators > 0
        and difference <= LOSS_TOLERANCE
        and abs(right["eager"] - right["compiled"]) <= ACCURACY_TOLERANCE
    )
    print(f"\nLargest difference of a loss: {difference:.1e}; {LOSS_TOLERANCE:.0e} is allowed.")
    print("The two agree." if agrees else "The two DISAGREE: this is a bug.")
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
