# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Made-up machines: an executor that answers as trials on them would, in no time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from shark_turbine.compiler import Recipe
from shark_turbine.tuning import Job, Limits, Memory, Outcome, Plan
from shark_turbine.tuning.machines import LocalMachine, this_machine
from shark_turbine.tuning.trial import Candidate

BASELINE = Recipe("auto", ("--packed",))
LIMITS = Limits(10.0, 10.0, 1.0)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SHARK_TURBINE_CACHE_DIR", str(folder))
    monkeypatch.delenv("SHARK_TURBINE_CACHE", raising=False)
    return folder


class Machines:
    """An executor over machines, which take turns: `answers` says what a recipe comes to on each.

    In the last comparison, which measures longer, a name has a `!` behind it.
    """

    def __init__(self, answers: Mapping[str, Callable[[str], Candidate]]) -> None:
        self._answers = answers
        self._turns: Iterator[str] = cycle(answers)
        self.versions = this_machine().versions
        self.sent: list[tuple[str, tuple[str, ...]]] = []

    def submit(
        self, _: Any, job: Job, recipes: Sequence[Recipe], limits: Limits, cpu: str | None = None
    ) -> Future[Outcome]:
        here = next(self._turns)
        machine = LocalMachine(here, 2, f"model {here}", f"host {here}", self.versions)
        names = tuple(recipe.name for recipe in recipes)
        self.sent.append((here, names))
        future: Future[Outcome] = Future()
        if cpu not in (None, here):
            future.set_result(Outcome(machine))
            return future
        last = "!" if limits.measure > LIMITS.measure else ""
        found = [measured(1.0), *(self._answers[here](name + last) for name in names[1:])]
        future.set_result(Outcome(machine, tuple(found)))
        return future


def measured(ratio: float, wins: float | None = None) -> Candidate:
    """What a candidate comes to that takes so much of the baseline's 10 ms."""
    wins = wins if wins is not None else float(ratio < 1)
    return Candidate(
        "measured", milliseconds=10 * ratio, ratio=ratio, wins=wins, error=0.0, compile_seconds=1.0
    )


def plan(executor: Any, candidates: Sequence[Recipe], **options: Any) -> Plan:
    """Return the plan of a search on made-up machines."""
    program = hashlib.sha256(b"program").hexdigest()
    given: dict[str, Any] = {
        "job": Job(b"", {}, (), {}, (), is_stateful=False),
        "baseline": BASELINE,
        "candidates": candidates,
        "combines": False,
        "memory": Memory(hashlib.sha256(program.encode()).hexdigest(), program),
        "reference": "eager",
        "limits": LIMITS,
        "budget": None,
        "margin": 0.03,
        "executor": executor,
        "where": "Model",
    }
    return Plan(**{**given, **options})
