# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Run IREE's tools in forks of a warm process, or, where there can be none, each in a new one.

The process is started by the first job, is this process's own, and ends with it, or after a minute
without a job. `SHARK_TURBINE_COMPILE_WORKER=0` in the environment does without.

What a tool does is the same in both ways: the fork has this process's environment, folder, limits and
cores of the moment, takes the same options, gives the same bytes, and may crash.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import resource
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

from . import worker_child
from .tools import ToolResult, find_tool, run_tool

log = logging.getLogger(__name__)

_LENGTH = struct.Struct("!Q")
_STATUS = struct.Struct("!i")
_IDLE_SECONDS = 60.0
# A worker that was told to end does so in milliseconds.
_END_SECONDS = 10.0
_ATTEMPTS = 2
_LIMITS = tuple(getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_"))


class _Worker:
    """A running worker, and the socket that it takes jobs from."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._control = ours
            library = Path(find_tool("iree-compile")).with_name("libIREECompiler.so")
            command = [sys.executable, "-I", "-S", worker_child.__file__]
            try:
                self._process = subprocess.Popen(
                    [*command, str(theirs.fileno()), str(library), str(_IDLE_SECONDS)],
                    stdin=subprocess.DEVNULL,
                    # Whoever waits for the end of this process's output is not to wait for the worker.
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise

    def send(self, files: Sequence[int]) -> None:
        """Hand over a job's open files; the rest goes through the first."""
        socket.send_fds(self._control, [b"j"], files, socket.MSG_NOSIGNAL)

    def end(self) -> None:
        """End the worker, and what it is running."""
        self._control.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def forget(self) -> None:
        """Let go of a worker that is the parent's: this process was forked from it."""
        self._control.close()
        self._process.returncode = 0


class _State:
    """The worker of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.worker: _Worker | None = None
        self.is_ending = False


_state = _State()


def run_iree(
    tool: str,
    arguments: Sequence[str],
    *,
    stdin: bytes = b"",
    keep_open: Sequence[int] = (),
    timeout: float | None = None,
    scratch: str | None = None,
) -> ToolResult:
    """Run `iree-compile` or `iree-opt` and wait for it; `run_tool` says what the arguments are.

    Raises:
        TimeoutError: it took longer; it is dead when this is raised.
        CompileError: the installed package does not have it.
    """
    command = [find_tool(tool), *arguments]
    for _ in range(_ATTEMPTS if _is_wanted() else 0):
        try:
            result = _run_warm(command, stdin, keep_open, timeout, scratch)
        except TimeoutError:
            raise
        except OSError as error:
            log.info("compiling without the worker: %s", error)
            break
        if result is not None:
            return result
    return run_tool(command, stdin=stdin, keep_open=keep_open, timeout=timeout, scratch=scratch)


def _is_wanted() -> bool:
    said = os.environ.get("SHARK_TURBINE_COMPILE_WORKER", "").lower()
    is_off = said in ("0", "off", "no", "false") or _state.is_ending
    return not is_off and sys.platform == "linux" and bool(sys.executable)


def _run_warm(
    command: Sequence[str],
    stdin: bytes,
    keep_open: Sequence[int],
    timeout: float | None,
    scratch: str | None,
) -> ToolResult | None:
    """Run a command in a fork of the worker; None if the worker was lost.

    Raises:
        TimeoutError: it took longer.
        OSError: there can be no worker here, or it could not begin.
    """
    told = json.dumps({
        "command": list(command),
        "files": list(keep_open),
        "folder": os.getcwd(),
        "environment": {**os.environ, **({} if scratch is None else {"TMPDIR": scratch})},
        "cores": list(os.sched_getaffinity(0)),
        "limits": [(limit, resource.getrlimit(limit)) for limit in _LIMITS],
    }).encode()  # fmt: skip
    with ExitStack() as stack:
        streams = [stack.enter_context(_new_stream()) for _ in range(3)]
        streams[0].write(stdin)
        streams[0].seek(0)
        ours, theirs = map(stack.enter_context, socket.socketpair())
        worker = _ready_worker()
        try:
            worker.send([theirs.fileno(), *(stream.fileno() for stream in streams), *keep_open])
        except OSError:
            _give_up(worker)
            return None
        theirs.close()
        answer = _ask(ours, _LENGTH.pack(len(told)) + told, Path(command[0]).name, timeout)
        if len(answer) == _STATUS.size:
            raise ChildProcessError("a fork of the worker could not begin")
        if len(answer) < _STATUS.size:
            _give_up(worker)
            return None
        _, stdout, stderr = (_content(stream) for stream in streams)
    return ToolResult(_STATUS.unpack(answer[1:])[0], stdout, stderr.decode(errors="replace"))


def _new_stream() -> IO[bytes]:
    return os.fdopen(os.memfd_create("shark_turbine"), "w+b")


def _content(stream: IO[bytes]) -> bytes:
    stream.seek(0)
    return stream.read()


def _ask(job: socket.socket, told: bytes, name: str, timeout: float | None) -> bytes:
    """Send a job and wait for its answer; whatever interrupts that ends the job too."""
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        job.settimeout(timeout)
        # It may have ended already: then the answer says so.
        with suppress(BrokenPipeError, ConnectionResetError):
            job.sendall(told, socket.MSG_NOSIGNAL)
        return _read_to_end(job, deadline)
    except BaseException as error:
        with suppress(OSError):
            job.shutdown(socket.SHUT_WR)
            _read_to_end(job, time.monotonic() + _END_SECONDS)
        if isinstance(error, TimeoutError):
            raise TimeoutError(f"{name} took more than {timeout:g} s") from error
        raise


def _read_to_end(job: socket.socket, deadline: float | None) -> bytes:
    parts = bytearray()
    while True:
        if deadline is not None:
            job.settimeout(max(deadline - time.monotonic(), 1e-3))
        try:
            part = job.recv(64)
        except ConnectionResetError:
            part = b""
        if not part:
            return bytes(parts)
        parts += part


def _ready_worker() -> _Worker:
    with _state.lock:
        if _state.worker is None:
            _state.worker = _Worker()
        return _state.worker


def _give_up(worker: _Worker) -> None:
    """Let the next job start another worker: this one has ended."""
    with _state.lock:
        if _state.worker is worker:
            _state.worker = None
            worker.end()


def _end() -> None:
    """End the worker of this process; the next job starts another."""
    if _state.worker is not None:
        _give_up(_state.worker)


def _end_with_the_interpreter() -> None:
    _state.is_ending = True
    _end()


def _forget_after_fork() -> None:
    _state.lock = threading.Lock()
    if _state.worker is not None:
        _state.worker.forget()
        _state.worker = None


atexit.register(_end_with_the_interpreter)
os.register_at_fork(after_in_child=_forget_after_fork)
