# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Our artifacts beside torch eager, inductor, AOTInductor, ONNX Runtime, OpenVINO and iree-turbine.

    python -m benchmarks.peers [--cases mlp bert ...] [--peers ours ort ...] [--rounds N] [--json FILE]

Each peer prepares its artifact in a process of its own and runs it in another; those of all peers take
turns, so that a noisy machine is noisy for all. Results are compared with eager's: a wrong one is
shown, and not timed. Peers that are not installed are left out (`pip install 'shark-turbine[peers]'`).
"""

from __future__ import annotations

import argparse
import sys

from . import cases, options, table
from .measuring import measure_case
from .runtimes import PEERS


def main() -> None:
    """Measure, show and save."""
    chosen = _parse()
    settings = options.settle(chosen)
    results: list[table.Found] = []
    for case in chosen.cases:
        print(f"{case} ...", file=sys.stderr, flush=True)
        results.append(
            measure_case(case, settings, lambda line: print(f"  {line}", file=sys.stderr))
        )
        print(table.show_case(results[-1]), end="\n\n", flush=True)
        options.save(chosen, results)
    print(table.show_all(results))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--cases",
        nargs="+",
        metavar="CASE",
        default=list(cases.DEFAULT),
        help=f"any of {', '.join(cases.CASES)}; with sizes: bert:length=512",
    )
    options.add_to(parser, peers=list(PEERS), rounds=15)
    chosen = parser.parse_args()
    for case in chosen.cases:
        try:
            cases.parse(case)
        except ValueError as error:
            parser.error(str(error))
    return chosen


if __name__ == "__main__":
    main()
