# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What tuning found, as data and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from shark_turbine.compiler import Recipe

State = Literal["measured", "wrong", "refused", "crashed", "timed out", "failed"]

# From this share of the cores on others are felt.
_BUSY = 0.5

_HEADERS = ("candidate", "options", "compile s", "time ms", "ratio", "error", "state")


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate on one machine.

    Attributes:
        name: of the candidate.
        flags: its options of `iree-compile`.
        rewrites: its rewrites, see `compiler.Recipe`.
        device: where it runs; None is every core.
        cpu: the model of the machine's CPU.
        machine: which machine.
        state: `measured`, or why it was not: `wrong`, `refused`, `crashed`, `timed out`, `failed`.
        compile_seconds: how long it took to compile.
        milliseconds: the median of a round of the calls.
        ratio: the median of its quotients by the baseline's round beside it: below 1 is faster.
        confirmed: the same of the last, longer comparison between the best.
        error: the largest difference from the reference, relative to the largest element of the
            result that it is in.
        note: why a candidate is out.
    """

    name: str
    flags: tuple[str, ...]
    rewrites: tuple[str, ...]
    device: str | None
    cpu: str
    machine: str
    state: State
    compile_seconds: float | None = None
    milliseconds: float | None = None
    ratio: float | None = None
    confirmed: float | None = None
    error: float | None = None
    note: str = ""

    @property
    def recipe(self) -> Recipe:
        """The candidate as `compile(recipe=...)` takes it; the manifest will say it was tuned."""
        return Recipe(f"tuned, {self.name}", self.flags, self.rewrites, device=self.device)

    @property
    def best_ratio(self) -> float | None:
        """The better-founded of the two ratios."""
        return self.ratio if self.confirmed is None else self.confirmed

    def to_json(self) -> dict[str, Any]:
        """Return the trial as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Trial:
        """Return the trial that `data` holds, as `to_json` made it."""
        known = {field.name: data[field.name] for field in fields(cls)}
        lists = {name: tuple(known[name]) for name in ("flags", "rewrites")}
        return cls(**{**known, **lists})


@dataclass(frozen=True, slots=True)
class TuningResult:
    """What tuning found; `print(result)` shows the table.

    Attributes:
        trials: every candidate, the baseline first; those of other CPUs after those of this one.
        winners: the fastest by CPU, where it was confirmed; the baseline where nothing beats it.
        cpu: this machine's.
        reference: what results were compared with: `eager`, or `recipe none`.
        is_complete: whether every candidate was tried; a second call goes on where this one stopped.
        is_interrupted: whether Ctrl-C ended it.
        seconds: how long it took.
        load: how many processes were running on this machine when it began, on average.
    """

    trials: tuple[Trial, ...]
    winners: dict[str, Trial]
    cpu: str
    reference: str
    is_complete: bool
    is_interrupted: bool
    seconds: float
    load: float = 0.0

    @property
    def winner(self) -> Trial | None:
        """The fastest on this machine's CPU; None where nothing was measured on it."""
        return self.winners.get(self.cpu)

    @property
    def recipe(self) -> Recipe:
        """The winner as `compile(recipe=...)` takes it; `auto` where nothing was measured here."""
        return Recipe("auto", chooses=True) if self.winner is None else self.winner.recipe

    @property
    def device(self) -> str | None:
        """Where the winner runs fastest, for `load(device=...)`; None is every core."""
        return self.recipe.device

    @property
    def speedup(self) -> float:
        """How many times as fast as the baseline the winner is; 1 where the baseline stays."""
        ratio = None if self.winner is None else self.winner.best_ratio
        return 1.0 if ratio is None else 1 / ratio

    def __str__(self) -> str:
        lines: list[str] = []
        for cpu in dict.fromkeys(trial.cpu for trial in self.trials):
            group = [trial for trial in self.trials if trial.cpu == cpu]
            lines += [f"{group[0].machine} (compared with {self.reference})"]
            lines += table([_HEADERS, *rows(group, self.winners.get(cpu))])
        end = (
            "interrupted" if self.is_interrupted else "complete" if self.is_complete else "stopped"
        )
        lines.append(f"{end} after {self.seconds:.0f} s: {len(self.trials)} candidates tried")
        cores = int(self.cpu.rpartition("-")[2])
        if self.load > _BUSY * cores:
            lines.append(
                f"the machine was busy (load {self.load:.1f} on {cores} cores), which favours "
                "fewer threads: tune(fresh=True) measures again"
            )
        return "\n".join(lines)


def rank(trial: Trial) -> tuple[bool, float, str]:
    """Return what sorts trials: the fastest first, at the end those that are out."""
    ratio = trial.best_ratio
    return trial.state != "measured", 0.0 if ratio is None else ratio, trial.name


def rows(trials: Sequence[Trial], winner: Trial | None) -> list[tuple[str, ...]]:
    """Return the cells of trials on one CPU: the baseline, then the fastest first."""
    sorted_trials = [*trials[:1], *sorted(trials[1:], key=rank)]
    return [row(trial, is_winner=trial == winner) for trial in sorted_trials]


def row(trial: Trial, *, is_winner: bool = False) -> tuple[str, ...]:
    """Return the cells of a trial."""
    state = "fastest" if is_winner else trial.state
    options = " ".join((*trial.flags, *([f"on {trial.device}"] if trial.device else [])))
    return (
        trial.name,
        options.replace("--iree-", "") or "–",
        _number(trial.compile_seconds, ".1f"),
        _number(trial.milliseconds, ".3g"),
        _number(trial.best_ratio, ".2f"),
        _number(trial.error, ".1e"),
        f"{state}: {trial.note}" if trial.note else state,
    )


def headers() -> tuple[str, ...]:
    """Return the names of the columns."""
    return _HEADERS


def table(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return lines of cells as aligned text; numbers to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if 2 <= place <= 5 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
