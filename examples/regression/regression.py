# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A training step – forward, backward, SGD – compiled to one file, and a training loop without PyTorch.

Run it with `python examples/regression/regression.py`. The loop runs in a process that imports numpy
and `iree.runtime` only. It exits with 0 when losses and predictions are those of eager PyTorch.
"""

import argparse
import copy
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from shark_turbine import aot

HERE = Path(__file__).parent
BATCH = 32


def make_data():
    """Return x and y, float32[steps, BATCH, 1]: a bent line with noise."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(400, BATCH, 1, generator=generator) * 4 - 2
    noise = torch.randn(x.shape, generator=generator) * 0.1
    return x, torch.sin(2 * x) + 0.5 * x + noise


def make_model():
    """Return the model: one number in, one out."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(1, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))


def make_optimizer(model):
    """Return the optimizer."""
    return torch.optim.SGD(model.parameters(), lr=0.05)


def train_eagerly(model, x, y):
    """Train with PyTorch; return the losses."""
    optimizer = make_optimizer(model)
    losses = []
    for inputs, targets in zip(x, y, strict=True):
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def export(model, x, y):
    """Export the training for batches of any size: the loop takes 32 rows and predicts 101 at once."""
    batch = torch.export.Dim("batch")
    return aot.export_training(
        model,
        torch.nn.functional.mse_loss,
        make_optimizer(model),
        args=(x[0],),
        targets=(y[0],),
        dynamic_shapes={"input": {0: batch}, "target": {0: batch}},
    )


def train_elsewhere(vmfb, folder, x, y, grid):
    """Train in a process without PyTorch; return losses and what is predicted for the grid."""
    np.savez(folder / "data.npz", x=x.numpy(), y=y.numpy(), grid=grid.numpy())
    script = HERE / "train_without_torch.py"
    command = [sys.executable, script, vmfb, folder / "data.npz", folder / "result.npz"]
    subprocess.run(command, check=True)
    with np.load(folder / "result.npz") as result:
        return torch.from_numpy(result["losses"]), torch.from_numpy(result["predicted"])


def compare(what, result, expected):
    """Print a comparison; return whether it holds."""
    same = torch.allclose(result, expected, rtol=1e-4, atol=1e-5)
    difference = (result - expected).abs().max().item()
    verdict = "equal" if same else "NOT EQUAL"
    print(f"   {what}: largest difference {difference:.1e} – {verdict}")
    return same


def main():
    """Export, train without PyTorch, compare; return 0 when the two agree."""
    parser = argparse.ArgumentParser(description="Train a small regression model outside PyTorch.")
    parser.add_argument("--save-to", type=Path, metavar="FILE.vmfb", help="keep the compiled file")
    options = parser.parse_args()
    x, y = make_data()
    grid = torch.linspace(-2, 2, 101)[:, None]
    model = make_model()
    eager = copy.deepcopy(model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = options.save_to or folder / "regression.vmfb"
        vmfb = export(model, x, y).compile(save_to=path)
        print(f"1. Exported and compiled to {path.name}, {vmfb.size:,} bytes. Its functions:\n")
        for signature in vmfb.functions:
            print(f"   {signature}")
        print(f"\n2. {len(x)} steps in a process with numpy and iree.runtime only:\n", flush=True)
        losses, predicted = train_elsewhere(path, folder, x, y, grid)

    expected = train_eagerly(eager, x, y)
    print("\n3. Against eager PyTorch, trained on the same batches:\n")
    print(f"   loss of the first step {expected[0]:.4f}, of the last {expected[-1]:.4f}")
    agrees = compare("losses of all steps", losses, expected)
    agrees = compare("predictions after the last", predicted, eager(grid).detach()) and agrees
    learned = expected[-20:].mean() < expected[:20].mean() / 10
    print("\nThe two agree." if agrees else "\nThe two DISAGREE: this is a bug.")
    return 0 if agrees and learned else 1


if __name__ == "__main__":
    sys.exit(main())
