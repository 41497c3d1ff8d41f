# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The warm worker: a process with IREE's compiler in memory, which forks itself for each job.

    python -I -S worker_child.py <control socket> <libIREECompiler.so> <seconds>

A fork runs the main function of one of IREE's tools, as the executable of that name does: it takes
every option, may crash or call `exit`, and leaves nothing behind for the next job. What a fork is
spared is to start a process and to link the library.

On the control socket comes a byte for each job, with open files: the job's own socket, stdin, stdout,
stderr, and those that the tool is to find under numbers of the caller's. The fork reads the rest from
the job's socket, and says `+` there when it begins; the exit status follows in four bytes, negative
for a signal. Whoever ends his side of that socket has the job killed. The worker ends when the control
socket does, when its parent is another one, and when nothing came for some seconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
from typing import Any

_MAIN_FUNCTIONS = {"iree-compile": "ireeCompilerRunMain", "iree-opt": "ireeOptRunMain"}
_LENGTH = struct.Struct("!Q")
_STATUS = struct.Struct("!i")
_MOST_FILES = 64
_SET_NAME, _SET_PARENT_DEATH_SIGNAL = 15, 1
# How often the worker looks whether its parent is alive while a job runs.
_GLANCE = 1.0


def serve(control: socket.socket, library: Any, idle_seconds: float) -> None:
    """Take jobs until nobody has any."""
    parent = os.getppid()
    jobs: dict[int, socket.socket] = {}
    ended, signalled = os.pipe()
    for descriptor in (ended, signalled):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        poll = select.poll()
        poll.register(control, select.POLLIN)
        poll.register(ended, select.POLLIN)
        for job in jobs.values():
            poll.register(job, select.POLLRDHUP)
        ready = {place for place, _ in poll.poll((_GLANCE if jobs else idle_seconds) * 1e3)}
        if os.getppid() != parent or not (ready or jobs):
            break
        if ended in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(ended, 4096)
        for process, job in jobs.items():
            if job.fileno() in ready:
                _kill(process)
        _collect(jobs)
        if control.fileno() in ready and not _begin(control, library, jobs):
            break
    for process in jobs:
        _kill(process)


def _begin(control: socket.socket, library: Any, jobs: dict[int, socket.socket]) -> bool:
    """Fork for a job; say whether there was one."""
    byte, files, _, _ = socket.recv_fds(control, 1, _MOST_FILES)
    if not byte:
        return False
    worker = os.getpid()
    process = os.fork()
    if process == 0:
        status = 1
        try:
            status = _run(files, library, worker)
        finally:
            # What the compiler's own library does at an end: it writes what it has not written yet.
            ctypes.CDLL(None).exit(status)
    jobs[process] = socket.socket(fileno=files[0])
    for descriptor in files[1:]:
        os.close(descriptor)
    return True


def _run(files: list[int], library: Any, worker: int) -> int:
    """Become what the job asks for, and run its tool."""
    system = ctypes.CDLL(None)
    system.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != worker:
        return 1
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    job = socket.socket(fileno=files[0])
    told = json.loads(_read(job, _LENGTH.unpack(_read(job, _LENGTH.size))[0]))
    job = _place(files[1:], [0, 1, 2, *told["files"]], job)
    os.chdir(told["folder"])
    os.environ.clear()
    os.environ.update(told["environment"])
    # The linker of WebAssembly is looked for beside the executable, which here is Python's.
    linker = os.path.join(os.path.dirname(library._name), "iree-lld")
    os.environ.setdefault("IREE_LLVM_WASM_LINKER_PATH", linker)
    os.sched_setaffinity(0, told["cores"])
    for limit, values in told["limits"]:
        resource.setrlimit(limit, values)
    command = [os.fsencode(word) for word in told["command"]]
    name = os.path.basename(command[0])
    system.prctl(_SET_NAME, name)
    arguments = (ctypes.c_char_p * (len(command) + 1))(*command, None)
    main = getattr(library, _MAIN_FUNCTIONS[name.decode()])
    job.send(b"+")
    job.close()
    return main(len(command), arguments)


def _read(job: socket.socket, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = job.recv(min(length - len(parts), 2**20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _place(files: list[int], numbers: list[int], job: socket.socket) -> socket.socket:
    """Give open files their numbers, and close all others but the job's socket, which moves away."""
    free = max([*numbers, *files]) + 1
    moved = [_above(descriptor, free) for descriptor in (job.detach(), *files)]
    for descriptor, number in zip(moved[1:], numbers, strict=True):
        os.dup2(descriptor, number)
    wanted = {*numbers, moved[0]}
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor not in wanted:
            with contextlib.suppress(OSError):
                os.close(descriptor)
    return socket.socket(fileno=moved[0])


def _above(descriptor: int, number: int) -> int:
    import fcntl  # noqa: PLC0415 (in the fork only)

    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, number)


def _collect(jobs: dict[int, socket.socket]) -> None:
    """Say how those ended that did."""
    for process in list(jobs):
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            continue
        # Until it is collected nobody else can have its number.
        _kill(process)
        _, status = os.waitpid(process, 0)
        with contextlib.suppress(OSError):
            jobs[process].send(_STATUS.pack(os.waitstatus_to_exitcode(status)), socket.MSG_NOSIGNAL)
        jobs.pop(process).close()


def _kill(process: int) -> None:
    """Kill a job and what it started; before it has a session of its own, it alone."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            kill(process, signal.SIGKILL)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        serve(connection, ctypes.CDLL(sys.argv[2]), float(sys.argv[3]))
