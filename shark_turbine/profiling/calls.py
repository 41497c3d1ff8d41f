# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls of compiled code inside any function, and the time between them."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from shark_turbine.runtime import LoadedFunction
from shark_turbine.runtime.replay import replay_of
from shark_turbine.runtime.watching import watching

from .pieces import Piece


@dataclass(frozen=True, slots=True)
class Call:
    """One call of compiled code, in seconds from the begin of the run."""

    function: LoadedFunction
    start: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Watched:
    """The calls of compiled code in the run of median length, the arguments of the first of each function.

    `between` are the seconds of a run in which no compiled code ran, a median.
    """

    calls: tuple[Call, ...]
    values: Mapping[LoadedFunction, Sequence[Any]]
    seconds: float
    between: float

    def names(self) -> dict[LoadedFunction, str]:
        """Return a name for each function, numbered where several have the same."""
        functions = list(dict.fromkeys(call.function for call in self.calls))
        often = Counter(function.__qualname__ for function in functions)
        counted: Counter[str] = Counter()
        names: dict[LoadedFunction, str] = {}
        for function in functions:
            name = function.__qualname__
            counted[name] += 1
            names[function] = f"{name} #{counted[name]}" if often[name] > 1 else name
        return names

    def pieces(self, device: str | None) -> list[Piece]:
        """Return what to record of each function."""
        times = Counter(call.function for call in self.calls)
        return [
            Piece(replay_of(function, self.values[function], device), name, times[function])
            for function, name in self.names().items()
        ]


def watch_calls(
    target: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], runs: int
) -> Watched:
    """Call a function and note the calls of compiled code; what it compiles first is not counted."""
    values: dict[LoadedFunction, Sequence[Any]] = {}
    calls: list[Call] = []
    begin_of_run = 0

    def watch(function: LoadedFunction, given: Sequence[Any]) -> Callable[[], None]:
        if function not in values:
            # The caller may change them afterwards.
            values[function] = [
                value.detach().clone() if isinstance(value, torch.Tensor) else value
                for value in given
            ]
        start = time.perf_counter_ns()

        def end() -> None:
            now = time.perf_counter_ns()
            calls.append(Call(function, (start - begin_of_run) / 1e9, (now - start) / 1e9))

        return end

    target(*args, **kwargs)
    with watching(watch):
        target(*args, **kwargs)
    found: list[tuple[float, tuple[Call, ...]]] = []
    with watching(watch):
        for _ in range(runs):
            calls.clear()
            begin_of_run = time.perf_counter_ns()
            target(*args, **kwargs)
            found.append(((time.perf_counter_ns() - begin_of_run) / 1e9, tuple(calls)))
    found.sort(key=lambda run: run[0])
    seconds, typical = found[len(found) // 2]
    between = statistics.median(
        max(whole - sum(call.seconds for call in each), 0.0) for whole, each in found
    )
    return Watched(typical, values, seconds, between)
