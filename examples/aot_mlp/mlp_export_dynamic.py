# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A neural network for batches of any size, compiled once, and run where PyTorch is not.

Run it with `python examples/aot_mlp/mlp_export_dynamic.py`. It exits with 0 when the compiled
program gives what PyTorch gives, in every way it is run, and refuses what it should refuse.
"""

import argparse
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from shark_turbine import aot, runtime
from shark_turbine.errors import ArgumentError

HERE = Path(__file__).parent
IREE_RUN_MODULE = Path(sys.executable).with_name("iree-run-module")


class MLP(torch.nn.Module):
    """Three linear layers: 97 numbers in, 10 scores out, for each row of a batch."""

    def __init__(self):
        super().__init__()
        self.layer0 = torch.nn.Linear(97, 32)
        self.layer1 = torch.nn.Linear(32, 32)
        self.layer2 = torch.nn.Linear(32, 10)

    def forward(self, x):
        x = torch.tanh(self.layer0(x))
        x = torch.relu(self.layer1(x))
        return self.layer2(x)


torch.manual_seed(0)
model = MLP().eval()


def mean_loss(x, labels):
    """Compute the mean cross entropy of a batch: a second function over the same weights."""
    return torch.nn.functional.cross_entropy(model(x), labels)


class ClassifierModule(aot.CompiledModule):
    """Two functions over one set of weights."""

    params = aot.export_parameters(model)
    compute = aot.jittable(model.forward)
    compute_loss = aot.jittable(mean_loss)

    def scores(self, x=aot.AbstractTensor(None, 97)):
        return self.compute(x, constraints=[x.dynamic_dim(0) >= 1, x.dynamic_dim(0) <= 512])

    def loss(
        self,
        x=aot.AbstractTensor(None, 97),
        labels=aot.AbstractTensor(None, dtype=torch.int64),
    ):
        return self.compute_loss(
            x,
            labels,
            constraints=[
                x.dynamic_dim(0) == labels.dynamic_dim(0),
                x.dynamic_dim(0) >= 1,
            ],
        )

    def output_bias(self):
        return self.params["layer2.bias"]


class Checks:
    """Prints each comparison, and remembers whether one failed."""

    def __init__(self):
        self.failed = 0

    def check(self, what, holds):
        print(f"   {'ok    ' if holds else 'FAILED'} {what}")
        self.failed += not holds

    def compare(self, what, result, expected):
        result, expected = torch.as_tensor(result), torch.as_tensor(expected).detach()
        same = result.shape == expected.shape
        difference = (result - expected).abs().max().item() if same else float("inf")
        same = same and torch.allclose(result, expected, rtol=1e-4, atol=1e-5)
        self.check(f"{what}: largest difference {difference:.1e}", same)


def batch(size):
    """Make random inputs and labels."""
    return torch.randn(size, 97), torch.randint(0, 10, (size,))


def run_with_shark_turbine(path, checks):
    """Call the compiled functions with torch tensors, then break a contract."""
    print("\n3. Loaded with shark_turbine.runtime: torch tensors in and out, batches of any size")
    compiled = runtime.load(path)
    for size in (1, 7, 64):
        x, labels = batch(size)
        checks.compare(f"scores of {size:2} rows", compiled.scores(x), model(x))
        checks.compare(f"loss of {size:2} rows", compiled.loss(x, labels), mean_loss(x, labels))
    checks.compare("output_bias", compiled.output_bias(), model.layer2.bias)

    print("\n4. A call that breaks a contract is refused: 5 rows with 4 labels")
    x, labels = batch(5)
    try:
        compiled.loss(x, labels[:4])
        checks.check("refused", False)
    except ArgumentError as error:
        print("\n" + "\n".join(f"     {line}" for line in str(error).splitlines()) + "\n")
        checks.check("refused by the loader, before anything ran", True)


def run_without_torch(path, folder, checks):
    """Call the compiled file from a Python process without PyTorch."""
    print("\n5. The same file in a process that has only numpy and iree.runtime")
    script = HERE / "run_without_torch.py"
    inputs, result = folder / "inputs.npz", folder / "result.npy"
    x, labels = batch(12)

    def call(x, labels):
        np.savez(inputs, arg0=x.numpy(), arg1=labels.numpy())
        command = [sys.executable, script, path, "loss", inputs, result]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    process = call(x, labels)
    print(f"   {process.stdout.strip()}{process.stderr.strip()}")
    if process.returncode == 0:
        checks.compare("loss of 12 rows", np.load(result), mean_loss(x, labels))
    else:
        checks.check("the call ran", False)
    process = call(x, labels[:4])
    checks.check("12 rows with 4 labels are refused: the check is in the file", process.returncode)
    print(f"          {process.stderr.strip()}")


def run_with_iree_run_module(path, folder, checks):
    """Call the compiled file from IREE's own command-line tool."""
    print("\n6. The same file without Python: iree-run-module, IREE's command-line tool")
    x, _ = batch(3)
    np.save(folder / "x.npy", x.numpy())
    np.save(folder / "scores.npy", model(x).detach().numpy())
    command = [IREE_RUN_MODULE, f"--module={path}", "--function=scores"]
    command += [f"--input=@{folder / 'x.npy'}", f"--expected_output=@{folder / 'scores.npy'}"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    print("   iree-run-module --module=mlp.vmfb --function=scores --input=@x.npy \\")
    print("       --expected_output=@scores.npy")
    print(f"   {process.stdout.strip().splitlines()[-1]}{process.stderr.strip()}")
    checks.check("its comparison with PyTorch's scores", process.returncode == 0)

    command = [IREE_RUN_MODULE, f"--module={path}", "--function=loss"]
    command += ["--input=5x97xf32=1", "--input=4xi64=1"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    refused = "loss: x.shape[0] must equal labels.shape[0]" in process.stderr
    print("   iree-run-module --module=mlp.vmfb --function=loss --input=5x97xf32=1 --input=4xi64=1")
    print(f"   {process.stderr.strip().splitlines()[0]}")
    checks.check(f"refused (exit code {process.returncode})", refused and process.returncode)


def main():
    """Run every step; return 0 when all comparisons hold."""
    parser = argparse.ArgumentParser(description="Export and run a program with dynamic batches.")
    parser.add_argument("--save-to", type=Path, metavar="FILE.vmfb", help="keep the compiled file")
    options = parser.parse_args()
    checks = Checks()

    exported = aot.export(ClassifierModule)
    readable = io.StringIO()
    exported.print_readable(large_elements_limit=4, file=readable)
    public, *private = readable.getvalue().split("\n  func.func private")
    print("1. The class ClassifierModule as an MLIR module: weights are globals, `?` is a dynamic")
    print("   dimension, and each cf.assert is a contract that the compiled file will keep:\n")
    print(public)
    print(f"  ... and {len(private)} private functions with the torch operations\n}}")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = options.save_to or folder / "mlp.vmfb"
        vmfb = exported.compile(save_to=path)
        print(f"\n2. compile() wrote {path.name}: {vmfb.size:,} bytes. It says about itself:\n")
        for signature in vmfb.functions:
            print(f"   {signature}")
            for contract in signature.contracts:
                print(f"       {contract}")
        run_with_shark_turbine(path, checks)
        run_without_torch(path, folder, checks)
        run_with_iree_run_module(path, folder, checks)

    if checks.failed:
        print(f"\n{checks.failed} of the comparisons FAILED: this is a bug.")
        return 1
    print("\nEverything agrees with PyTorch, and what should be refused is refused.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
