# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How time grows with the batch and with the length of a sequence: are there cliffs?

    python -m benchmarks.peers.scaling [--sweeps mlp-batch ...] [--peers ours ort ...] [--json FILE]

Each size is a static shape, compiled for itself. A cliff is a step in which time grows by much more
than the operations do.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import dataclass

from . import options, table
from .measuring import measure_case
from .runtimes import PEERS

# Twice the work in this many times twice the time is a cliff.
_CLIFF = 1.25


@dataclass(frozen=True, slots=True)
class Sweep:
    """One case over sizes: what is formatted with `{}` for each, and the sizes."""

    title: str
    pattern: str
    sizes: tuple[int, ...]


SWEEPS = {
    "mlp-batch": Sweep(
        "MLP 1024-4096-4096-1024 by batch", "mlp:batch={}", (1, 2, 4, 8, 16, 32, 64)
    ),
    "bert-batch": Sweep(
        "BERT of 2 layers, 32 tokens, by batch",
        "bert:layers=2,length=32,batch={}",
        (1, 2, 4, 8, 16, 32, 64),
    ),
    "bert-length": Sweep(
        "BERT of 2 layers by tokens", "bert:layers=2,length={}", (32, 64, 128, 256, 512, 1024)
    ),
    "mobilenet-batch": Sweep("MobileNetV2 by batch", "mobilenet:batch={}", (1, 4, 16, 64)),
}


def main() -> None:
    """Measure, show and save."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.scaling", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--sweeps", nargs="+", choices=SWEEPS, default=list(SWEEPS))
    options.add_to(parser, peers=["eager", "ort", "openvino", "ours"], rounds=9)
    chosen = parser.parse_args()
    settings = options.settle(chosen)
    saved: list[table.Found] = []
    for name in chosen.sweeps:
        sweep, results = SWEEPS[name], []
        for size in sweep.sizes:
            print(f"{name} {size} ...", file=sys.stderr, flush=True)
            case = sweep.pattern.format(size)
            results.append(measure_case(case, settings, lambda _: None))
            saved.append(results[-1])
            options.save(chosen, saved)
        print(show(sweep, results), end="\n\n", flush=True)


def show(sweep: Sweep, results: list[table.Found]) -> str:
    """Return times by size in Markdown, and each peer's steepest step."""
    lines = [
        sweep.title,
        "",
        f"| ms (median) | {' | '.join(map(str, sweep.sizes))} | steepest step |",
        "|---" * (len(sweep.sizes) + 2) + "|",
    ]
    for peer in results[0]["peers"]:
        cells = [table.milliseconds(found["peers"][peer]) for found in results]
        lines.append(
            f"| {PEERS[peer].title} | {' | '.join(cells)} | {steepest(sweep, results, peer)} |"
        )
    return "\n".join(lines)


def steepest(sweep: Sweep, results: list[table.Found], peer: str) -> str:
    """Return where time grows most, over how the operations grow."""
    steps: dict[str, float] = {}
    pairs = itertools.pairwise(zip(sweep.sizes, results, strict=True))
    for (small, before), (large, after) in pairs:
        rows = before["peers"][peer], after["peers"][peer]
        if all(row["state"] == "ready" for row in rows):
            time = rows[1]["median_seconds"] / rows[0]["median_seconds"]
            steps[f"{small} → {large}"] = time / (after["flops"] / before["flops"])
    if not steps:
        return "-"
    worst = max(steps, key=steps.__getitem__)
    return f"{worst}: {steps[worst]:.2f}{' cliff' if steps[worst] > _CLIFF else ''}"


if __name__ == "__main__":
    main()
