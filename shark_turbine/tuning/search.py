# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The search: trials of single changes, of what they give together, and a last comparison of the best."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, as_completed
from concurrent.futures import TimeoutError as FuturesTimeoutError
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import Any

from shark_turbine.compiler import Recipe
from shark_turbine.errors import TuningError

from .candidates import combined, distinct
from .machines import LocalMachine, this_machine
from .memory import Memory, candidate_key
from .progress import Progress, count, shown
from .result import Trial, TuningResult, rank
from .trial import Candidate, Job, Limits, Outcome, run_trial

# Of the budget; the rest is for the last comparison.
_SEARCH_SHARE = 0.8
_FINALISTS = 3
# The last comparison measures so many times as long.
_PATIENCE = 3.0
# In so many of the turns a winner must be faster than the baseline beside it.
_WINS = 0.6
# An executor chooses the machine; so often a comparison is sent until it reaches the right CPU.
_SENDINGS = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be searched.

    Attributes:
        job: what is measured.
        baseline: what a winner must beat, its choices made.
        candidates: recipes to try.
        combines: whether what was better is also tried together.
        memory: what was measured before, and where trials are kept.
        reference: what results are compared with, in words.
        limits: bounds of a trial.
        budget: seconds for the search; None is without end.
        margin: the share of the baseline's time that a winner must save.
        executor: what runs trials; None is this process.
        where: what messages call the program.
    """

    job: Job
    baseline: Recipe
    candidates: Sequence[Recipe]
    combines: bool
    memory: Memory
    reference: str
    limits: Limits
    budget: float | None
    margin: float
    executor: Any
    where: str


def search(plan: Plan, *, progress: bool, folder: str | None = None) -> TuningResult:
    """Run the trials that are not remembered, within the budget; Ctrl-C ends the search early.

    Raises:
        TuningError: the baseline does not run, or its results are not those of the reference.
    """
    with TemporaryDirectory(prefix="shark_turbine-") as new, shown(progress) as view:
        running = _Search(plan, folder or new, view)
        interrupted = False
        try:
            running.run()
        except KeyboardInterrupt:
            interrupted = True
        return running.result(interrupted)


class _OutOfTimeError(Exception):
    """The budget is spent."""


class _Search:
    def __init__(self, plan: Plan, folder: str, view: Progress) -> None:
        self._plan = plan
        self._folder = folder
        self._view = view
        self._start = time.monotonic()
        self._here = this_machine().cpu
        self._trials: dict[str, dict[str, Trial]] = {}
        self._winners: dict[str, Trial] = {}
        self._fresh: set[str] = set()
        self._is_complete = False
        self._has_gaps = False
        # Trials of this process count in it too, so it is asked before.
        self._load = os.getloadavg()[0] if plan.executor is None else 0.0
        if plan.executor is None:
            self._recall(self._here)

    def run(self) -> None:
        """Try everything that is not known yet."""
        plan = self._plan
        try:
            self._try_baseline()
            self._try_all(plan.candidates)
            if plan.combines:
                self._try_all(self._combinations())
            self._is_complete = not self._has_gaps
        except _OutOfTimeError:
            pass
        for cpu in list(self._trials):
            self._decide(cpu)

    def result(self, interrupted: bool) -> TuningResult:
        """Return what is known by now; nothing beats the baseline that was not confirmed."""
        base = candidate_key(self._plan.baseline)
        winners = {cpu: known[base] for cpu, known in self._trials.items() if base in known}
        winners |= self._winners
        cpus = sorted(self._trials, key=lambda cpu: cpu != self._here)
        trials: list[Trial] = []
        for cpu in cpus:
            known = self._trials[cpu]
            others = [trial for key, trial in known.items() if key != base]
            trials += [*([known[base]] if base in known else []), *sorted(others, key=rank)]
        return TuningResult(
            tuple(trials),
            winners,
            self._here,
            self._plan.reference,
            self._is_complete and not interrupted,
            interrupted,
            time.monotonic() - self._start,
            self._load,
        )

    def _recall(self, cpu: str) -> None:
        self._trials[cpu] = self._plan.memory.trials(cpu)
        for trial in self._trials[cpu].values():
            self._view.done(trial)

    def _try_baseline(self) -> None:
        baseline, job = self._plan.baseline, self._plan.job
        key = candidate_key(baseline)
        if any(key in known for known in self._trials.values()):
            return
        self._view.starts(baseline.name)
        limits = self._limited()
        if self._plan.executor is None:
            outcome = run_trial(job, [baseline], limits, folder=self._folder)
        else:
            outcome = _outcome(self._plan.executor.submit(run_trial, job, [baseline], limits))
        self._add(baseline, outcome)

    def _no_baseline(self, found: Candidate) -> TuningError:
        baseline = self._plan.baseline
        if found.state == "wrong":
            return TuningError(
                f"the results under recipe {baseline.name!r} are not those of the reference, so it "
                "cannot be seen which candidates are right",
                where=self._plan.where,
                got=found.note,
                expected=f"results equal to {self._plan.reference} within the tolerance",
                fix="a model that draws no random numbers (model.eval()), unchanged since its "
                "export; or tolerance=, larger",
            )
        return TuningError(
            f"the program does not run under recipe {baseline.name!r}, which others are to beat",
            where=self._plan.where,
            got=f"{found.state}: {found.note}",
            expected="a program that compiles and runs with these arguments within the time limit",
        )

    def _try_all(self, recipes: Sequence[Recipe]) -> None:
        known = set.intersection(*(set(trials) for trials in self._trials.values()))
        todo = [recipe for recipe in recipes if candidate_key(recipe) not in known]
        if not todo:
            return
        self._view.starts(count(todo))
        pairs = self._tried_here(todo) if self._plan.executor is None else self._sent(todo)
        for recipe, outcome in pairs:
            self._add(recipe, outcome)

    def _tried_here(self, recipes: Sequence[Recipe]) -> Iterator[tuple[Recipe, Outcome]]:
        plan = self._plan
        for recipe in recipes:
            limits = self._limited()
            outcome = run_trial(plan.job, [plan.baseline, recipe], limits, folder=self._folder)
            was_cut = limits.trial < plan.limits.trial
            if was_cut and outcome.candidates[-1].state == "timed out":
                raise _OutOfTimeError
            yield recipe, outcome

    def _sent(self, recipes: Sequence[Recipe]) -> Iterator[tuple[Recipe, Outcome]]:
        """Send trials; then what a CPU has not tried again, until it reaches a machine of that CPU."""
        wave: list[tuple[Recipe, str | None]] = [(recipe, None) for recipe in recipes]
        for _ in range(_SENDINGS):
            yield from self._wave(wave)
            wave = [
                (recipe, cpu)
                for cpu, known in self._trials.items()
                for recipe in (self._plan.baseline, *recipes)
                if candidate_key(recipe) not in known
            ]
            if not wave:
                return
        self._has_gaps = True

    def _wave(
        self, wanted: Sequence[tuple[Recipe, str | None]]
    ) -> Iterator[tuple[Recipe, Outcome]]:
        plan, limits = self._plan, self._limited()
        futures: dict[Future[Outcome], Recipe] = {}
        for recipe, cpu in wanted:
            both = list(dict.fromkeys((plan.baseline, recipe)))
            futures[plan.executor.submit(run_trial, plan.job, both, limits, cpu=cpu)] = recipe
        lost: Future[Outcome] | None = None
        try:
            for future in as_completed(futures, self._left()):
                if future.cancelled() or future.exception() is not None:
                    lost = future
                elif (outcome := _outcome(future)).candidates:
                    yield futures[future], outcome
        except FuturesTimeoutError:
            raise _OutOfTimeError from None
        finally:
            for future in futures:
                future.cancel()
        if lost is not None:
            _outcome(lost)

    def _add(self, recipe: Recipe, outcome: Outcome) -> None:
        machine, found = outcome.machine, outcome.candidates[-1]
        if machine.versions != this_machine().versions:
            raise _other_versions(machine, self._plan.where)
        if recipe == self._plan.baseline and found.state != "measured":
            raise self._no_baseline(found)
        if machine.cpu not in self._trials:
            self._recall(machine.cpu)
        trial = Trial(
            name=recipe.name,
            flags=recipe.flags,
            rewrites=recipe.rewrites,
            device=recipe.device,
            cpu=machine.cpu,
            machine=f"{machine.host}: {machine}",
            state=found.state,
            compile_seconds=found.compile_seconds,
            milliseconds=found.milliseconds,
            ratio=found.ratio,
            error=found.error,
            note=found.note,
        )
        self._keep(recipe, trial)
        self._fresh.add(machine.cpu)

    def _keep(self, recipe: Recipe, trial: Trial) -> None:
        self._plan.memory.keep(recipe, trial)
        self._trials[trial.cpu][candidate_key(recipe)] = trial
        self._view.done(trial)

    def _combinations(self) -> list[Recipe]:
        joined: list[Recipe] = []
        for cpu in self._trials:
            singles = set(map(candidate_key, self._plan.candidates))
            recipes = [replace(trial.recipe, name=trial.name) for trial in self._better(cpu)]
            better = [recipe for recipe in recipes if candidate_key(recipe) in singles]
            joined += combined(self._plan.baseline, better[:_FINALISTS])
        return distinct(self._plan.baseline, joined)

    def _better(self, cpu: str) -> list[Trial]:
        """Return what seems to beat the baseline on a CPU, the best first."""
        bound = 1 - self._plan.margin / 2
        found = [
            (trial.best_ratio, number, trial)
            for number, trial in enumerate(self._trials[cpu].values())
            if trial.state == "measured" and trial.best_ratio is not None
        ]
        return [
            trial for ratio, _, trial in sorted(found, key=lambda one: one[:2]) if ratio < bound
        ]

    def _decide(self, cpu: str) -> None:
        """Compare the best of a CPU once more, side by side, and remember who wins."""
        plan = self._plan
        remembered = plan.memory.winner(cpu)
        if remembered is not None and cpu not in self._fresh:
            self._winners[cpu] = remembered
            return
        best = self._better(cpu)[:_FINALISTS]
        winner = self._trials[cpu].get(candidate_key(plan.baseline))
        if best:
            recipes = [replace(one.recipe, name=one.name) for one in best]
            self._view.starts(f"{count(best)} and the baseline, once more")
            outcome = self._compare(cpu, [plan.baseline, *recipes])
            compared = outcome.candidates[1:] if outcome is not None else ()
            if winner is not None and outcome is not None:
                # So that the times of the table belong together, as its ratios do.
                now = outcome.candidates[0].milliseconds or winner.milliseconds
                winner = replace(winner, milliseconds=now)
                self._keep(plan.baseline, winner)
            for recipe, trial, again in zip(recipes, best, compared, strict=False):
                if again.ratio is None or again.wins is None:
                    continue
                trial = replace(trial, confirmed=again.ratio, milliseconds=again.milliseconds)
                self._keep(recipe, trial)
                is_faster = again.ratio <= 1 - plan.margin and again.wins >= _WINS
                if is_faster and again.ratio < ((winner and winner.confirmed) or 1.0):
                    winner = trial
        if winner is not None:
            self._winners[cpu] = winner
            # Where the budget ended early, others may still beat the baseline.
            if self._is_complete or winner.confirmed is not None:
                plan.memory.keep_winner(winner)

    def _compare(self, cpu: str, recipes: Sequence[Recipe]) -> Outcome | None:
        plan = self._plan
        limits = Limits(
            plan.limits.trial * _PATIENCE, plan.limits.compile, plan.limits.measure * _PATIENCE
        )
        if plan.executor is None:
            return run_trial(plan.job, recipes, limits, folder=self._folder)
        for _ in range(_SENDINGS):
            outcome = _outcome(plan.executor.submit(run_trial, plan.job, recipes, limits, cpu=cpu))
            if outcome.machine.cpu == cpu and outcome.candidates:
                return outcome
        return None

    def _left(self) -> float | None:
        """Return the seconds that are left for trials.

        Raises:
            _OutOfTimeError: none are.
        """
        if self._plan.budget is None:
            return None
        left = self._start + self._plan.budget * _SEARCH_SHARE - time.monotonic()
        if left <= 0:
            raise _OutOfTimeError
        return left

    def _limited(self) -> Limits:
        left, limits = self._left(), self._plan.limits
        # The baseline decides whether there is anything to compare with: it has all its time.
        if left is None or not any(self._trials.values()):
            return limits
        return replace(limits, trial=min(limits.trial, left))


def _outcome(future: Future[Outcome]) -> Outcome:
    """Return what a machine answered.

    Raises:
        TuningError: it did not answer.
    """
    try:
        return future.result()
    except (Exception, CancelledError) as error:
        raise TuningError(
            "a worker of the executor failed; what was measured before is kept",
            got=f"{type(error).__name__}: {error}"[:300],
            expected="workers with the same versions of shark_turbine, torch and IREE, and enough memory",
            fix="try again, and the search goes on; or tune on this machine, without executor=",
        ) from error


def _other_versions(machine: LocalMachine, where: str) -> TuningError:
    return TuningError(
        f"the worker on {machine.host} has other versions, whose measurements say nothing here",
        where=where,
        got=", ".join(machine.versions),
        expected=", ".join(this_machine().versions),
        fix="install the same versions there",
    )
