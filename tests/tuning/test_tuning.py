# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tune` as a user calls it: candidates compile, run in child processes and are compared with eager."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import shark_turbine.aot as aot
import shark_turbine.runtime as runtime
from shark_turbine import compiler, tuning
from shark_turbine.tuning import Call, Job, Limits

VECTORS = "--iree-llvmcpu-reassociate-fp-reductions"
# `auto` computes what is as small as this on one thread by itself.
ALL = compiler.Recipe("all cores", (VECTORS,), device="local-task")
SYNC = compiler.Recipe("one thread", device="local-sync")
UNKNOWN = compiler.Recipe("unknown option", ("--iree-no-such-option",))
# Multiplies bf16 where the program says f32.
DEMOTED = compiler.Recipe(
    "demoted",
    (
        "--iree-global-opt-demote-contraction-inputs-operations=all",
        "--iree-global-opt-demote-contraction-inputs-type=bf16",
    ),
)
QUICK = {"measure": 0.2, "progress": False, "tolerance": 1e-5}


class Scaled(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(8, 4)

    def forward(self, x, *, scale):
        return {"y": self.linear(x) * scale, "shape": 4}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Scaled().eval()


@pytest.fixture(scope="module")
def arguments():
    return (torch.randn(3, 8),), {"scale": torch.randn(4)}


@pytest.fixture(scope="module")
def output(model, arguments):
    return aot.export(model, args=arguments[0], kwargs=arguments[1])


def test_the_fastest_right_candidate_wins(output, model, arguments):
    """Then `compile(tune=True)` uses it, and `load` its device; a second call measures nothing."""
    candidates = [DEMOTED, UNKNOWN, SYNC]
    result = output.tune(candidates=candidates, recipe=ALL, **QUICK)
    states = {trial.name: trial.state for trial in result.trials}
    assert states == {
        "all cores": "measured", "demoted": "wrong", "unknown option": "refused", "one thread": "measured",
    }  # fmt: skip
    assert result.reference == "eager"
    assert result.is_complete
    # Waking another thread takes longer than this model.
    assert result.winner is not None
    assert result.winner.name == "one thread"
    assert result.speedup > 1.03
    assert all(trial.error < 1e-6 for trial in result.trials if trial.state == "measured")
    printed = str(result)
    assert "unknown option" in printed
    assert "fastest" in printed

    vmfb = output.compile(tune=True, recipe=ALL)
    assert vmfb.manifest["recipe"] == {
        "rewrites": [],
        "name": "tuned, one thread", "flags": [], "device": "local-sync",
    }  # fmt: skip
    loaded = runtime.load(vmfb)
    assert loaded.device.uri == "local-sync"
    args, kwargs = arguments
    expected = model(*args, **kwargs)
    found = loaded.main(*args, **kwargs)
    torch.testing.assert_close(found["y"], expected["y"])
    assert found["shape"] == 4

    again = output.tune(candidates=candidates, recipe=ALL, **QUICK)
    assert again.trials == result.trials
    assert again.winner == result.winner
    assert again.seconds < 2.0
    # The same program from other lines, and arguments of the same shapes.
    twin = aot.export(model, args=args, kwargs=kwargs)
    assert twin.compile(tune=True, recipe=ALL).manifest["recipe"] == vmfb.manifest["recipe"]


def test_a_budget_ends_the_search_and_a_second_call_goes_on(output, arguments):
    """The budget is spent after the baseline, which has all the time that it needs."""
    vmfb = output.compile(tune=0.01)
    # Which rewrites `auto` asks for is the machine's: panels are for AVX-512 or AVX2.
    assert vmfb.manifest["recipe"] == output.compile().manifest["recipe"] | {"name": "tuned, auto"}
    first = output.tune(candidates=[SYNC], recipe=ALL, budget=0.01, **QUICK)
    assert [trial.name for trial in first.trials] == ["all cores"]
    assert not first.is_complete
    assert first.recipe.name == "tuned, all cores"
    second = output.tune(*arguments, candidates=[SYNC], recipe=ALL, **QUICK)
    assert second.trials[0].compile_seconds == first.trials[0].compile_seconds
    assert [trial.name for trial in second.trials] == ["all cores", "one thread"]
    assert second.is_complete
    assert output.compile(tune=True, recipe=ALL).manifest["recipe"]["name"] == "tuned, one thread"


INTERRUPTED = """
import torch, sys
import shark_turbine.aot as aot
from shark_turbine import compiler

output = aot.export(torch.nn.Linear(4, 2), torch.zeros(3, 4))
slow = [compiler.Recipe(f"O{level}", (f"--iree-opt-level=O{level}",)) for level in (1, 2)]
result = output.tune(candidates=slow, measure=5.0)
print(result.is_interrupted, [trial.name for trial in result.trials])
"""


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=120)
    assert first.startswith(f"tune: auto ({VECTORS.removeprefix('--iree-')} on local-sync)")
    assert printed == "True ['auto']\n"


class Bomb:
    """Ends the process that unpickles it."""

    def __reduce__(self):
        return os.abort, ()


def test_a_child_that_dies_or_hangs_is_a_trial_that_failed():
    job = Job(b"", {}, (), {}, (Call("main", (Bomb(),)),), is_stateful=False)
    recipes = [compiler.Recipe("auto"), compiler.Recipe("other")]
    died = tuning.run_trial(job, recipes, Limits(60.0, 60.0, 1.0))
    assert [one.state for one in died.candidates] == ["failed", "crashed"]
    assert died.candidates[1].note == "SIGABRT (start)"
    late = tuning.run_trial(job, recipes, Limits(0.05, 60.0, 1.0))
    assert late.candidates[1].state == "timed out"
    assert tuning.run_trial(job, recipes, Limits(1.0, 1.0, 1.0), cpu="another").candidates == ()


class Counter(aot.CompiledModule):
    total = aot.export_global(torch.zeros(2), mutable=True)

    def add(self, x=aot.AbstractTensor(2)):
        self.total = aot.jittable(torch.add)(self.total, x)
        return self.total


def test_a_module_with_state_and_without_eager_twin_is_compared_with_recipe_none():
    result = aot.export(Counter).tune((torch.ones(2),), candidates=[SYNC], recipe=ALL, **QUICK)
    assert result.reference == "recipe none"
    assert [trial.state for trial in result.trials] == ["measured", "measured"]
    assert result.trials[1].error == 0.0


def test_external_weights_reach_the_trials():
    model = torch.nn.Linear(8, 4).eval()
    output = aot.export(model, torch.randn(2, 8), weights="external")
    result = output.tune(candidates=[], **QUICK)
    assert result.reference == "eager"
    assert result.winner is not None
    assert result.winner.name == "auto"
    assert result.recipe.flags == (VECTORS,)
