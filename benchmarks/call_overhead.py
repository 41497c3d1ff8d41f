# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a call of a tiny function costs: torch eager, stock iree.runtime and our loader, in one run.

    python benchmarks/call_overhead.py

Times are the best of several rounds that take turns, so a busy machine hurts everybody alike; compare
the ratios, not the microseconds.
"""

from __future__ import annotations

import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from json import dumps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import iree.runtime as ireert
import torch

import shark_turbine.runtime as rt

MLIR = """module @tiny {
  func.func @add(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
    %0 = arith.addf %a, %b : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}"""
MANIFEST = {"format": 1, "functions": [], "stateful": False, "preserves_inputs": True}


def compile_tiny(path: Path) -> None:
    """Compile the module with the compiler's own executable."""
    compiler = Path(sys.executable).with_name("iree-compile")
    flags = ["--iree-hal-target-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=host"]
    subprocess.run([compiler, "-", *flags, "-o", path], input=MLIR.encode(), check=True)


def contenders(path: Path, device: str) -> dict[str, Callable[[], Any]]:
    """Return what to call, by name; `bare invoke` is the floor that nobody can go below."""
    a, b = torch.ones(4), torch.ones(4)
    x, y = a.numpy(), b.numpy()
    config = ireert.Config(device)
    native = ireert.VmModule.copy_buffer(config.vm_instance, path.read_bytes())
    stock = ireert.load_vm_module(native, config)
    stock_add = stock.add
    copying = rt.load(path, device=device).add
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("shark_turbine.json", dumps(MANIFEST))
    sharing = rt.load(path, device=device).add
    return {
        "torch eager": lambda: a + b,
        "bare invoke": bare(config, stock.vm_module),
        "stock, numpy to DeviceArray": lambda: stock_add(x, y),
        "stock, numpy to numpy": lambda: stock_add(x, y).to_host(),
        "ours, torch to torch": lambda: sharing(a, b),
        "ours, torch to torch, by keyword": lambda: sharing(input0=a, input1=b),
        "ours, torch to torch, arguments copied": lambda: copying(a, b),
        "ours, numpy to numpy": lambda: sharing(x, y),
    }


def bare(config: Any, module: Any) -> Callable[[], Any]:
    """Return a call with views made beforehand that leaves its result in the VM's list."""
    context = ireert.VmContext(config.vm_instance, [*config.default_vm_modules, module])
    function = module.lookup_function("add")
    view = ireert.asdevicearray(config.device, torch.ones(4).numpy())._buffer_view

    def call() -> Any:
        inputs, outputs = ireert.VmVariantList(2), ireert.VmVariantList(1)
        inputs.push_ref(view)
        inputs.push_ref(view)
        context.invoke(function, inputs, outputs)
        return outputs

    return call


def measure(calls: dict[str, Callable[[], Any]], rounds: int = 20) -> dict[str, float]:
    """Return microseconds per call, the best of `rounds` that take turns."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(300):
                call()
            best[name] = min(best[name], (time.perf_counter() - start) / 300 * 1e6)
    return best


def main() -> None:
    """Measure both CPU devices and print a table for each."""
    with TemporaryDirectory() as folder:
        for device in ("local-sync", "local-task"):
            path = Path(folder, f"{device}.vmfb")
            compile_tiny(path)
            times = measure(contenders(path, device))
            print(f"{device:42}      us   x eager   x stock")
            for name, value in times.items():
                eager = value / times["torch eager"]
                stock = value / times["stock, numpy to numpy"]
                print(f"  {name:40} {value:7.1f} {eager:9.1f} {stock:9.2f}")


if __name__ == "__main__":
    main()
