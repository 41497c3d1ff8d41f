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

# Everything that can be alive when the interpreter ends, in one process.
LEFT_OVER = """
import iree.runtime as ireert
results = [module.add(a, a), module.add(a.numpy(), a.numpy()), module.get()]
module.__dict__["itself"] = module
errors = []
for wrong in (lambda: module.add(a), lambda: module.rows(torch.zeros(9, 4), torch.zeros(9, 4))):
    try:
        wrong()
    except Exception as error:
        errors.append(error)
config = ireert.Config(sys.argv[2])
memory = open(sys.argv[1], "rb").read()
stock = ireert.load_vm_module(ireert.VmModule.copy_buffer(config.vm_instance, memory), config)
stock_result = stock.add(a.numpy(), a.numpy())
other = rt.load(sys.argv[1], device="local-sync")
threading.Thread(target=lambda: [function(a, a) for _ in range(500)]).start()
sys.exit(7)
"""

DAEMON = """
def work():
    while True:
        module.add(a, a)
threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
"""

# A thread that most of the time is in PyTorch, which cannot be ended there either.
BETWEEN_CALLS = """
def work():
    while True:
        results = [module.add(a, a), *(a + 1 for _ in range(1000))]
threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
"""

# Threads that never call again do not hold the process up.
OTHERS = """
module.add(a, a)
def walk():
    while True:
        pass
for target in (walk, threading.Event().wait):
    threading.Thread(target=target, daemon=True).start()
start = time.monotonic()
import atexit
atexit.unregister(rt.devices._close_all)
atexit.register(lambda: os._exit(0 if time.monotonic() - start < 5 else 1))
atexit.register(rt.devices._close_all)
"""

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
@pytest.mark.parametrize(
    ("code", "status"),
    [(LEFT_OVER, 7), (DAEMON, 0), (BETWEEN_CALLS, 0), (OTHERS, 0)],
    ids=["all", "daemon", "between-calls", "others"],
)
def test_the_process_ends_in_silence(basic_path: Path, device: str, code: str, status: int) -> None:
    ended = run(code, basic_path, device)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, "", "")


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
