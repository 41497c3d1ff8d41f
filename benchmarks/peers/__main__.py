# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Our artifacts beside torch eager, inductor, AOTInductor, ONNX Runtime, OpenVINO and iree-turbine.

    python -m benchmarks.peers [--cases mlp bert ...] [--peers ours ort ...] [--rounds N] [--json FILE]

Each peer prepares its artifact in a process of its own and runs it in another; those of all peers take
turns, so that a noisy machine is noisy for all. Results are compared with eager's: a wrong one is
shown, and not timed. Peers that are not installed are left out (`pip install 'shark-turbine[peers]'`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path

from . import cases, table
from .measuring import Settings, measure_case
from .runtimes import PEERS


def main() -> None:
    """Measure, show and save."""
    options = _parse()
    # The children inherit it: every runtime finds as many cores as it shall have threads.
    cores = sorted(os.sched_getaffinity(0))[: options.threads]
    os.sched_setaffinity(0, cores)
    settings = Settings(
        peers=options.peers,
        rounds=options.rounds,
        threads=options.threads,
        timeout=options.timeout,
        pythons=dict(pair.split("=", 1) for pair in options.python),
        keep=options.keep,
    )
    results = []
    for case in options.cases:
        print(f"{case} ...", file=sys.stderr, flush=True)
        found = measure_case(case, settings, lambda line: print(f"  {line}", file=sys.stderr))
        results.append(found)
        print(table.show_case(found), end="\n\n", flush=True)
        if options.json:
            _save(options.json, results, options)
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
    parser.add_argument("--peers", nargs="+", choices=PEERS, metavar="PEER", default=list(PEERS),
                        help=f"any of {', '.join(PEERS)}")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each peer")
    parser.add_argument("--threads", type=int, default=2, help="cores and threads of each peer")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one preparation")
    parser.add_argument(
        "--python",
        action="append",
        default=os.environ.get("BENCHMARK_PYTHONS", "").split(),
        metavar="PEER=PATH",
        help="the interpreter of a peer that has an environment of its own (or several in the "
        "variable BENCHMARK_PYTHONS, with blanks between)",
    )
    parser.add_argument("--keep", type=Path, help="an empty folder for artifacts and logs")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    options = parser.parse_args()
    for case in options.cases:
        try:
            cases.parse(case)
        except ValueError as error:
            parser.error(str(error))
    return options


def _save(path: Path, results: list[table.Found], options: argparse.Namespace) -> None:
    about = {
        "rounds": options.rounds,
        "threads": options.threads,
        "cpu": _cpu(),
        "system": platform.platform(),
    }
    path.write_text(json.dumps({"about": about, "cases": results}, indent=1))


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
