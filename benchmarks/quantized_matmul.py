# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What quantized weights make of a matmul: ours in f32, int8 and int4, and PyTorch's own, in one run.

    python benchmarks/quantized_matmul.py [--rows 1 128] [--seconds 4]

Each line is one shape; columns are the best time of many calls that take turns, and its ratio to our
f32. On a busy machine compare the ratios, not the microseconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import shark_turbine.aot as aot
import shark_turbine.runtime as rt

SHAPES = ((768, 768), (768, 2048), (2048, 768), (768, 32000))
GROUP = 64


def contenders(columns: int, rows: int, x: torch.Tensor) -> dict[str, Callable[[], Any]]:
    """Return the calls by name; the first is what the others are compared with."""
    layer = nn.Linear(columns, rows, bias=False).requires_grad_(False)
    models = {
        "f32": layer,
        "int8": aot.quantize(layer).module,
        f"int8/{GROUP}": aot.quantize(layer, group_size=GROUP).module,
        "int4": aot.quantize(layer, bits=4).module,
        f"int4/{GROUP}": aot.quantize(layer, bits=4, group_size=GROUP).module,
    }
    calls: dict[str, Callable[[], Any]] = {}
    for name, model in models.items():
        run = rt.load(aot.export(model, x).compile()).main
        assert (run(x) - model(x)).abs().max() < 1e-4 * model(x).abs().max()
        calls[name] = lambda run=run: run(x)
    calls["torch f32"] = lambda: layer(x)
    calls.update(of_torch(layer.weight, x))
    return calls


def of_torch(weight: torch.Tensor, x: torch.Tensor) -> dict[str, Callable[[], Any]]:
    """Return PyTorch's own weight-only kernels, fed with x in bf16 where they take nothing else."""
    scale = weight.abs().amax(1) / 127
    int8 = torch.round(weight / scale[:, None]).to(torch.int8)
    narrow = x.bfloat16()
    groups = weight.unflatten(1, (-1, GROUP))
    steps = groups.abs().amax(2) / 7
    int4 = (torch.round(groups / steps[..., None]) + 8).clamp(0, 15).flatten(1).to(torch.int32)
    packed = torch._convert_weight_to_int4pack_for_cpu(int4, 1)
    zeros = (
        torch.stack([steps, torch.zeros_like(steps)], -1).transpose(0, 1).contiguous().bfloat16()
    )
    found = {
        "torch int8": lambda: torch._weight_int8pack_mm(narrow, int8, scale.bfloat16()),
        "torch int4": lambda: torch._weight_int4pack_mm_for_cpu(narrow, packed, GROUP, zeros),
    }
    for name, call in list(found.items()):
        wrong = (call().float() - x @ weight.T).norm() / (x @ weight.T).norm()
        assert wrong < 0.2, (name, wrong)
    return found


def best_times(calls: dict[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """Return the best time of each call in seconds; they take turns."""
    best = dict.fromkeys(calls, float("inf"))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, call in calls.items():
            for _ in range(3):
                start = time.perf_counter()
                call()
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def main() -> None:
    """Measure each shape and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 128], help="rows of x")
    parser.add_argument("--seconds", type=float, default=4, help="how long to measure each shape")
    options = parser.parse_args()
    torch.manual_seed(0)
    for rows in options.rows:
        for columns, out in SHAPES:
            times = best_times(
                contenders(columns, out, torch.randn(rows, columns)), options.seconds
            )
            ours = times["f32"]
            shown = (f"{name} {t * 1e6:.0f} µs ({ours / t:.2f}x)" for name, t in times.items())
            print(f"[{rows}, {columns}] x [{columns}, {out}]: {', '.join(shown)}", flush=True)


if __name__ == "__main__":
    with torch.no_grad():
        main()
