# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The memory of a process and its children over time, as a second process sees it.

It reads /proc every 20 ms: a thread of this process would sleep while compiled code holds Python's
lock, which is when memory peaks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_SAMPLER = """
import json, os, select, sys, time
root, own, rows = int(sys.argv[1]), os.getpid(), []

def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
    return 0

def command(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as line:
        return line.read()

def descendants(pid):
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as children:
                for child in map(int, children.read().split()):
                    if child != own:
                        yield child
                        yield from descendants(child)
    except OSError:
        return

print("ready", flush=True)
while not select.select([0], [], [], 0.02)[0]:
    try:
        now, parent, children = time.monotonic(), resident(root), 0
    except OSError:
        break
    for pid in list(descendants(root)):
        try:
            # Between fork and exec a child shows its parent's memory as its own.
            if command(pid) != command(root):
                children += resident(pid)
        except OSError:
            pass
    rows.append((now, parent, children))
json.dump(rows, sys.stdout)
"""


class Sampler:
    """Reads the memory of this process and its children until asked for what it saw."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _SAMPLER, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def rows(self) -> list[list[float]]:
        output, _ = self._process.communicate(b"q")
        return json.loads(output)


def resident() -> int:
    """Return the bytes of this process in memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return 0


def peak_resident() -> int:
    """Return the most bytes of this process that have been in memory at once."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0
