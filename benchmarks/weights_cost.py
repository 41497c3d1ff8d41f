# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What gigabytes of weights cost that are not in the artifact: memory and time, for two sizes.

A chain of square matrices (f32, 8192 x 8192: 256 MiB each) is exported with `weights="external"`,
compiled, saved and loaded, each in a process of its own::

    python benchmarks/weights_cost.py [--layers 4 16] [--size 8192] [--folder /tmp]

Memory is resident memory as /proc shows it, of the process and its children together, above the
process with the model loaded; for loading also the proportional set size (PSS), which counts pages
that are shared with other processes by their share.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from sampling import Sampler, resident

from shark_turbine import aot, runtime

GIB = 2**30


def make_model(layers: int, size: int) -> torch.nn.Sequential:
    """Return a chain of random matrices."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        *(torch.nn.Linear(size, size, bias=False, device="meta") for _ in range(layers))
    )
    model.to_empty(device="cpu")
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, -(size**-0.5), size**-0.5)
    return model.eval().requires_grad_(False)


def memory() -> dict[str, int]:
    """Return bytes of this process: RSS, PSS, and those that no file is behind."""
    found: dict[str, int] = {}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        name, *rest = line.split()
        if name in ("Rss:", "Pss:", "Anonymous:"):
            found[name[:-1].lower()] = int(rest[0]) * 1024
    return found


class Watch:
    """Times phases, and knows the highest memory of each."""

    def __init__(self) -> None:
        self.spans: dict[str, tuple[float, float]] = {}
        gc.collect()
        self.base = resident()
        self._sampler = Sampler()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note from when to when something ran."""
        start = time.monotonic()
        yield
        self.spans[name] = (start, time.monotonic())

    def report(self) -> dict[str, dict[str, float]]:
        """Return seconds and peak above the start, in bytes, of each phase."""
        rows = self._sampler.rows()
        return {
            name: {
                "seconds": end - start,
                "peak": max(
                    (row[1] + row[2] - self.base for row in rows if start <= row[0] <= end),
                    default=0,
                ),
            }
            for name, (start, end) in self.spans.items()
        }


def measure_export(layers: int, size: int, folder: Path) -> dict[str, Any]:
    """Export, compile and save; the parameter file stays in the folder."""
    # What is done once in a process is no cost of the weights.
    aot.export(make_model(1, 8), torch.ones(1, 8), weights="external").compile()
    model = make_model(layers, size)
    x = torch.ones(1, size)
    watch = Watch()
    with watch.phase("aot.export"):
        output = aot.export(model, x, weights="external")
    with watch.phase("compile"):
        vmfb = output.compile(save_to=folder / "model.vmfb")
    with watch.phase("save_parameters"):
        output.save_parameters(folder / "model.irpa")
    torch.save(model(x), folder / "expected.pt")
    return {
        "phases": watch.report(),
        "vmfb": vmfb.size,
        "weights": sum(parameter.nbytes for parameter in model.parameters()),
    }


def measure_checkpoint(layers: int, size: int, folder: Path) -> dict[str, Any]:
    """Export and compile against the file that is there, with a model without memory."""
    aot.export(make_model(1, 8), torch.ones(1, 8), weights="external").compile()
    model = torch.nn.Sequential(
        *(torch.nn.Linear(size, size, bias=False, device="meta") for _ in range(layers))
    )
    x = torch.ones(1, size, device="meta")
    watch = Watch()
    with watch.phase("aot.export of a checkpoint"):
        output = aot.export(model, x, weights=folder / "model.irpa")
    with watch.phase("its compile"):
        output.compile()
    return {"phases": watch.report()}


def measure_load(layers: int, size: int, folder: Path) -> dict[str, Any]:
    """Load twice (hashing the file, and not again), and call."""
    del layers
    tiny = aot.export(make_model(1, 8), torch.ones(1, 8)).compile()
    runtime.load(tiny).main(torch.ones(1, 8))
    x, expected = torch.ones(1, size), torch.load(folder / "expected.pt")
    stages: dict[str, dict[str, int]] = {}
    before = memory()

    def note(name: str) -> None:
        now = memory()
        stages[name] = {key: now[key] - before[key] for key in now}

    watch = Watch()
    with watch.phase("load, first time"):
        module = runtime.load(folder / "model.vmfb", parameters=folder / "model.irpa")
    note("loaded")
    with watch.phase("load, again"):
        other = runtime.load(folder / "model.vmfb", parameters=folder / "model.irpa")
    with watch.phase("first call"):
        result = module.main(x)
    note("called")
    torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-3)
    other.main(x)
    note("two modules called")
    return {"phases": watch.report(), "stages": stages}


MEASURES: dict[str, Callable[[int, int, Path], dict[str, Any]]] = {
    "export": measure_export,
    "load": measure_load,
    "checkpoint": measure_checkpoint,
}


def run_child(measure: str, layers: int, size: int, folder: Path) -> dict[str, Any]:
    """Measure in a fresh process."""
    command = [sys.executable, __file__, "--child", measure, "--layers", str(layers)]
    command += ["--size", str(size), "--folder", str(folder)]
    environment = {**os.environ, "SHARK_TURBINE_CACHE_DIR": str(folder / "cache")}
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def report(layers: int, size: int, root: Path) -> None:
    """Measure one size and print its table."""
    with tempfile.TemporaryDirectory(dir=root) as name:
        folder = Path(name)
        found = {measure: run_child(measure, layers, size, folder) for measure in MEASURES}
    weights = found["export"]["weights"]
    vmfb = found["export"]["vmfb"]
    print(f"weights {weights / GIB:.2f} GiB ({layers} x {size}^2, f32), vmfb {vmfb / 1024:.0f} KiB")
    print(f"{'phase':32}{'seconds':>9}{'peak above the start':>24}")
    for part in found.values():
        for phase, numbers in part["phases"].items():
            ratio = numbers["peak"] / weights
            print(f"{phase:32}{numbers['seconds']:>9.2f}{ratio:>15.3f} x weights")
    print(f"{'loaded module':32}{'RSS':>9}{'PSS':>9}{'anonymous':>11}  (x weights)")
    for stage, numbers in found["load"]["stages"].items():
        cells = (numbers[key] / weights for key in ("rss", "pss", "anonymous"))
        rss, pss, anonymous = cells
        print(f"{stage:32}{rss:>9.3f}{pss:>9.3f}{anonymous:>11.3f}")
    print(flush=True)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--layers", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--child", choices=MEASURES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.child:
        found = MEASURES[options.child](options.layers[0], options.size, options.folder)
        print(json.dumps(found))
        return
    for layers in options.layers:
        report(layers, options.size, options.folder)


if __name__ == "__main__":
    main()
