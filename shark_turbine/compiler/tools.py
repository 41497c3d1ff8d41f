# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The one place that finds executables and runs them in child processes.

A compiler in this process would take the process with it when it crashes, so every tool runs in a
child of its own session: it is killed with its children on a timeout or Ctrl-C, and by the kernel
when this process dies.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import iree.compiler._mlir_libs as _iree_libraries

from shark_turbine.errors import CompileError

# PR_SET_PDEATHSIG must be set between fork and exec of the tool. A `preexec_fn` would run Python in
# a forked copy of a process that may have threads; a launcher that replaces itself is safe.
_LAUNCHER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """How a tool ended: its exit status (negative: the signal that killed it) and its words."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def signal_name(self) -> str | None:
        """Return the name of the signal that killed the tool, such as `SIGSEGV`."""
        if self.status >= 0:
            return None
        try:
            return signal.Signals(-self.status).name
        except ValueError:
            return f"signal {-self.status}"


def find_tool(name: str) -> str:
    """Return the path of a tool of the installed `iree-base-compiler` package.

    Raises:
        CompileError: the installed package does not have it.
    """
    path = Path(_iree_libraries.__file__).with_name(name)
    if not os.access(path, os.X_OK):
        raise CompileError(
            f"the compiler's executable {name} is missing",
            stage="tools",
            got=path,
            expected="the executables of the iree-base-compiler package",
            fix="pip install --force-reinstall iree-base-compiler",
        )
    return str(path)


def run_tool(
    command: Sequence[str],
    *,
    stdin: IO[bytes] | bytes = b"",
    keep_open: Sequence[int] = (),
    timeout: float | None = None,
    scratch: str | None = None,
) -> ToolResult:
    """Run a command in a child session and wait for it.

    Args:
        command: the executable's path and its arguments.
        stdin: bytes to send, or a file to read from.
        keep_open: file descriptors that the tool inherits under the same numbers.
        timeout: seconds after which it is killed.
        scratch: a folder for its temporary files; None is the system's.

    Raises:
        TimeoutError: it took longer; it is dead when this is raised.
    """
    reads_file = not isinstance(stdin, bytes)
    process = subprocess.Popen(
        _launch(command),
        stdin=stdin if reads_file else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=tuple(keep_open),
        start_new_session=True,
        env=None if scratch is None else {**os.environ, "TMPDIR": scratch},
    )
    try:
        stdout, stderr = process.communicate(None if reads_file else stdin, timeout)
    except subprocess.TimeoutExpired as expired:
        raise TimeoutError(f"{Path(command[0]).name} took more than {timeout:g} s") from expired
    finally:
        _kill_group(process)
    return ToolResult(process.returncode, stdout, stderr.decode(errors="replace"))


def _launch(command: Sequence[str]) -> list[str]:
    if sys.platform != "linux" or not sys.executable:
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command]


def _kill_group(process: subprocess.Popen[Any]) -> None:
    """End what is left of the child's session; after a normal end nothing is."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
