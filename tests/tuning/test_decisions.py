# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Who wins, on made-up machines: noise elects nobody, and CPUs are not compared."""

from __future__ import annotations

import dataclasses
import io
import sys
from concurrent.futures import Future

import pytest

from shark_turbine import tuning
from shark_turbine.compiler import Recipe
from shark_turbine.compiler.facts import ModuleFacts
from shark_turbine.compiler.targets import Target
from shark_turbine.errors import TuningError
from shark_turbine.tuning.candidates import combined
from shark_turbine.tuning.trial import Candidate

from .conftest import BASELINE, Machines, measured, plan

FAST, SLOW, WRONG = (Recipe(name, (f"--{name}",)) for name in ("fast", "slow", "wrong"))


def test_the_fastest_right_candidate_wins_and_is_remembered() -> None:
    ratios = {"fast": 0.5, "slow": 1.5}
    wrong = Candidate("wrong", "off by 0.7", error=0.7)
    machines = Machines({
        "A": lambda name: wrong if name == "wrong" else measured(ratios[name.strip("!")])
    })  # fmt: skip
    result = tuning.search(plan(machines, [SLOW, WRONG, FAST]), progress=False)
    winner = result.winners["A"]
    assert (winner.name, winner.flags, winner.confirmed) == ("fast", ("--fast",), 0.5)
    assert {trial.name: trial.state for trial in result.trials} == {
        "auto": "measured", "slow": "measured", "wrong": "wrong", "fast": "measured",
    }  # fmt: skip
    assert machines.sent[-1] == ("A", ("auto", "fast"))
    lines = str(result).splitlines()
    assert [line.split()[0] for line in lines[2:6]] == ["auto", "fast", "slow", "wrong"]
    assert "fastest" in lines[3]
    assert lines[5].endswith("wrong: off by 0.7")
    assert tuning.recall_winner(plan(None, []).memory._program, None, "A") == winner


def test_the_table_says_that_the_machine_was_busy() -> None:
    quiet = tuning.TuningResult((), {}, "cpu-2", "eager", True, False, 1.0, load=0.1)
    assert "busy" not in str(quiet)
    busy = tuning.TuningResult((), {}, "cpu-2", "eager", True, False, 1.0, load=7.5)
    assert "busy (load 7.5 on 2 cores)" in str(busy)


def test_a_candidate_that_was_lucky_once_does_not_win() -> None:
    machines = Machines({"A": lambda name: measured(0.99 if name.endswith("!") else 0.7)})
    result = tuning.search(plan(machines, [FAST]), progress=False)
    assert result.winners["A"].name == "auto"
    assert result.trials[1].confirmed == 0.99


def test_a_candidate_that_is_faster_in_half_of_the_turns_does_not_win() -> None:
    machines = Machines({"A": lambda name: measured(0.8, wins=0.5)})
    assert tuning.search(plan(machines, [FAST]), progress=False).winners["A"].name == "auto"


def test_each_cpu_has_its_own_winner() -> None:
    ratios = {"A": {"fast": 0.5, "slow": 0.9}, "B": {"fast": 1.2, "slow": 0.6}}
    machines = Machines({
        cpu: lambda name, cpu=cpu: measured(ratios[cpu][name.strip("!")]) for cpu in ratios
    })  # fmt: skip
    result = tuning.search(plan(machines, [FAST, SLOW]), progress=False)
    assert result.is_complete
    assert {cpu: winner.name for cpu, winner in result.winners.items()} == {
        "A": "fast", "B": "slow",
    }  # fmt: skip
    assert result.winner is None
    assert result.recipe.name == "auto"
    assert all(trial.ratio == ratios[trial.cpu].get(trial.name, 1.0) for trial in result.trials)


def test_what_is_remembered_is_not_tried_again() -> None:
    machines = Machines({"A": lambda name: measured(0.5)})
    first = tuning.search(plan(machines, [FAST]), progress=False)
    machines.sent.clear()
    again = tuning.search(plan(machines, [FAST, SLOW]), progress=False)
    # The executor's machine shows itself by its answer to the baseline.
    assert [names for _, names in machines.sent] == [
        ("auto",), ("auto", "slow"), ("auto", "fast", "slow"),
    ]  # fmt: skip
    assert first.trials[1].ratio == again.trials[1].ratio


def test_a_program_whose_results_cannot_be_compared_is_refused() -> None:
    class Wrong(Machines):
        def submit(self, *_, **__):
            future = super().submit(*_, **__)
            outcome = future.result()
            moved: Future[tuning.Outcome] = Future()
            wrong = Candidate("wrong", "off by 0.1")
            moved.set_result(tuning.Outcome(outcome.machine, (wrong,)))
            return moved

    with pytest.raises(TuningError, match=r"draws no random numbers") as caught:
        tuning.search(plan(Wrong({"A": lambda name: measured(1.0)}), [FAST]), progress=False)
    assert "Model: the results under recipe 'auto'" in str(caught.value)


def test_a_lost_worker_is_an_error_and_what_was_measured_is_kept() -> None:
    class Lost(Machines):
        def submit(self, *arguments, **options):
            future = super().submit(*arguments, **options)
            if self.sent[-1][1] == ("auto", "slow"):
                future = Future()
                future.set_exception(ConnectionError("gone"))
            return future

    with pytest.raises(TuningError, match=r"ConnectionError: gone"):
        tuning.search(plan(Lost({"A": lambda name: measured(0.5)}), [FAST, SLOW]), progress=False)
    kept = plan(None, []).memory.trials("A").values()
    assert {trial.name for trial in kept} == {"auto", "fast"}


def test_a_worker_with_other_versions_is_refused() -> None:
    machines = Machines({"A": lambda name: measured(0.5)})
    machines.versions = ("torch 1.0",)
    with pytest.raises(TuningError, match=r"worker on host A has other versions") as caught:
        tuning.search(plan(machines, [FAST]), progress=False)
    assert "got:      torch 1.0" in str(caught.value)


def test_without_budget_for_more_the_baseline_stays() -> None:
    machines = Machines({"A": lambda name: measured(0.5)})
    result = tuning.search(plan(machines, [FAST], budget=1e-9), progress=False)
    assert not result.is_complete
    assert result.trials == ()


def test_changes_that_help_are_tried_together() -> None:
    tiles, deep = Recipe("tiles", ("--packed", "--tiles")), Recipe("deep", ("--packed", "--deep=3"))
    flat, sync = Recipe("not packed", ()), Recipe("sync", ("--packed",), device="local-sync")
    (joined,) = combined(BASELINE, [tiles, sync])
    assert (joined.name, joined.flags, joined.device) == (
        "tiles + sync", ("--packed", "--tiles"), "local-sync",
    )  # fmt: skip
    calm = dataclasses.replace(BASELINE, device="local-sync")
    awake = dataclasses.replace(calm, name="awake", device="local-task")
    slow = dataclasses.replace(calm, name="slow", flags=("--packed", "--slow"))
    for order in ([awake, slow], [slow, awake]):
        (both,) = combined(calm, order)
        assert (both.flags, both.device) == (("--packed", "--slow"), "local-task")
    assert [one.flags for one in combined(BASELINE, [flat, tiles, deep])] == [
        ("--tiles",), ("--tiles", "--deep=3"), ("--deep=3",),
    ]  # fmt: skip
    ratios = {"tiles": 0.8, "sync": 0.9, "tiles + sync": 0.7}
    machines = Machines({"A": lambda name: measured(ratios[name.strip("!")])})
    result = tuning.search(plan(machines, [tiles, sync], combines=True), progress=False)
    assert result.winners["A"].name == "tiles + sync"


def test_candidates_follow_from_the_module_and_the_machine() -> None:
    machine = tuning.LocalMachine("cpu", 8, "model", "host", ())
    plain = tuning.candidates(BASELINE, ModuleFacts(), Target(), machine)
    convolutions = tuning.candidates(
        BASELINE, ModuleFacts(has_convolutions=True, has_products=True), Target(), machine
    )
    assert {one.device for one in plain} == {None, "local-sync", "local-task?threads=4"}
    calm = dataclasses.replace(BASELINE, device="local-sync")
    others = tuning.candidates(calm, ModuleFacts(), Target(), machine)
    assert {one.device for one in others} == {"local-sync", "local-task", "local-task?threads=4"}
    assert not any(one.device == "local-sync" and one.flags == calm.flags for one in others)
    assert {one.name for one in plain} < {one.name for one in convolutions}
    vmvx = tuning.candidates(BASELINE, ModuleFacts(), Target(("vmvx",)), machine)
    assert all(one.device is not None for one in vmvx)
    kinds = {(one.flags, one.device) for one in [*convolutions, BASELINE]}
    assert len(kinds) == len(convolutions) + 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (io.StringIO(), "tune: fast (--fast): 5 ms, 0.50 of the baseline, measured\n"),
        (Terminal(), "candidate"),
    ],
)
def test_progress_is_a_table_on_a_terminal_and_lines_elsewhere(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, expected: str
) -> None:
    machines = Machines({"A": lambda name: measured(0.5)})
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "160")
    tuning.search(plan(machines, [FAST]), progress=True)
    assert expected in stream.getvalue()
    assert "fast" in stream.getvalue()
    quiet = type(stream)()
    monkeypatch.setattr(sys, "stderr", quiet)
    tuning.search(plan(machines, [FAST]), progress=False)
    assert not quiet.getvalue()
