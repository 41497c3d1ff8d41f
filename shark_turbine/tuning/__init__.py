# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tuning: candidate recipes are compiled, checked and measured in child processes; the fastest wins.

The caller's side knows no runtime: `child` runs what `trial` starts, on this machine or another.
"""

from .calls import Call, bind
from .candidates import candidates
from .foreign import refuse_foreign
from .machines import LocalMachine, this_machine
from .memory import Memory, recall_winner
from .options import Parameters, TuningOptions
from .result import Trial, TuningResult
from .search import Plan, search
from .trial import Job, Limits, Outcome, run_reference, run_trial

__all__ = [
    "Call",
    "Job",
    "Limits",
    "LocalMachine",
    "Memory",
    "Outcome",
    "Parameters",
    "Plan",
    "Trial",
    "TuningOptions",
    "TuningResult",
    "bind",
    "candidates",
    "recall_winner",
    "refuse_foreign",
    "run_reference",
    "run_trial",
    "search",
    "this_machine",
]
