# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One trial: a child process compiles, checks and measures candidates, on the machine that this runs on.

`run_trial` is what goes to other machines: a plain function of picklable values.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shark_turbine import cache_folder
from shark_turbine.compiler import Recipe
from shark_turbine.compiler.tools import ToolResult, run_tool
from shark_turbine.errors import TuningError

from .calls import Call
from .machines import LocalMachine, this_machine
from .result import State

_CHILD = "shark_turbine.tuning.child"
JOB_FILE = "job.pickle"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a trial, in seconds: of all of it, of its compilations, of its measuring."""

    trial: float
    compile: float
    measure: float


@dataclass(frozen=True, slots=True)
class Job:
    """What every trial of a tuning needs; it can be pickled.

    Attributes:
        module: MLIR bytecode.
        options: what `compiler.compile` is told, less the recipe.
        described: the manifest's entries of the external parameters.
        parameters: files with external parameters, by scope.
        calls: the calls that make a round.
        expected: the flat results of each call, for each round from the initial state.
        is_stateful: whether calls change state: each measured round then starts from the initial one.
        tolerance: how large an error may be; None is by dtype.
    """

    module: bytes
    options: Mapping[str, Any]
    described: Sequence[dict[str, Any]]
    parameters: Mapping[str, Sequence[str]]
    calls: tuple[Call, ...]
    is_stateful: bool
    expected: tuple[tuple[tuple[Any, ...], ...], ...] | None = None
    tolerance: float | None = None

    @property
    def rounds(self) -> int:
        """How many rounds are compared: the second shows what the first left behind."""
        return 2 if self.is_stateful else 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """What became of one candidate in a trial; `ratio` is to the first one of the trial."""

    state: State
    note: str = ""
    compile_seconds: float | None = None
    milliseconds: float | None = None
    ratio: float | None = None
    error: float | None = None
    wins: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a trial: a candidate for each recipe; none on another CPU than was asked for."""

    machine: LocalMachine
    candidates: tuple[Candidate, ...] = ()
    expected: Any = field(default=None, repr=False)


def run_trial(
    job: Job,
    recipes: Sequence[Recipe],
    limits: Limits,
    *,
    cpu: str | None = None,
    folder: str | None = None,
) -> Outcome:
    """Compile recipes, check them, and measure those that are right in turns, in a child process.

    One trial at a time runs on a machine. Nothing that the child does harms this process.

    Args:
        job: the program, its arguments and the expected results.
        recipes: the baseline and candidates; or one alone.
        limits: bounds in seconds.
        cpu: the CPU that the trial must run on; on another nothing is done.
        folder: holds the files of the job, compiled ones too; None is a new one.
    """
    here = this_machine()
    if cpu is not None and cpu != here.cpu:
        return Outcome(here)
    request = {
        "recipes": [
            (recipe.name, recipe.flags, recipe.rewrites, recipe.device) for recipe in recipes
        ],
        "compile_seconds": limits.compile,
        "measure_seconds": limits.measure,
    }
    with _files(job, folder) as place, _alone(limits.trial):
        try:
            result = _run_child(place, "measure", request, limits.trial)
        except TimeoutError:
            late = Candidate("timed out", f"not done after {limits.trial:.0f} s")
            return Outcome(here, _blame(place, recipes, late))
        said = _last_line(result)
        if said is None:
            note = result.signal_name or _last_words(result.stderr) or f"status {result.status}"
            return Outcome(here, _blame(place, recipes, Candidate("crashed", note)))
    return Outcome(here, tuple(Candidate(**one) for one in said["candidates"]))


def run_reference(job: Job, limits: Limits, folder: str) -> Any:
    """Return the results of the job's calls under the recipe `none`, for `Job.expected`.

    Raises:
        TuningError: the program does not compile or run.
    """
    request = {"compile_seconds": limits.compile}
    with _files(job, folder) as place:
        try:
            result = _run_child(place, "reference", request, limits.trial)
        except TimeoutError as error:
            raise _no_reference(f"not done after {limits.trial:.0f} s") from error
        if _last_line(result) is None:
            raise _no_reference(result.signal_name or _last_words(result.stderr))
        return pickle.loads(Path(place, "reference.pickle").read_bytes())


def _no_reference(why: str) -> TuningError:
    return TuningError(
        "the program gives no results to compare with: it fails under recipe='none'",
        got=why,
        expected="a program that compiles and runs with these arguments",
    )


@contextmanager
def _files(job: Job, folder: str | None) -> Iterator[str]:
    with nullcontext(folder) if folder else TemporaryDirectory(prefix="shark_turbine-") as place:
        path = Path(place, JOB_FILE)
        if not path.exists():
            path.write_bytes(pickle.dumps(job))
        yield place


@contextmanager
def _alone(seconds: float) -> Iterator[None]:
    """Keep trials of other processes of this machine from measuring at the same time."""
    shared = cache_folder.find_folder()
    if shared is None:
        yield
        return
    with cache_folder.alone(shared / "tuning" / "trial", seconds):
        yield


def _run_child(place: str, mode: str, request: dict[str, Any], seconds: float) -> ToolResult:
    command = [sys.executable, "-P", "-m", _CHILD, mode, place, json.dumps(request)]
    return run_tool(command, timeout=seconds, scratch=place)


def _last_line(result: ToolResult) -> dict[str, Any] | None:
    """Return what the child said at its end; None if it did not come so far."""
    lines = result.stdout.decode(errors="replace").splitlines()
    if result.status != 0 or not lines:
        return None
    return json.loads(lines[-1])


def _last_words(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def _blame(place: str, recipes: Sequence[Recipe], what: Candidate) -> tuple[Candidate, ...]:
    """Say of the candidate that the child was at what happened, of the others nothing."""
    try:
        at = json.loads(Path(place, "at.json").read_text())
    except (OSError, ValueError):
        at = {"phase": "start", "candidate": len(recipes) - 1}
    blamed = Candidate(what.state, f"{what.note} ({at['phase']})")
    innocent = Candidate("failed", "another candidate of its trial failed")
    return tuple(blamed if place == at["candidate"] else innocent for place in range(len(recipes)))
