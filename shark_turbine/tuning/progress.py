# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a user sees while tuning runs: a live table on a terminal, a line for each trial elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from .result import Trial, headers, row, rows


class Progress(Protocol):
    """Is told of what happens."""

    def starts(self, what: str) -> None: ...

    def done(self, trial: Trial) -> None: ...


class _Silent:
    def starts(self, what: str) -> None:
        pass

    def done(self, trial: Trial) -> None:
        pass


class _Lines:
    """A line on stderr for each trial."""

    def starts(self, what: str) -> None:
        pass

    def done(self, trial: Trial) -> None:
        name, options, _, time, ratio, _, state = row(trial)
        sys.stderr.write(f"tune: {name} ({options}): {time} ms, {ratio} of the baseline, {state}\n")
        sys.stderr.flush()


class _Table:
    """The trials so far, the best first, drawn anew after each."""

    def __init__(self, live: Any, new_table: Any) -> None:
        self._live = live
        self._new_table = new_table
        self._trials: dict[tuple[str, str], Trial] = {}
        self._now = ""

    def starts(self, what: str) -> None:
        self._now = what
        self._draw()

    def done(self, trial: Trial) -> None:
        self._trials[trial.cpu, trial.name] = trial
        self._draw()

    def _draw(self) -> None:
        table = self._new_table(title=f"tuning: {self._now}")
        for place, name in enumerate(headers()):
            table.add_column(name, justify="right" if 2 <= place <= 5 else "left")
        for cells in rows(list(self._trials.values()), None):
            table.add_row(*cells)
        self._live.update(table, refresh=True)


@contextmanager
def shown(progress: bool) -> Iterator[Progress]:
    """Show progress on stderr, or nothing."""
    if not progress:
        yield _Silent()
    elif not sys.stderr.isatty():
        yield _Lines()
    else:
        # Only who watches pays for the import.
        from rich.console import Console  # noqa: PLC0415
        from rich.live import Live  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        with Live(console=Console(stderr=True), auto_refresh=False) as live:
            yield _Table(live, Table)


def count(trials: Sequence[Any]) -> str:
    """Return how many there are, in words."""
    return "1 candidate" if len(trials) == 1 else f"{len(trials)} candidates"
