# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One process for each peer of a case; they run in turn, so that noise on the machine hits all alike."""

from __future__ import annotations

import json
import math
import os
import random
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .runtimes import PEERS

ROOT = Path(__file__).parents[2]
# How long one turn of a peer takes at least, in seconds, unless a single call takes longer.
_TURN = 0.06
# Threads of some runtimes look for work for a while after a call, in the way of the next one's.
_PAUSE = 0.03

Found = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """How to measure.

    Args:
        peers: names out of `runtimes.PEERS`.
        rounds: how often each peer gets its turn.
        threads: cores and threads of each process.
        timeout: seconds that a peer may take to prepare, or to load.
        pythons: interpreters of peers that live in environments of their own.
        keep: a folder for artifacts and logs; None deletes them.
    """

    peers: Sequence[str]
    rounds: int = 15
    threads: int = 2
    timeout: float = 900.0
    pythons: Mapping[str, str] = field(default_factory=dict)
    keep: Path | None = None


class Child:
    """A process of `child.py`, of which one line is asked at a time."""

    def __init__(self, kind: str, case: str, peer: str, folder: Path, settings: Settings) -> None:
        self._timeout = settings.timeout
        command = [settings.pythons.get(peer, sys.executable), "-m", "benchmarks.peers.child"]
        with (folder / f"{kind}.log").open("w") as log:
            self._process = subprocess.Popen(
                [*command, kind, case, peer, str(folder), str(settings.threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env=_environment(folder, settings.threads),
                start_new_session=True,
            )

    def ask(self, line: str | None = None) -> Found:
        """Return what the process answers to a line, or says first of all by itself."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            if line is not None:
                self._process.stdin.write(f"{line}\n")
                self._process.stdin.flush()
            readable, _, _ = select.select([self._process.stdout], [], [], self._timeout)
            if not readable:
                self.stop()
                return {"state": "failed", "reason": f"no answer in {self._timeout:.0f} s"}
            if text := self._process.stdout.readline():
                return json.loads(text)
        except BrokenPipeError:
            pass
        code = self._process.wait()
        died = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return {"state": "failed", "reason": f"died: {died}"}

    def stop(self) -> None:
        """End the process and those that it started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def measure_case(case: str, settings: Settings, say: Say) -> Found:
    """Prepare a case with every peer, one after the other, then call all of them in turn.

    Returns:
        `flops` and `weight_bytes` of the case, `machine` (what this machine reached in the same run),
        and for each peer its `state` (ready, not installed, failed, wrong), the `reason` where it is not
        ready, and the times, sizes and errors that were measured.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = (settings.keep or Path(temporary)) / case.replace(":", "-").replace("=", "")
        folder.mkdir(parents=True, exist_ok=True)
        size = _ask_once("expect", case, "eager", folder, settings)
        if size["state"] != "ready":
            raise RuntimeError(f"{case}: eager PyTorch fails: {size['reason']}")
        found = {peer: _prepare(case, peer, folder, settings, say) for peer in settings.peers}
        machine = _run_all(case, found, folder, settings, say)
    return {"case": case, "machine": machine, "peers": found, **size}


def _prepare(case: str, peer: str, folder: Path, settings: Settings, say: Say) -> Found:
    own = folder / peer
    own.mkdir()
    if PEERS[peer].prepare is None:
        return {"state": "ready"}
    found = _ask_once("prepare", case, peer, own, settings)
    say(f"{peer}: prepared in {found.get('prepare_seconds', 0.0):.1f} s")
    return found


def _ask_once(kind: str, case: str, peer: str, folder: Path, settings: Settings) -> Found:
    child = Child(kind, case, peer, folder, settings)
    try:
        return child.ask()
    finally:
        child.stop()


def _run_all(
    case: str, found: dict[str, Found], folder: Path, settings: Settings, say: Say
) -> dict[str, float]:
    """Start a process for each peer that is prepared, and have them take turns."""
    children: dict[str, Child] = {}
    try:
        for peer in [peer for peer in settings.peers if found[peer]["state"] == "ready"]:
            children[peer] = Child("run", case, peer, folder / peer, settings)
            found[peer].update(children[peer].ask())
            say(f"{peer}: {found[peer]['state']}")
        children["machine"] = Child("machine", case, "machine", folder, settings)
        return _take_turns(children, found, settings)
    finally:
        for child in children.values():
            child.stop()


def _take_turns(
    children: dict[str, Child], found: dict[str, Found], settings: Settings
) -> dict[str, float]:
    """Have each process that is ready called in each round; add the times to what was found."""
    turns = {
        peer: max(1, min(1000, math.ceil(_TURN / found[peer]["call_seconds"])))
        for peer in children
        if peer in found and found[peer]["state"] == "ready"
    }
    samples: dict[str, list[float]] = {peer: [] for peer in turns}
    busy: dict[str, list[float]] = {peer: [] for peer in turns}
    speeds: list[Found] = []
    for _ in range(settings.rounds):
        order = [*samples, "machine"]
        random.shuffle(order)
        for peer in order:
            answer = children[peer].ask(str(turns.get(peer, 2)))
            time.sleep(_PAUSE)
            if peer == "machine":
                speeds.append(answer)
            elif "state" in answer:
                found[peer].update(answer)
                del samples[peer]
            else:
                samples[peer] += answer["seconds"]
                busy[peer] += answer["cpu_seconds"]
                found[peer]["run_peak_bytes"] = answer["peak_bytes"]
    for peer, seconds in samples.items():
        found[peer]["median_seconds"] = statistics.median(seconds)
        found[peer]["min_seconds"] = min(seconds)
        found[peer]["cpu_seconds"] = statistics.median(busy[peer])
        found[peer]["calls"] = len(seconds)
    keys = ("flops_per_second", "bytes_per_second")
    return {key: max(speed[key] for speed in speeds) for key in keys}


def _environment(folder: Path, threads: int) -> dict[str, str]:
    """Return an environment with empty caches."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "caches/inductor"),
        "SHARK_TURBINE_CACHE_DIR": str(folder / "caches/turbine"),
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_OFFLINE": "1",
        "OPENVINO_TELEMETRY_DISABLE": "1",
    }
