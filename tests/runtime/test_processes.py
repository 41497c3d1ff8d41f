# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The end of a process and its forks: no crash, no hang, no line on stderr."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

START = """
import os, sys, threading, time
import torch
import shark_turbine.runtime as rt
module = rt.load(sys.argv[1], device=sys.argv[2])
a = torch.ones(4)
function = module.add
"""

ENDINGS = {
    "results alive": "results = [module.add(a, a), module.add(a.numpy(), a.numpy()), module.get()]",
    "module in a cycle": "module.__dict__['itself'] = module; module.add(a, a)",
    "error alive": """
try:
    module.add(a)
except Exception as error:
    kept = error
try:
    module.rows(torch.zeros(9, 4), torch.zeros(9, 4))
except Exception as error:
    kept = kept, error
""",
    "exit code": "kept = module.add(a, a)\nsys.exit(7)",
    "thread": "threading.Thread(target=lambda: [function(a, a) for _ in range(500)]).start()",
    "daemon thread": """
def work():
    while True:
        module.add(a, a)
threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
""",
    "beside stock": """
import iree.runtime as ireert
config = ireert.Config(sys.argv[2])
memory = open(sys.argv[1], "rb").read()
stock = ireert.load_vm_module(ireert.VmModule.copy_buffer(config.vm_instance, memory), config)
kept = stock.add(a.numpy(), a.numpy()), module.add(a, a)
""",
}

FORK = """
module.add(a, a)
child = os.fork()
if child == 0:
    for attempt in (lambda: module.add(a, a), lambda: rt.load(sys.argv[1], device=sys.argv[2]).add(a, a)):
        try:
            print(attempt().tolist(), flush=True)
        except Exception as error:
            print(str(error).splitlines()[0], flush=True)
    sys.exit(0)
deadline = time.monotonic() + 20
while time.monotonic() < deadline:
    pid, status = os.waitpid(child, os.WNOHANG)
    if pid:
        print("child ended with", status)
        break
    time.sleep(0.02)
else:
    os.kill(child, 9)
    print("child hangs")
print(module.add(a, a).tolist())
"""


def run(code: str, path: Path, device: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", START + code, str(path), device]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("device", ["local-sync", "local-task"])
def test_the_process_ends_in_silence(basic_path: Path, device: str) -> None:
    """All endings at the same time, one process each."""
    children = {
        name: subprocess.Popen(
            [sys.executable, "-c", START + code, str(basic_path), device],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name, code in ENDINGS.items()
    }
    ends = {
        name: (child.communicate(timeout=120)[0], child.returncode)
        for name, child in children.items()
    }
    assert ends == {name: ("", 7 if name == "exit code" else 0) for name in ENDINGS}


def test_fork_of_a_process_without_worker_threads(basic_path: Path) -> None:
    ended = run(FORK, basic_path, "local-sync")
    two = "[2.0, 2.0, 2.0, 2.0]\n"
    assert ended.stdout == f"{two}{two}child ended with 0\n{two}"
    assert (ended.returncode, ended.stderr) == (0, "")


def test_fork_of_a_process_with_worker_threads(basic_path: Path) -> None:
    ended = run(FORK, basic_path, "local-task")
    refusal = (
        "this process was forked from one that already used device 'local-task', whose worker "
        "threads did not come along: a call would hang\n"
    )
    assert ended.stdout == f"{refusal}{refusal}child ended with 0\n[2.0, 2.0, 2.0, 2.0]\n"
    assert (ended.returncode, ended.stderr) == (0, "")
