# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From compiled functions to record to a `Profile`."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shark_turbine.dispatches import DispatchMap, read_map
from shark_turbine.runtime.devices import threads_of
from shark_turbine.runtime.replay import Replay

from .peaks import Peaks, measure_peaks
from .recording import Runs, Span, to_runs
from .result import Memory, Profile, with_shares
from .rows import Measured, Row, measured_sites, time_beside, to_rows
from .trace import CALLS, DISPATCHES, QUEUE, Level, TraceEvent

if TYPE_CHECKING:
    from .calls import Watched

_OUTSIDE = "outside dispatches: scheduling, memory, checks"
_BETWEEN = "between compiled calls: PyTorch, Python"


@dataclass(frozen=True, slots=True)
class Piece:
    """A compiled function with arguments; `times` is how often one run calls it."""

    replay: Replay
    name: str
    times: int


@dataclass(frozen=True, slots=True)
class _Recorded:
    piece: Piece
    runs: Runs
    known: DispatchMap | None
    measured: list[Measured]

    @property
    def outside(self) -> float:
        """The seconds of a call in which no dispatch ran; dispatches at the same time hide it."""
        return max(self.runs.seconds - sum(each.seconds for each in self.measured), 0.0)


def profile_of(
    pieces: Sequence[Piece],
    title: str,
    runs: int,
    timeout: float | None,
    watched: Watched | None = None,
) -> Profile:
    """Record functions and return their profile.

    Args:
        pieces: what to record.
        title: what the profile is called.
        runs: how often each is called.
        timeout: seconds for each.
        watched: the calls of them in a function of the user's, whose own time is then a row.
    """
    recorded = [_record(piece, runs, timeout) for piece in pieces]
    device = recorded[0].piece.replay.device
    peaks = _peaks(recorded, threads_of(device))
    rows: list[Row] = []
    outside = 0.0
    for each in recorded:
        rows += to_rows(each.measured, each.piece.name, each.piece.times, peaks)
        outside += each.outside * each.piece.times
    rows.append(time_beside("outside", _OUTSIDE, "", outside))
    if watched is not None:
        rows.append(time_beside("eager", _BETWEEN, "", watched.between))
    events = [event for each in recorded for event in _events(each)]
    if watched is not None:
        names = watched.names()
        events += [
            TraceEvent(CALLS, names[call.function], call.start, call.seconds, title)
            for call in watched.calls
        ]
    return Profile(
        title=title,
        rows=with_shares(rows),
        device=device,
        runs=runs,
        peaks=peaks,
        memory=_memory(recorded),
        timeline=tuple(events),
        levels=tuple(level for each in recorded for level in _levels(each)),
    )


def _record(piece: Piece, runs: int, timeout: float | None) -> _Recorded:
    recording = piece.replay.run(runs, timeout)
    known = read_map(io.BytesIO(piece.replay.artifact.memory))
    name = piece.replay.signature.name
    found = to_runs(recording, runs, _initializing(known))
    return _Recorded(piece, found, known, measured_sites(found, known, name))


def _initializing(known: DispatchMap | None) -> set[str]:
    """Return the kernels that only the module's initializers run."""
    if known is None:
        return set()
    used = {name: {site.kernel for site in sites} for name, sites in known.sites.items()}
    at_start = used.pop("", set())
    return at_start.difference(*used.values())


def _peaks(recorded: Sequence[_Recorded], threads: int) -> Peaks:
    multiplied = {measured.kernel.dtype for each in recorded for measured in each.measured} - {None}
    return measure_peaks(threads, tuple(sorted(str(name) for name in multiplied)))


def _memory(recorded: Sequence[_Recorded]) -> Memory:
    """Return the memory of all pieces: each keeps its weights, and one runs at a time."""
    weights = [_weights(each) for each in recorded]
    transients = [each.runs.transient_bytes for each in recorded]
    kept = [
        max(each.runs.peak_bytes - took, 0) for each, took in zip(recorded, transients, strict=True)
    ]
    return Memory(sum(kept) + max(transients), sum(weights), max(transients))


def _weights(each: _Recorded) -> int:
    inside = each.known.weights if each.known is not None else 0
    external = (each.piece.replay.artifact.manifest or {}).get("parameters") or ()
    return inside + sum(entry.get("nbytes", 0) for entry in external)


# ----------------------------------------------------------------------------------------- timeline --


def _events(each: _Recorded) -> Iterator[TraceEvent]:
    run = each.runs.typical
    details = {measured.site.kernel: measured for measured in each.measured}
    in_order = len(each.measured) == len(run.dispatches)
    for place, span in enumerate(run.dispatches):
        measured = each.measured[place] if in_order else details[span.name]
        yield _event(DISPATCHES, span, each, _details(measured, span))
    for span in run.others:
        yield _event(QUEUE, span, each, {})


def _event(track: str, span: Span, each: _Recorded, details: dict[str, object]) -> TraceEvent:
    name = details.get("module") or span.name
    return TraceEvent(track, str(name), span.start, span.seconds, each.piece.name, details)


def _details(measured: Measured, span: Span) -> dict[str, object]:
    origin = measured.origins[0] if measured.origins else None
    return {
        "kernel": span.name,
        "module": origin.path if origin is not None else None,
        "line": str(origin.location) if origin is not None and origin.location else None,
        "flops": measured.kernel.flops,
        "bytes": measured.kernel.nbytes,
        "tiles": span.tiles,
        "thread_ms": span.thread_seconds * 1e3,
    }


def _levels(each: _Recorded) -> Iterator[Level]:
    for start, nbytes in each.runs.typical.live_bytes:
        yield Level(start, nbytes, each.piece.name)
