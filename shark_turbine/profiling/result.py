# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`Profile`: what was measured, as a table, a tree of modules, JSON, a page, and a trace."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shark_turbine.files import new_file

from . import page
from .modules import ModuleTime, by_module
from .peaks import Peaks
from .rows import Row
from .text import (
    UNKNOWN,
    count,
    end_of,
    number,
    percent,
    rate,
    size,
    start_of,
    table,
    unit_of,
)
from .trace import Level, TraceEvent, to_chrome

_HEAD = ("share", "calls", "GFLOP/s", "GB/s", "of peak", "module", "line", "dispatch")
_NUMBERS = 6
_MOST_SHOWN = 20
_PATH_WIDTH, _LINE_WIDTH, _NAME_WIDTH = 48, 36, 48


@dataclass(frozen=True, slots=True)
class Memory:
    """What a call takes of the device's memory, in bytes. Arguments are the caller's.

    Attributes:
        peak: the most that was held at once, weights included.
        weights: the weights.
        transients: the most that one call took besides, results included.
    """

    peak: int
    weights: int
    transients: int

    def __str__(self) -> str:
        return f"peak {size(self.peak)}, weights {size(self.weights)}, transients {size(self.transients)}"

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON can hold them."""
        return {"peak": self.peak, "weights": self.weights, "transients": self.transients}


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of one call goes. `print(profile)` shows the slowest rows.

    Attributes:
        title: what was profiled.
        rows: one for each place that dispatches generated code, and one for the time beside; the
            slowest first. Their seconds add up to `seconds`, their shares to 1.
        device: where it ran, as `runtime.load` names devices.
        runs: how many runs the medians are of.
        peaks: what the machine can do at most.
        memory: in bytes.
        timeline: what one run of median length did, when.
        levels: memory that is in use besides weights, through that run.
    """

    title: str
    rows: tuple[Row, ...]
    device: str
    runs: int
    peaks: Peaks
    memory: Memory
    timeline: tuple[TraceEvent, ...]
    levels: tuple[Level, ...]

    @property
    def seconds(self) -> float:
        """The time of one call: all rows together."""
        return sum(row.seconds for row in self.rows)

    @property
    def flops(self) -> int:
        """The operations of one call, as far as they are known."""
        return sum(row.flops or 0 for row in self.rows)

    @property
    def of_peak(self) -> float:
        """The share of the machine's f32 arithmetic that the whole call uses."""
        return self.flops / self.seconds / self.peaks.flops["f32"] if self.seconds else 0.0

    def by_module(self) -> ModuleTime:
        """Return the times as a tree of PyTorch modules."""
        return by_module(self.rows)

    def table(self, limit: int | None = None) -> str:
        """Return the first `limit` rows as text; None is all."""
        shown = self.rows[:limit]
        unit, scale = unit_of(self.seconds)
        lines = [_cells(row, scale) for row in shown]
        rest = self.rows[len(shown) :]
        if rest:
            seconds, share = sum(row.seconds for row in rest), sum(row.share for row in rest)
            more = f"{len(rest)} more"
            lines.append((number(seconds * scale), percent(share), "", "", "", "", "", "", more))
        return table((unit, *_HEAD), lines, _NUMBERS)

    def __str__(self) -> str:
        return f"{self.summary()}\n\n{self.table(_MOST_SHOWN)}"

    def summary(self) -> str:
        """Return the whole in three lines."""
        flops = self.flops / self.seconds / 1e9 if self.seconds else 0.0
        unit, scale = unit_of(self.seconds)
        return "\n".join(
            [
                f"{self.title} on {self.device}: {number(self.seconds * scale)} {unit} a call, "
                f"median of {self.runs} runs",
                f"{flops:.1f} GFLOP/s, {percent(self.of_peak)} of the machine's peak ({self._shown_peaks()})",
                f"memory: {self.memory}",
            ]
        )

    def _shown_peaks(self) -> str:
        arithmetic = [
            f"{value / 1e9:.0f} GFLOP/s {name}" for name, value in self.peaks.flops.items()
        ]
        threads = f"{self.peaks.threads} thread{'s' * (self.peaks.threads != 1)}"
        return f"{', '.join(arithmetic)}, {self.peaks.bandwidth / 1e9:.1f} GB/s with {threads}"

    def to_json(self) -> dict[str, Any]:
        """Return everything but the timeline, as JSON can hold it."""
        return {
            "title": self.title,
            "device": self.device,
            "runs": self.runs,
            "seconds": self.seconds,
            "flops": self.flops,
            "peaks": self.peaks.to_json(),
            "memory": self.memory.to_json(),
            "rows": [row.to_json() for row in self.rows],
            "modules": self.by_module().to_json(),
        }

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write one page with charts and all rows, which needs no other file and no network.

        Args:
            path: where to.

        Raises:
            SaveError: it cannot be written; an older file there is untouched.
        """
        unit, scale = unit_of(self.seconds)
        gflops = self.flops / self.seconds / 1e9 if self.seconds else 0.0
        cards = [
            (f"{number(self.seconds * scale)} {unit}", "a call"),
            (f"{gflops:.1f} GFLOP/s", f"{percent(self.of_peak)} of the peak"),
            (size(self.memory.peak), "device memory at most"),
            (size(self.memory.weights), "weights"),
            (size(self.memory.transients), "transients"),
        ]
        subtitle = f"{self.device}, median of {self.runs} runs; the machine: {self._shown_peaks()}"
        _write(path, page.to_html(self.to_json(), subtitle, cards))

    def save_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the recorded run as a trace in JSON, for ui.perfetto.dev or chrome://tracing.

        Args:
            path: where to.

        Raises:
            SaveError: it cannot be written; an older file there is untouched.
        """
        _write(path, json.dumps(to_chrome(self.timeline, self.levels)))


def _write(path: str | os.PathLike[str], text: str) -> None:
    with new_file(Path(path)) as (file, publish):
        file.write(text.encode())
        publish()


def with_shares(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return rows with their shares of all of them, the slowest first."""
    total = sum(row.seconds for row in rows)
    ordered = sorted(rows, key=lambda row: -row.seconds)
    return tuple(replace(row, share=row.seconds / total if total else 0.0) for row in ordered)


def _cells(row: Row, scale: float) -> tuple[str, ...]:
    path = row.module_path
    return (
        number(row.seconds * scale),
        percent(row.share),
        count(row.calls) if row.kind == "dispatch" else "",
        rate(row.gflops),
        rate(row.gbs),
        percent(row.of_peak),
        UNKNOWN if path is None else end_of(path or "(root)", _PATH_WIDTH),
        UNKNOWN if row.location is None else end_of(str(row.location), _LINE_WIDTH),
        start_of(row.name, _NAME_WIDTH),
    )
