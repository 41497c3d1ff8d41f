# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Train a classifier of handwritten digits where neither Python nor PyTorch is.

Run it with `python examples/native_training/native_training.py`. It exports the training, lets
`train.sh` and the C program of `c/` train, and exits with 0 when what they learned is what eager
PyTorch learns. Where no IREE runtime with headers is installed, the C program is reported as NOT RUN.
"""

import argparse
import copy
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import iree.runtime
import numpy as np
import torch
from sklearn.datasets import load_digits

from shark_turbine import aot, runtime

HERE = Path(__file__).parent
LIBRARIES = Path(iree.runtime.__file__).parent.with_name("_runtime_libs")
BATCH, PIXELS, BATCHES = 32, 64, 44


def make_data():
    """Return training batches and test rows of scikit-learn's digits: 8x8 grey values, 0 to 1."""
    pixels, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(pixels / 16, dtype=torch.float32)[order]
    y = torch.tensor(labels)[order]
    cut = BATCHES * BATCH
    batches = x[:cut].view(BATCHES, BATCH, PIXELS), y[:cut].view(BATCHES, BATCH)
    return *batches, x[cut:], y[cut:]


def make_model():
    """Return the model: two linear layers."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(PIXELS, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
    )


def make_optimizer(model):
    """Return the optimizer."""
    return torch.optim.Adam(model.parameters(), lr=3e-3)


def build(model):
    """Return the program: a training step, and what a process that lives for one call needs."""
    training = aot.training_module(
        model,
        torch.nn.functional.cross_entropy,
        make_optimizer(model),
        args=(torch.zeros(BATCH, PIXELS),),
        targets=(torch.zeros(BATCH, dtype=torch.int64),),
        dynamic_shapes={
            "input": {0: torch.export.Dim("rows")},
            "target": {0: torch.export.Dim("rows")},
        },
    )

    class NativeModule(training):
        def initial_state(self):
            return dict(self.state.items())

        def train(
            self,
            state=training.state,
            x=aot.AbstractTensor("steps", BATCH, PIXELS),
            y=aot.AbstractTensor("steps", BATCH, dtype=torch.int64),
        ):
            self.state = state
            steps = aot.IREE.tensor_dim(x, 0, dtype=aot.AbstractI64)

            def step(index, losses):
                inputs = aot.IREE.tensor_slice(x, (index, 1), (0, BATCH), (0, PIXELS))
                labels = aot.IREE.tensor_slice(y, (index, 1), (0, BATCH))
                loss = self.train_step(
                    aot.IREE.tensor_reshape(inputs, BATCH, PIXELS),
                    aot.IREE.tensor_reshape(labels, BATCH),
                )
                return aot.IREE.tensor_update(losses, aot.IREE.tensor_reshape(loss, 1), index)

            losses = aot.IREE.tensor_splat(steps, value=0.0, dtype=torch.float32)
            losses = aot.fori_loop(0, steps, step, losses)
            return losses, dict(self.state.items())

        def evaluate(
            self,
            state=training.state,
            x=aot.AbstractTensor(None, PIXELS),
        ):
            self.state = state
            return self.predict(x)

    return NativeModule


def train_eagerly(model, x, y, epochs):
    """Train with PyTorch; return the losses, float32[epochs, BATCHES]."""
    optimizer = make_optimizer(model)
    losses = []
    for _ in range(epochs):
        for inputs, labels in zip(x, y, strict=True):
            loss = torch.nn.functional.cross_entropy(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
    return torch.stack(losses).view(epochs, -1)


def arrays_of(path):
    """Return all arrays of an .npy file that was appended to."""
    arrays = []
    with path.open("rb") as file:
        while file.peek(1):
            arrays.append(torch.from_numpy(np.load(file)))
    return arrays


def train_by_processes(folder, epochs, tensors):
    """Run `train.sh` without Python on its path; return losses, the state, and scores of test rows."""
    command = [
        "sh",
        HERE / "train.sh",
        LIBRARIES / "iree-run-module",
        folder,
        str(epochs),
        str(tensors),
    ]
    subprocess.run(command, check=True, env={"PATH": "/usr/bin:/bin"})
    losses = [arrays_of(folder / f"losses_{epoch}.npy")[0] for epoch in range(1, epochs + 1)]
    return (
        torch.stack(losses),
        arrays_of(folder / "state.npy"),
        arrays_of(folder / "predicted.npy")[0],
    )


def train_in_c(folder, epochs):
    """Build and run the C program; return the mean loss of each epoch, or None where it cannot be built."""
    if not (shutil.which("cmake") and (shutil.which("cc") or os.environ.get("CC"))):
        print("   NOT RUN: cmake and a C compiler are needed to build it.")
        return None
    build = folder / "build"
    configured = subprocess.run(
        ["cmake", "-S", HERE / "c", "-B", build], capture_output=True, text=True, check=True
    )
    if "NOT BUILT" in configured.stdout:
        (reason,) = [line for line in configured.stdout.splitlines() if "NOT BUILT" in line]
        print(f"   NOT RUN: {reason.partition('NOT BUILT: ')[2]}.")
        return None
    subprocess.run(["cmake", "--build", build], stdout=subprocess.DEVNULL, check=True)
    command = [build / "train_digits", folder / "digits.vmfb", folder / "x.bin", folder / "y.bin"]
    command += [str(epochs), "local-sync"]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    print("".join(f"   {line}\n" for line in ran.stdout.splitlines()), end="")
    return torch.tensor([float(line.split()[-1]) for line in ran.stdout.splitlines()])


def size_of(path):
    """Return the bytes of a file or of everything in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def print_sizes(vmfb):
    """Say what has to be on the device, and what not."""
    (binding,) = LIBRARIES.glob("_runtime.*.so")
    for what, path in (
        ("digits.vmfb: code, weights, state", vmfb),
        ("iree-run-module", LIBRARIES / "iree-run-module"),
        ("instead of it, for callers in Python: the runtime", binding),
        ("not needed there: the folder of torch", Path(torch.__file__).parent),
    ):
        print(f"   {size_of(path) / 1e6:8.2f} MB  {what}")


def same(what, result, expected, tolerance=1e-4):
    """Print a comparison; return whether it holds."""
    holds = torch.allclose(result, expected, rtol=tolerance, atol=tolerance)
    difference = (result - expected).abs().max().item()
    verdict = "equal" if holds else "NOT EQUAL"
    print(f"   {what}: largest difference {difference:.1e} – {verdict}")
    return holds


def write_files(folder, data):
    """Write arrays for `train.sh` (.npy) and for the C program (.bin, numbers only)."""
    for name, array in zip(("x", "y", "test_x"), data, strict=False):
        np.save(folder / f"{name}.npy", array.numpy())
        array.numpy().tofile(folder / f"{name}.bin")


def compare(expected, eager, losses, state, c_losses):
    """Compare what was learned with what eager PyTorch learned; return whether all of it is equal."""
    holds = [same("losses of all steps", losses, expected)]
    holds += [same(key, state[key], value, 1e-3) for key, value in eager.state_dict().items()]
    if c_losses is not None:
        holds.append(same("mean losses of the C program", c_losses, expected.mean(1)))
    return all(holds)


def main():
    """Export, train in three ways, compare; return 0 when they agree."""
    parser = argparse.ArgumentParser(description="Train without Python and without PyTorch.")
    parser.add_argument("--epochs", type=int, default=5)
    epochs = parser.parse_args().epochs
    x, y, test_x, test_y = make_data()
    model = make_model()
    eager = copy.deepcopy(model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vmfb = aot.export(build(model)).compile(save_to=folder / "digits.vmfb")
        print(f"1. Exported; digits.vmfb has {vmfb.size:,} bytes. Its functions:\n")
        for one in vmfb.functions:
            print(f"   {one.name}: {len(one.arguments)} values in, {len(one.results)} out")
        write_files(folder, (x, y, test_x))
        names = list(runtime.load(folder / "digits.vmfb").state_dict())

        print(
            f"\n2. Trained by {epochs} processes of iree-run-module, {len(x)} steps each:\n",
            flush=True,
        )
        losses, state, scores = train_by_processes(folder, epochs, len(names))
        print("\n3. Trained by a C program:\n", flush=True)
        c_losses = train_in_c(folder, epochs)

        print("\n4. Against eager PyTorch, trained on the same batches:\n")
        expected = train_eagerly(eager, x, y, epochs)
        learned = dict(zip(names, state, strict=True))
        holds = compare(expected, eager, losses, learned, c_losses)
        holds = same("scores of test rows", scores, eager(test_x).detach(), 1e-2) and holds
        share = (scores.argmax(1) == test_y).float().mean().item()
        print(f"   {share:.1%} of {len(test_y)} test digits are recognized.\n\n5. What ships:\n")
        print_sizes(folder / "digits.vmfb")
    holds = holds and share > 0.9
    print("\nAll agree." if holds else "\nThey DISAGREE: this is a bug.")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
