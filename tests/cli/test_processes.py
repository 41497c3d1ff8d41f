# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The command as a user starts it: nothing but its own words, Ctrl-C, pipes, terminals."""

import json
import os
import signal
import time
from pathlib import Path

import pytest


def finish(process, timeout=120):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def children_of(pid):
    """Return the processes that a process has started, and theirs."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *children_of(child)]
    return found


def is_alive(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def ends(condition, seconds=20.0):
    """Wait until something is no longer so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_export_leaves_nothing(start, programs, number, code):
    before = {path.name for path in programs.iterdir()}
    process = start(
        "export", "cli_programs:Slow", "--input", "4x64xf32", "-o", "slow.vmfb", "--no-cache"
    )
    for line in process.stderr:
        # What follows is the compiler's.
        if line.startswith("prepare"):
            break
    children = children_of(process.pid)
    assert children
    process.send_signal(number)
    found, out, err = finish(process)
    assert (found, out) == (code, "")
    assert "Traceback" not in err
    assert ends(lambda: any(map(is_alive, children)))
    assert {path.name for path in programs.iterdir()} - {"__pycache__"} == before - {"__pycache__"}


def test_ctrl_c_ends_a_call_that_runs(start, call):
    export = ("export", "cli_programs:dot", "--input", "4xf32", "--input", "4xf32")
    assert call(*export, "-o", "long.vmfb", "-q")[0] == 0
    inputs = ("--input", "4xf32", "--input", "4xf32")
    process = start("run", "long.vmfb", *inputs, "--repeat", 10**9)
    # It is in the calls once it has computed for a while.
    assert ends(lambda: cpu_seconds(process.pid) < 5.0, 60.0)
    process.send_signal(signal.SIGINT)
    assert finish(process) == (-signal.SIGINT, "", "")


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_reader_that_has_gone_is_no_error(start):
    reader, writer = os.pipe()
    os.close(reader)
    process = start("versions", stdout=writer)
    os.close(writer)
    assert finish(process) == (141, None, "")


def test_a_terminal_sees_steps_move_and_nothing_of_the_bindings(start):
    ours, theirs = os.openpty()
    process = start(
        *("export", "cli_programs:model", "--input", "2x3xf32", "-o", "tty.vmfb", "--json"),
        stderr=theirs,
        env={"TERM": "xterm-256color"},
    )
    os.close(theirs)
    shown = read_to_end(ours)
    code, out, _ = finish(process)
    assert code == 0
    assert json.loads(out)["file"] == "tty.vmfb"
    assert "✓" in shown
    assert "the module says something" in shown
    assert "tty.vmfb, " in shown
    # What the bindings say at the end of an interpreter.
    assert "nanobind" not in shown
    code, out, err = finish(start("run", "tty.vmfb", "--input", "2x3xf32=1"))
    assert (code, err) == (0, "")
    assert out == "result: f32[2, 3]\n[[2. 3. 4.]\n [2. 3. 4.]]\n"


@pytest.mark.parametrize(("extra", "has_colors"), [({"NO_COLOR": "1"}, False), ({}, True)])
def test_colors_are_for_terminals_that_want_them(start, extra, has_colors):
    ours, theirs = os.openpty()
    process = start("inspect", "none.vmfb", stderr=theirs, env={"TERM": "xterm-256color", **extra})
    os.close(theirs)
    shown = read_to_end(ours)
    assert finish(process)[0] == 2
    assert ("\x1b[1;31merror:\x1b[0m" in shown) is has_colors
    assert "error:" in shown


def read_to_end(descriptor):
    parts = []
    while True:
        try:
            part = os.read(descriptor, 4096)
        except OSError:  # What a terminal answers when its other side is closed.
            part = b""
        if not part:
            os.close(descriptor)
            return b"".join(parts).decode()
        parts.append(part)
