# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The command-line options of both commands."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .measuring import Settings
from .runtimes import PEERS


def add_to(parser: argparse.ArgumentParser, *, peers: Sequence[str], rounds: int) -> None:
    """Declare what both commands know, with these defaults."""
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=PEERS,
        metavar="PEER",
        default=list(peers),
        help=f"any of {', '.join(PEERS)}",
    )
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each peer")
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


def settle(options: argparse.Namespace) -> Settings:
    """Return how to measure, and keep this process and its children to as many cores as threads."""
    # Ended by others, it ends its children as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Children inherit it: every runtime finds as many cores as it shall have threads.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    return Settings(
        peers=options.peers,
        rounds=options.rounds,
        threads=options.threads,
        timeout=options.timeout,
        pythons=dict(pair.split("=", 1) for pair in options.python),
        keep=options.keep,
    )


def save(options: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    """Write what was measured so far, where `--json` says so."""
    if options.json is None:
        return
    about = {
        "rounds": options.rounds,
        "threads": options.threads,
        "cpu": _cpu(),
        "system": platform.platform(),
    }
    options.json.write_text(json.dumps({"about": about, "cases": results}, indent=1))


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()
