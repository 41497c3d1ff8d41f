# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compile PyTorch models for other machines, and run those for 64-bit Arm under an emulator.

    python run_on_aarch64.py [--tools FOLDER]

Three models are compiled for `target="aarch64-linux"`, run by the aarch64 build of IREE's own
`iree-run-module` under qemu as a Cortex-A72, an Arm of the first generation without any extension, and
compared with eager PyTorch. That the emulator is as strict as the machine is shown by code for a newer
Arm, which dies there. Then comes a table of all named targets: what compiles here, how large it
is, and what was run. The exit code is 0 only when every result is PyTorch's.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from fetch_tools import FOLDER, Tools, fetch

import shark_turbine.aot as aot
import shark_turbine.runtime as runtime
from shark_turbine import compiler
from shark_turbine.errors import CompileError, LoadError

# What "any 64-bit Arm" has: ARMv8.0-A. qemu ends a program that uses more with SIGILL.
OLDEST_CPU = "cortex-a72"
# One that has what the oldest lacks, and an emulated CPU that has everything.
NEWER_CPU, NEWEST_CPU = "neoverse-v1", "max"
# Code of these targets runs on Linux on Arm: the artifact calls no library of the system's.
ON_ARM = {
    "aarch64-linux": OLDEST_CPU,
    "aarch64-android": OLDEST_CPU,
    "macos-arm64": NEWEST_CPU,
}


class TinyTransformer(torch.nn.Module):
    """A language model of one layer, from token numbers to logits."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(50, 32)
        self.layer = torch.nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.head = torch.nn.Linear(32, 50)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Take int64[batch, length], give float32[batch, length, 50]."""
        mask = torch.nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        return self.head(self.layer(self.embedding(tokens), src_mask=mask, is_causal=True))


def make_models() -> dict[str, tuple[torch.nn.Module, torch.Tensor]]:
    """Return the models, each with an input."""
    nn = torch.nn
    torch.manual_seed(0)
    mlp = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 10), nn.Softmax(dim=-1))
    cnn = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(32, 10),
    )
    return {
        "MLP": (mlp.eval(), torch.randn(8, 64)),
        "CNN": (cnn.eval(), torch.randn(2, 3, 32, 32)),
        "transformer": (TinyTransformer().eval(), torch.randint(0, 50, (2, 16))),
    }


def run_on_arm(tools: Tools, vmfb: Path, x: torch.Tensor, cpu: str = OLDEST_CPU) -> torch.Tensor:
    """Run `main` under the emulator.

    Raises:
        RuntimeError: it ends with a failure, or dies: SIGILL is an instruction that the CPU lacks.
    """
    given, result = vmfb.with_suffix(".in.npy"), vmfb.with_suffix(".out.npy")
    np.save(given, x.numpy())
    options = [f"--module={vmfb}", "--function=main", "--device=local-task"]
    process = subprocess.run(
        [*tools.command(cpu), *options, f"--input=@{given}", f"--output=@{result}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        # A program that is killed leaves its memory in the current folder, on some machines.
        cwd=vmfb.parent,
    )
    if process.returncode != 0:
        raise RuntimeError(f"exit status {process.returncode}\n{process.stderr[-2000:]}")
    return torch.from_numpy(np.load(result))


def prove(tools: Tools, folder: Path) -> int:
    """Run every model compiled for Arm; return how many results are wrong."""
    print(f'target="aarch64-linux", run by the aarch64 iree-run-module under qemu as {OLDEST_CPU}:')
    failures = 0
    for name, (model, x) in make_models().items():
        with torch.no_grad():
            expected = model(x)
        path = folder / f"{name}.vmfb"
        vmfb = aot.export(model, x).compile(path, target="aarch64-linux")
        try:
            verdict = compare(run_on_arm(tools, path, x), expected)
        except RuntimeError as error:
            verdict = f"FAILED: {error}"
        failures += "FAILED" in verdict
        print(f"  {name:<16} {vmfb.size / 1024:7.1f} KiB   {verdict}")
    return failures + show_strictness(tools, folder)


def compare(result: torch.Tensor, expected: torch.Tensor) -> str:
    """Say whether a result is PyTorch's."""
    if result.shape != expected.shape:
        return f"FAILED: shape {tuple(result.shape)}, and PyTorch's is {tuple(expected.shape)}"
    difference = (result - expected).abs().max().item()
    if not torch.allclose(result, expected, rtol=1e-4, atol=1e-5):
        return f"FAILED: NOT EQUAL to PyTorch, greatest difference {difference:.1e}"
    return f"agrees with PyTorch, greatest difference {difference:.1e}"


def show_strictness(tools: Tools, folder: Path) -> int:
    """Run code for a newer Arm on an old one, where it has to die; return 1 when it does not."""
    model, x = make_models()["MLP"]
    path = folder / "newer.vmfb"
    triple = compiler.MACHINES["aarch64-linux"].triple
    aot.export(model, x).compile(path, target_triple=triple, target_cpu=NEWER_CPU)
    run_on_arm(tools, path, x, NEWEST_CPU)
    try:
        run_on_arm(tools, path, x)
    except RuntimeError as error:
        if "Illegal instruction" in str(error):
            print(
                f"  code for {NEWER_CPU} runs under qemu as {NEWEST_CPU}, and dies of SIGILL there"
            )
            return 0
        raise
    print(f"  FAILED: code for {NEWER_CPU} runs as {OLDEST_CPU}: the emulator proves nothing")
    return 1


def show_targets(tools: Tools, folder: Path) -> int:
    """Print what becomes of the MLP for each named target; return how many results are wrong."""
    model, x = make_models()["MLP"]
    with torch.no_grad():
        expected = model(x)
    output = aot.export(model, x)
    print("\nThe MLP for every named target:")
    failures = 0
    for target in compiler.MACHINES:
        path = folder / f"{target}.vmfb"
        try:
            vmfb = output.compile(path, target=target)
        except CompileError as error:
            print(f"  {target:<16} {'':>11}   does not compile here: {str(error).splitlines()[0]}")
            continue
        try:
            how, result = run_somewhere(tools, target, path, x)
            verdict = how if result is None else f"{how}, {compare(result, expected)}"
        except RuntimeError as error:
            verdict = f"FAILED: {error}"
        failures += "FAILED" in verdict
        print(f"  {target:<16} {vmfb.size / 1024:7.1f} KiB   {verdict}")
    return failures


def run_somewhere(
    tools: Tools, target: str, path: Path, x: torch.Tensor
) -> tuple[str, torch.Tensor | None]:
    """Run an artifact under the emulator or here; say how, with the result if it ran."""
    if target in ON_ARM:
        return f"ran under qemu as {ON_ARM[target]}", run_on_arm(tools, path, x, ON_ARM[target])
    try:
        return "ran on this machine", runtime.load(path).main(x)
    except LoadError as error:
        return f"not run: {str(error).splitlines()[0].removeprefix(f'{path}: ')}", None


def main() -> int:
    """Get the tools, run everything; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tools", type=Path, default=FOLDER, help="where fetch_tools.py puts them")
    options = parser.parse_args()
    tools = fetch(options.tools)
    with tempfile.TemporaryDirectory() as scratch:
        failures = prove(tools, Path(scratch))
        failures += show_targets(tools, Path(scratch))
    print(f"\n{failures} failures" if failures else "\nEvery result is PyTorch's.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
