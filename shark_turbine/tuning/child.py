# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs in a child process: compiles candidates, compares their results, measures them in turns.

    python -m shark_turbine.tuning.child measure|reference <folder> <request as JSON>

Whatever a candidate does to this process and to the compilers that it starts, the parent goes on: it
reads `at.json` to see who was at work.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from shark_turbine import compiler, runtime, trees
from shark_turbine.errors import CompileError, TurbineError
from shark_turbine.runtime import LoadedModule

from .differences import difference
from .trial import JOB_FILE, Job

# A sample is at least so long, that the clock and the loop around the call do not count.
_SAMPLE_SECONDS = 0.5e-3
_MOST_SAMPLES, _FEWEST_SAMPLES = 400, 5


def main(mode: str, folder: str, request: str) -> None:
    """Do what the parent asks for; the last line on stdout is the answer, as JSON."""
    # When memory runs out the kernel is to end this process, and compilers that it started.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    work = _Work(Path(folder), json.loads(request))
    answer = work.measure() if mode == "measure" else work.reference()
    sys.stdout.write(f"{json.dumps(answer)}\n")


class _Work:
    def __init__(self, folder: Path, request: dict[str, Any]) -> None:
        self._folder = folder
        self._request = request
        self._job: Job = pickle.loads((folder / JOB_FILE).read_bytes())
        recipes = request.get("recipes", [("none", (), (), None)])
        self._recipes = [
            compiler.Recipe(name, flags, rewrites, device=device)
            for name, flags, rewrites, device in recipes
        ]

    def reference(self) -> dict[str, Any]:
        path, _ = self._compile(self._recipes[0])
        results = self._results(self._load(path, "local-sync"))
        (self._folder / "reference.pickle").write_bytes(pickle.dumps(results))
        return {}

    def measure(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        rounds: dict[int, Callable[[], float]] = {}
        for number, recipe in enumerate(self._recipes):
            self._note("compile", number)
            try:
                path, seconds = self._compile(recipe)
                self._note("load", number)
                module = self._load(path, recipe.device or "local-task")
                self._note("check", number)
                error, reason = difference(
                    self._results(module), self._job.expected, self._job.tolerance
                )
            except CompileError as error:
                found.append({"state": "refused", "note": _first_line(error)})
                continue
            except TurbineError as error:
                found.append({"state": "failed", "note": _first_line(error)})
                continue
            state = "measured" if reason is None else "wrong"
            found.append({"state": state, "note": reason or "", "error": error})
            found[-1]["compile_seconds"] = seconds
            if reason is None:
                self._note("measure", number)
                rounds[number] = self._round(module)
        if rounds:
            self._note("measure", max(rounds))
        measured = self._times(rounds)
        for number, times in measured.items():
            # Ratios are to the baseline; where it fails nobody asks for them.
            found[number] |= _summary(times, next(iter(measured.values())))
        return {"candidates": found}

    def _note(self, phase: str, candidate: int) -> None:
        text = json.dumps({"phase": phase, "candidate": candidate})
        (self._folder / "at.json").write_text(text)

    def _compile(self, recipe: compiler.Recipe) -> tuple[Path, float | None]:
        """Return an artifact and how long it took to make; None if it was there."""
        name = hashlib.sha256(json.dumps([recipe.flags, recipe.rewrites]).encode()).hexdigest()[:24]
        path = self._folder / f"{name}.vmfb"
        if path.exists():
            return path, None
        start = time.perf_counter()
        compiler.compile(
            self._job.module,
            save_to=path,
            recipe=recipe,
            timeout=self._request["compile_seconds"],
            parameters=lambda: self._job.described,
            diagnose=False,
            **self._job.options,
        )
        return path, time.perf_counter() - start

    def _load(self, path: Path, device: str) -> LoadedModule:
        return runtime.load(
            path,
            device=device,
            parameters={scope: list(files) for scope, files in self._job.parameters.items()}
            or None,
            check_hashes=False,
        )

    def _calls(self, module: LoadedModule) -> list[tuple[Any, list[Any], dict[str, Any]]]:
        return [
            (module[call.function], *call.structured(module.signature(call.function)))
            for call in self._job.calls
        ]

    def _results(self, module: LoadedModule) -> tuple[tuple[tuple[Any, ...], ...], ...]:
        calls = self._calls(module)
        return tuple(
            tuple(tuple(trees.leaves(call(*args, **kwargs))) for call, args, kwargs in calls)
            for _ in range(self._job.rounds)
        )

    def _round(self, module: LoadedModule) -> Callable[[], float]:
        """Return a function that gives the seconds of a round of the calls."""
        calls = self._calls(module)

        def once() -> float:
            if self._job.is_stateful:
                LoadedModule.reset(module)
            start = time.perf_counter()
            for call, args, kwargs in calls:
                call(*args, **kwargs)
            return time.perf_counter() - start

        once()
        shortest = min(once(), once())
        if self._job.is_stateful or shortest > _SAMPLE_SECONDS:
            return once
        times = int(_SAMPLE_SECONDS / shortest) + 1
        return lambda: sum(once() for _ in range(times)) / times

    def _times(self, rounds: dict[int, Callable[[], float]]) -> dict[int, list[float]]:
        """Measure in turns, forwards and backwards, so that what else runs is felt by all."""
        times: dict[int, list[float]] = {number: [] for number in rounds}
        order = list(rounds)
        start, seconds = time.perf_counter(), self._request["measure_seconds"]
        for sample in range(_MOST_SAMPLES if order else 0):
            if sample >= _FEWEST_SAMPLES and time.perf_counter() - start > seconds:
                break
            for number in order:
                times[number].append(rounds[number]())
            order.reverse()
        return times


def _summary(times: Sequence[float], first: Sequence[float]) -> dict[str, Any]:
    quotients = [mine / other for mine, other in zip(times, first, strict=True)]
    return {
        "milliseconds": statistics.median(times) * 1e3,
        "ratio": statistics.median(quotients),
        "wins": sum(quotient < 1 for quotient in quotients) / len(quotients),
    }


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]


if __name__ == "__main__":
    main(*sys.argv[1:])
