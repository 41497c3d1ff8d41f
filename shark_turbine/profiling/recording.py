# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From the events of a recording to runs: dispatches in program order, with times.

Times are those of the device: IREE notes when a dispatch begins and ends. Nothing is made up.
"""

from __future__ import annotations

import re
import statistics
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from shark_turbine.runtime.replay import Event, Recording

_NO_INDEX = 2**32 - 1
_PEAK = re.compile(r"(?:HOST|DEVICE)_LOCAL: +(\d+)B peak")


@dataclass(frozen=True, slots=True)
class Span:
    """Something between two moments, in seconds; `start` counts from the begin of the run."""

    name: str
    start: float
    seconds: float
    thread_seconds: float = 0.0
    tiles: int = 0


@dataclass(slots=True)
class Run:
    """One call: its dispatches in the order of the program, other work of the device, memory in use."""

    start: float
    dispatches: list[Span] = field(default_factory=list)
    others: list[Span] = field(default_factory=list)
    live_bytes: list[tuple[float, int]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def kernels(self) -> tuple[str, ...]:
        return tuple(span.name for span in self.dispatches)


@dataclass(frozen=True, slots=True)
class Runs:
    """All runs of a recording; `are_alike` where each dispatches the same kernels in the same order.

    `peak_bytes` is the most that the device held, weights included; `transient_bytes` what a run took
    at most.
    """

    runs: tuple[Run, ...]
    are_alike: bool
    peak_bytes: int
    transient_bytes: int

    @property
    def typical(self) -> Run:
        """The run of median length."""
        return sorted(self.runs, key=lambda run: run.seconds)[len(self.runs) // 2]

    @property
    def seconds(self) -> float:
        """The median length of a run."""
        return statistics.median(run.seconds for run in self.runs)


def to_runs(recording: Recording, count: int, initializing: Collection[str]) -> Runs:
    """Divide a recording.

    Args:
        recording: of one process.
        count: how often it called the function.
        initializing: kernels that run when the module is loaded, and at no other time.
    """
    noted = [event for event in recording.events if event.get("valid")]
    noted = [event for event in noted if event["record_type"] == "host_execution_event"]
    dispatches = sorted((event for event in noted if event["op"] == "dispatch"), key=_order)
    dispatches = [event for event in dispatches if event["key"] not in initializing]
    length, excess = divmod(len(dispatches), count)
    # The first dispatches of a recording may be those of loading.
    dispatches = dispatches[excess:]
    chunks = [dispatches[place * length : (place + 1) * length] for place in range(count)]
    are_alike = len({tuple(event["key"] for event in chunk) for chunk in chunks}) == 1
    # The runs of a program that does something else each time cannot be told apart.
    chunks = chunks if are_alike else [dispatches]
    others = [event for event in noted if event["op"] != "dispatch"]
    memory = [event for event in recording.events if event["record_type"] == "memory_event"]
    runs = _runs(chunks, others, memory)
    peak = sum(map(int, _PEAK.findall(recording.statistics)))
    transient = max((size for run in runs for _, size in run.live_bytes), default=0)
    return Runs(tuple(runs), are_alike, peak, transient)


def _order(event: Event) -> tuple[int, int]:
    """Return a key of the program's order: threads may end dispatches in another one."""
    index = event["command_index"]
    return event["submission_id"], 0 if index == _NO_INDEX else index


def _runs(
    chunks: Sequence[Sequence[Event]], others: Sequence[Event], memory: Sequence[Event]
) -> list[Run]:
    begins = [min((e["start_host_time_ns"] for e in chunk), default=0) for chunk in chunks]
    ends = [max((e["end_host_time_ns"] for e in chunk), default=0) for chunk in chunks]

    def run_at(moment: int, is_before: bool) -> int:
        """Return which run something belongs to that happens before its dispatches, or later."""
        if is_before:
            return min(bisect_right(ends, moment), len(chunks) - 1)
        return max(bisect_right(begins, moment) - 1, 0)

    beside: list[list[Event]] = [[] for _ in chunks]
    for event in others:
        is_before = event["op"] in {"alloca", "execute"}
        beside[run_at(event["start_host_time_ns"], is_before)].append(event)
    held: list[list[Event]] = [[] for _ in chunks]
    for event in memory:
        if event["event_type"] in {"queue_alloca", "queue_dealloca"}:
            is_before = event["event_type"] == "queue_alloca"
            held[run_at(event["host_time_ns"], is_before)].append(event)
    return [
        _run(chunk, around, moves)
        for chunk, around, moves in zip(chunks, beside, held, strict=True)
    ]


def _run(chunk: Sequence[Event], around: Sequence[Event], moves: Sequence[Event]) -> Run:
    everything = [*chunk, *around]
    if not everything:
        return Run(0.0)
    start = min(event["start_host_time_ns"] for event in everything)
    end = max(event["end_host_time_ns"] for event in everything)
    run = Run(start / 1e9, seconds=(end - start) / 1e9)
    run.dispatches = [_span(event, event["key"], start) for event in chunk]
    run.others = [_span(event, event["op"], start) for event in around]
    live = 0
    for event in sorted(moves, key=lambda event: event["host_time_ns"]):
        live += event["length"] if event["event_type"] == "queue_alloca" else -event["length"]
        run.live_bytes.append(((event["host_time_ns"] - start) / 1e9, max(live, 0)))
    return run


def _span(event: Event, name: str, start: int) -> Span:
    return Span(
        name,
        (event["start_host_time_ns"] - start) / 1e9,
        event["duration_ns"] / 1e9,
        event["tile_duration_sum_ns"] / 1e9,
        event["tile_count"],
    )
