# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a user sees while a command works: a moving line on a terminal, a line a step elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Protocol

from .output import is_terminal, readable_time, say


class Display(Protocol):
    """Shows one step after the other."""

    def begin(self, name: str) -> None: ...

    def end(self, name: str, seconds: float, result: str) -> None: ...


class Steps:
    """The steps of a command, one after the other; `seconds` holds how long each took."""

    def __init__(self, display: Display) -> None:
        self.seconds: dict[str, float] = {}
        self._display = display
        self._now: tuple[str, float] | None = None

    def begin(self, name: str) -> None:
        """Begin a step, which ends the one before."""
        self.end()
        self._now = (name, time.perf_counter())
        self._display.begin(name)

    def end(self, result: str = "") -> None:
        """End the step, if there is one, and say what came of it."""
        if self._now is None:
            return
        name, start = self._now
        self._now = None
        taken = time.perf_counter() - start
        # The compiler may begin again, more cautiously.
        self.seconds[name] = self.seconds.get(name, 0.0) + taken
        self._display.end(name, taken, result)


class _Silent:
    def begin(self, name: str) -> None:
        pass

    def end(self, name: str, seconds: float, result: str) -> None:
        pass


class _Lines:
    """A line on stderr when a step has ended."""

    def begin(self, name: str) -> None:
        pass

    def end(self, name: str, seconds: float, result: str) -> None:
        say(f"{name:<10} {readable_time(seconds):>8}  {result}".rstrip())


class _Moving:
    """A line on the terminal for each step; that of the running one moves."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._task: Any = None

    def begin(self, name: str) -> None:
        self._task = self._progress.add_task(f"{name:<10}", total=1, result="")

    def end(self, name: str, seconds: float, result: str) -> None:
        self._progress.update(self._task, completed=1, result=result)


@contextmanager
def shown_steps(*, quiet: bool) -> Generator[Steps]:
    """Show steps on stderr, or nothing; a step in which an error ends the command stays open."""
    if quiet:
        yield Steps(_Silent())
    elif not is_terminal(sys.stderr):
        yield Steps(_Lines())
    else:
        with _progress() as progress:
            yield Steps(_Moving(progress))


def _progress() -> Any:
    # Only who looks at a terminal pays for the import.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    class Seconds(ProgressColumn):
        """How long a step has taken."""

        def render(self, task: Task) -> Text:
            seconds = task.finished_time if task.finished else task.elapsed
            return Text(f"{readable_time(seconds or 0.0):>8}")

    return Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        Seconds(),
        TextColumn("{task.fields[result]}", markup=False),
        console=Console(stderr=True),
    )
