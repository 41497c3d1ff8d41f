# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One recorded run as a trace that Perfetto and chrome://tracing open.

The times are the recorded ones of one run, of median length: when each dispatch began and ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DISPATCHES, QUEUE, CALLS = "dispatches", "queue", "calls"
_TRACKS = (CALLS, DISPATCHES, QUEUE)


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """Something that took time on a track, in seconds from the begin of the trace."""

    track: str
    name: str
    start: float
    seconds: float
    process: str
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Level:
    """Bytes in use from a moment on."""

    start: float
    nbytes: int
    process: str


def to_chrome(events: Sequence[TraceEvent], levels: Sequence[Level]) -> dict[str, Any]:
    """Return the trace in Chrome's JSON: complete events in microseconds, named processes and threads."""
    names = dict.fromkeys([event.process for event in events])
    processes = {name: number for number, name in enumerate(names, start=1)}
    return {
        "displayTimeUnit": "ms",
        "traceEvents": [
            *_names(processes),
            *(
                {
                    "ph": "X",
                    "name": event.name,
                    "cat": event.track,
                    "pid": processes[event.process],
                    "tid": _TRACKS.index(event.track) + 1,
                    "ts": event.start * 1e6,
                    "dur": event.seconds * 1e6,
                    "args": dict(event.details),
                }
                for event in events
            ),
            *(
                {
                    "ph": "C",
                    "name": "transient memory",
                    "pid": processes.get(level.process, 1),
                    "tid": 0,
                    "ts": level.start * 1e6,
                    "args": {"bytes": level.nbytes},
                }
                for level in levels
            ),
        ],
    }


def _names(processes: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    for name, number in processes.items():
        yield _meta("process_name", name, number, 0)
        for place, track in enumerate(_TRACKS, start=1):
            yield _meta("thread_name", track, number, place)


def _meta(kind: str, name: str, process: int, thread: int) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": process, "tid": thread, "args": {"name": name}}
