# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A process that prepares, or runs, one case with one peer; it answers in lines of JSON.

    python -m benchmarks.peers.child {expect,prepare,run,machine} CASE PEER FOLDER THREADS

`expect` notes what eager PyTorch gives. `prepare` writes the peer's artifact. `run` loads it and then
answers each line `N` on its standard input with the seconds of N calls; `machine` with what the
machine can do: floating-point operations and bytes a second.
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import math
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.sampling import Sampler, peak_resident

from . import cases
from .runtimes import PEERS, Peer

# A result further off than this, relative to the largest number in it, is wrong and is not timed.
TOLERANCE = 1e-3


def main() -> None:
    """Answer on what was standard output; what libraries print goes to standard error."""
    kind, case, peer, folder, threads = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    torch.set_num_threads(int(threads))

    def answer(found: Any) -> None:
        print(json.dumps(found), file=answers)

    try:
        with torch.no_grad():
            if kind == "machine":
                serve(measure_machine(), answer)
            elif kind == "expect":
                answer(expect(case, Path(folder)))
            elif lacking := missing(PEERS[peer]):
                answer({"state": "not installed", "reason": ", ".join(lacking)})
            elif kind == "prepare":
                answer(prepare(case, PEERS[peer], Path(folder), int(threads)))
            else:
                run(case, PEERS[peer], Path(folder), int(threads), answer)
    except BaseException as error:
        traceback.print_exc()
        answer({"state": "failed", "reason": _first_line(error)})


def missing(peer: Peer) -> list[str]:
    """Return which of a peer's packages are not installed here."""
    return [name for name in peer.distributions if _version(name) is None]


def expect(case: str, folder: Path) -> dict[str, Any]:
    """Save arguments and eager's results; return the size of the case."""
    model, arguments = cases.make(case)
    results = _flat(model(*arguments))
    # The fused kernels of recurrent layers would not be counted.
    with (
        warnings.catch_warnings(action="ignore"),
        torch.backends.mkldnn.flags(enabled=False),
        FlopCounterMode(display=False) as counter,
    ):
        model(*arguments)
    torch.save({"arguments": arguments, "results": results}, folder / "expected.pt")
    weights = {each.data_ptr(): each.nbytes for each in _tensors(model)}
    return {
        "state": "ready",
        "flops": counter.get_total_flops(),
        "weight_bytes": sum(weights.values()),
    }


def prepare(case: str, peer: Peer, folder: Path, threads: int) -> dict[str, Any]:
    """Write the artifact; return what that cost: from the model in memory to the artifact on disk."""
    assert peer.prepare is not None
    found: dict[str, Any] = {"state": "ready"}
    model, arguments = cases.make(case)
    artifact = folder / "artifact"
    artifact.mkdir()
    sampler = Sampler()
    start = time.perf_counter()
    peer.prepare(model, arguments, artifact, threads)
    found["prepare_seconds"] = time.perf_counter() - start
    found["prepare_peak_bytes"] = max(own + children for _, own, children in sampler.rows())
    found["artifact_bytes"] = sum(
        path.stat().st_size for path in artifact.rglob("*") if path.is_file()
    )
    return found


def run(case: str, peer: Peer, folder: Path, threads: int, answer: Callable[[Any], None]) -> None:
    """Load, call once, compare with eager, and serve."""
    expected = torch.load(folder.parent / "expected.pt")
    start = time.perf_counter()
    call = peer.load(
        folder / "artifact", expected["arguments"], lambda: cases.make(case)[0], threads
    )
    loaded = time.perf_counter()
    results = call()
    found: dict[str, Any] = {
        "state": "ready",
        "versions": _versions(peer),
        "load_seconds": loaded - start,
        "first_call_seconds": time.perf_counter() - loaded,
        **difference(results, expected["results"]),
    }
    if not found["relative_error"] <= TOLERANCE:
        answer({**found, "state": "wrong", "reason": f"off by {found['relative_error']:.1e}"})
        return
    answer({**found, "call_seconds": _seconds(call, 1)[0][0]})
    del results
    gc.disable()

    def measure(count: int) -> dict[str, Any]:
        seconds, cpu_seconds = _seconds(call, count)
        return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak_resident()}

    serve(measure, answer)


def serve(measure: Callable[[int], Any], answer: Callable[[Any], None]) -> None:
    """Answer each line of the standard input, until it ends."""
    for line in sys.stdin:
        answer(measure(int(line)))


def measure_machine() -> Callable[[int], dict[str, float]]:
    """Return what measures matrix products and reading memory, of the best of some calls."""
    a, b = torch.randn(2, 1536, 1536)
    memory = torch.ones(2**26)
    return lambda count: {
        "flops_per_second": 2 * 1536**3 / min(_seconds(lambda: torch.mm(a, b), count)[0]),
        "bytes_per_second": memory.nbytes / min(_seconds(memory.sum, count)[0]),
    }


def _seconds(call: Callable[[], Any], count: int) -> tuple[list[float], list[float]]:
    """Return the seconds of some calls, and those that all cores together were busy for them.

    One call before brings memory and threads back.
    """
    call()
    found: list[float] = []
    busy: list[float] = []
    for _ in range(count):
        start, cpu_start = time.perf_counter(), time.process_time()
        call()
        found.append(time.perf_counter() - start)
        busy.append(time.process_time() - cpu_start)
    return found, busy


def difference(results: Any, expected: list[torch.Tensor]) -> dict[str, float]:
    """Return the largest absolute and relative error, the latter over the largest number."""
    found = [torch.as_tensor(each) for each in _flat(results)]
    if [each.shape for each in found] != [each.shape for each in expected]:
        shapes = [tuple(each.shape) for each in found]
        raise ValueError(f"results of shapes {shapes}")
    absolute = relative = 0.0
    for ours, theirs in zip(found, expected, strict=True):
        error = (ours.to(torch.float64) - theirs.to(torch.float64)).abs().max().item()
        error = math.inf if math.isnan(error) else error
        absolute = max(absolute, error)
        relative = max(relative, error / theirs.abs().max().item())
    return {"absolute_error": absolute, "relative_error": relative}


def _flat(results: Any) -> list[Any]:
    return _pytree.tree_leaves(results)


def _tensors(model: torch.nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _versions(peer: Peer) -> dict[str, str | None]:
    return {name: _version(name) for name in peer.distributions}


def _first_line(error: BaseException) -> str:
    """Return an error in a line that fits the table."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:160]


if __name__ == "__main__":
    main()
