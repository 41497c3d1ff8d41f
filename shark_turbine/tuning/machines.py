# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The machine that a trial runs on: measurements of different CPUs are never compared."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from shark_turbine import __version__
from shark_turbine.compiler.cache_key import machine
from shark_turbine.versions import installed

_PACKAGES = ("torch", "iree-base-compiler", "iree-base-runtime")


@dataclass(frozen=True, slots=True)
class LocalMachine:
    """A machine: `cpu` is equal for machines with equal CPUs and as many cores that may be used.

    `versions` are those of the packages that have a say in what is measured.
    """

    cpu: str
    cores: int
    model: str
    host: str
    versions: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.model}, {self.cores} cores"


@cache
def this_machine() -> LocalMachine:
    """Return the machine that this process runs on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    versions = tuple(f"{name} {installed(name)}" for name in _PACKAGES)
    return LocalMachine(
        f"{machine()[:24]}-{cores}",
        cores,
        _model(),
        socket.gethostname(),
        (f"shark-turbine {__version__}", *versions),
    )


def _model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+?)\s*$", text, re.MULTILINE)
    return found[1] if found else os.uname().machine
