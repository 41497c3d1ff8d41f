# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The machine that a trial runs on: measurements of different CPUs are never compared."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from shark_turbine.compiler.cache_key import machine


@dataclass(frozen=True, slots=True)
class LocalMachine:
    """A machine: `cpu` is equal for machines with equal CPUs and as many cores that may be used."""

    cpu: str
    cores: int
    model: str
    host: str

    def __str__(self) -> str:
        return f"{self.model}, {self.cores} cores"


@cache
def this_machine() -> LocalMachine:
    """Return the machine that this process runs on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    return LocalMachine(f"{machine()[:24]}-{cores}", cores, _model(), socket.gethostname())


def _model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+?)\s*$", text, re.MULTILINE)
    return found[1] if found else os.uname().machine
