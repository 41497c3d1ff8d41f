# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Trials on other machines: here two worker processes of dask."""

from __future__ import annotations

import os
import sys

import pytest
import torch

import shark_turbine.aot as aot
from shark_turbine import compiler, tuning

# `auto` computes what is as small as this on one thread by itself.
ALL = compiler.Recipe("all cores", device="local-task")
SYNC = compiler.Recipe("one thread", device="local-sync")
UNKNOWN = compiler.Recipe("unknown option", ("--iree-no-such-option",))


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_trials_run_on_two_workers():
    from distributed import Client, LocalCluster

    model = torch.nn.Linear(4, 2).eval()
    output = aot.export(model, torch.randn(3, 4))
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        result = output.tune(
            candidates=[SYNC, UNKNOWN],
            recipe=ALL,
            executor=client.get_executor(),
            measure=0.2,
            progress=False,
        )
        loaded = client.run(lambda: (os.getpid(), "shark_turbine.tuning.trial" in sys.modules))
    assert all(has_run for _, has_run in loaded.values())
    assert len({process for process, _ in loaded.values()} - {os.getpid()}) == 2
    assert {trial.name: trial.state for trial in result.trials} == {
        "all cores": "measured", "one thread": "measured", "unknown option": "refused",
    }  # fmt: skip
    # The workers are on this machine: what they find is for its CPU.
    assert result.cpu == tuning.this_machine().cpu
    assert result.winner is not None
    assert result.winner.name == "one thread"
    assert result.is_complete
