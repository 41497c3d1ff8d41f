# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The warm worker: what comes out is the compiler's own, whatever came before and whoever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shark_turbine.compiler import compile, worker
from shark_turbine.errors import CompileError

ADD = """
module @add {
  func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
    %0 = arith.addf %a, %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
"""
CRASHES = """
func.func @k(%a: !torch.vtensor<[4,0],f32>, %b: !torch.vtensor<[0,4],f32>)
    -> !torch.vtensor<[4,4],f32> {
  %0 = torch.aten.mm %a, %b : !torch.vtensor<[4,0],f32>, !torch.vtensor<[0,4],f32>
      -> !torch.vtensor<[4,4],f32>
  return %0 : !torch.vtensor<[4,4],f32>
}
"""

# A job that takes some seconds.
SLOW = """
body = "".join(f"  %{i + 1} = linalg.matmul ins(%{i}, %x : tensor<64x64xf32>, tensor<64x64xf32>)"
    f" outs(%0 : tensor<64x64xf32>) -> tensor<64x64xf32>\\n" for i in range(200))
slow = "func.func @f(%x: tensor<64x64xf32>) -> tensor<64x64xf32> {\\n  %0 = tensor.empty() : "
slow += "tensor<64x64xf32>\\n" + body + "  return %200 : tensor<64x64xf32>\\n}"
"""
PRELUDE = f"""
import os, sys, threading, time
from pathlib import Path
from shark_turbine.compiler import compile, worker
ADD = {ADD!r}
def listed(process):
    path = Path(f"/proc/{{process}}/task/{{process}}/children")
    return [int(child) for child in path.read_text().split()]
def version():
    return worker.run_iree("iree-compile", ["--version"]).status
def pid():
    return worker._state.worker._process.pid
"""


@pytest.fixture
def fresh() -> Iterator[Callable[[], int]]:
    """Start without a worker, and return a function that gives the worker's process."""
    worker._end()

    def process() -> int:
        running = worker._state.worker
        assert running is not None
        return running._process.pid

    yield process
    worker._end()


def without_worker(call: Callable[[], Any]) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHARK_TURBINE_COMPILE_WORKER", "0")
        return call()


def run(code: str, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", PRELUDE + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


def is_alive(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_no_job_shows_in_the_next(fresh: Callable[[], int]) -> None:
    """Options of LLVM and MLIR belong to a process; here each job has its own."""
    # Debug symbols are an option of a session, the others are global.
    ways = [
        [],
        ["--iree-llvmcpu-debug-symbols=false"],
        ["--mlir-disable-threading", "--iree-opt-level=O3"],
        ["--iree-llvmcpu-target-cpu=generic", "--vectorize-slp=false"],
    ]
    cold = [without_worker(lambda flags=flags: bytes(compile(ADD, flags=flags))) for flags in ways]
    warm = [bytes(compile(ADD, flags=flags)) for flags in ways]
    process = fresh()
    again = [bytes(compile(ADD, flags=flags)) for flags in reversed(ways)]
    assert warm == cold == again[::-1]
    assert fresh() == process


def test_failures_are_told_as_without_it(fresh: Callable[[], int]) -> None:
    broken = ADD.replace("arith.addf %a, %a", 'torch.operator "no.such"(%a)').replace(
        "%0 = ", "%0 = ", 1
    )
    cases: list[tuple[str, dict[str, Any]]] = [
        (ADD, {"flags": ["--iree-no-such-option"]}),
        (ADD, {"flags": ["--iree-opt-level=O9"]}),
        (CRASHES, {}),
        (broken.replace(": tensor<4xf32>\n    return", ": (tensor<4xf32>) -> tensor<4xf32>\n    return"), {}),
        ("module @empty {}", {}),
    ]  # fmt: skip
    process = None
    for module, options in cases:

        def message(module: str = module, options: dict[str, Any] = options) -> str:
            with pytest.raises(CompileError) as caught:
                compile(module, **options)
            return f"{caught.value.stage} {caught.value}"

        assert message() == without_worker(message)
        process = process or fresh()
        assert fresh() == process


def test_a_job_that_takes_too_long_is_killed(fresh: Callable[[], int]) -> None:
    names: dict[str, Any] = {}
    exec(SLOW, names)
    compile(ADD)
    process = fresh()
    with pytest.raises(CompileError, match=r"stopped after 0\.3 s"):
        compile(names["slow"], timeout=0.3)
    assert Path(f"/proc/{process}/task/{process}/children").read_text() == ""
    compile(ADD)
    assert fresh() == process


@pytest.mark.parametrize("when", ["idle", "working"])
def test_a_worker_that_dies_is_replaced(fresh: Callable[[], int], when: str) -> None:
    expected = bytes(compile(ADD))
    process = fresh()
    if when == "idle":
        os.kill(process, signal.SIGKILL)
        assert bytes(compile(ADD)) == expected
    else:
        results: list[bytes] = []
        thread = threading.Thread(target=lambda: results.append(bytes(compile(ADD))))
        thread.start()
        listed = Path(f"/proc/{process}/task/{process}/children")
        wait_for(lambda: listed.read_text() != "")
        job = int(listed.read_text())
        os.kill(process, signal.SIGKILL)
        thread.join()
        assert results == [expected]
        wait_for(lambda: not is_alive(job))
    assert fresh() != process


def test_a_job_sees_this_process_as_it_is_now(
    fresh: Callable[[], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile(ADD)
    process = fresh()
    monkeypatch.chdir(tmp_path)
    compile(ADD, flags=["--iree-hal-dump-executable-files-to=dumped"])
    assert list((tmp_path / "dumped").glob("*.ll"))
    assert fresh() == process
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    compile(ADD)


def test_it_can_be_switched_off(fresh: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARK_TURBINE_COMPILE_WORKER", "0")
    compile(ADD)
    assert worker._state.worker is None


def test_it_ends_when_nobody_needs_it() -> None:
    code = """
worker._IDLE_SECONDS = 0.2
assert version() == 0
first = pid()
time.sleep(1.5)
status = Path(f"/proc/{first}/status").read_text()
assert "State:\\tZ" in status, status
assert version() == 0
assert pid() != first
assert len(listed(os.getpid())) == 1
"""
    ended = run(code)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_the_process_ends_in_silence_and_takes_it_along() -> None:
    code = f"""
{SLOW}
assert version() == 0
def work():
    try:
        compile(slow)
    except BaseException:
        pass
threading.Thread(target=work, daemon=True).start()
while not listed(pid()):
    time.sleep(0.02)
print(pid(), *listed(pid()))
sys.exit(7)
"""
    ended = run(code)
    assert (ended.returncode, ended.stderr) == (7, "")
    processes = [int(word) for word in ended.stdout.split()]
    assert len(processes) == 2
    wait_for(lambda: not any(map(is_alive, processes)))


def test_a_fork_has_a_worker_of_its_own() -> None:
    code = """
assert version() == 0
parents = pid()
child = os.fork()
if child == 0:
    assert worker._state.worker is None
    assert version() == 0
    assert pid() != parents
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert version() == 0
assert pid() == parents
"""
    ended = run(code)
    # From Python 3.12 on a fork of a process with threads is warned about; this one has none.
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_it_ends_with_a_parent_whose_fork_lives_on() -> None:
    code = """
assert version() == 0
print(pid(), flush=True)
if os.fork() == 0:
    os.close(1), os.close(2)
    time.sleep(20)
    os._exit(0)
os._exit(0)
"""
    ended = run(code)
    assert ended.returncode == 0
    wait_for(lambda: not is_alive(int(ended.stdout)))


def test_many_at_once(fresh: Callable[[], int]) -> None:
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: results.append(bytes(compile(ADD)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert len(set(results)) == 1
