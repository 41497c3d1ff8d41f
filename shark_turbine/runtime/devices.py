# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One VM instance for the process and one device per URI, made under a lock, and safe across fork."""

from __future__ import annotations

import atexit
import ctypes
import os
import re
import sys
import threading
import time
import weakref
from dataclasses import dataclass
from types import CodeType, FrameType, FunctionType
from typing import Any, Protocol

import iree.runtime as iree

from ..errors import LoadError, TurbineError
from .failures import GPUS, on_a_gpu

KNOWN = ("local-task", "local-sync")
# Memory that a call has used stays for the next one of the same sizes: to get each page of it from the
# system again takes as long as to compute with it (a convolution of 8 images: 66 ms, 37 so). IREE's
# form: any heap = the largest buffer; bytes in all; free buffers at once.
_ALLOCATOR = f"caching:*=*;{2**30};64"
_LOCAL_TASK = re.compile(r"local-task(\?threads=(?P<count>[1-9][0-9]{0,3}))?")


class Closable(Protocol):
    """What holds native objects and must let go of them before the interpreter ends."""

    def close(self) -> None: ...

    def after_fork(self) -> None: ...


@dataclass(slots=True)
class Device:
    """A HAL device with its HAL module; `lost` once a fork has left its threads behind."""

    uri: str
    hal: Any
    module: Any
    lost: bool = False

    def check(self) -> None:
        """Raise where this process is a fork that came after the device."""
        if self.lost:
            raise _lost(self.uri)


_lock = threading.RLock()
_devices: dict[str, Device] = {}
_instances: list[Any] = []
_open: weakref.WeakSet[Any] = weakref.WeakSet()
_exiting = threading.Event()
_calling: set[CodeType] = set()

# Seconds without a move after which a thread is taken to sleep or to wait.
_REST = 0.025


def instance() -> Any:
    """Return the VM instance of the process."""
    with _lock:
        if not _instances:
            _instances.append(iree.VmInstance())
        return _instances[0]


def device(uri: str) -> Device:
    """Return the device of a URI, such as `local-task`, `local-task?threads=2` or `local-sync`.

    Raises:
        LoadError: there is no such device.
        TurbineError: it was made before this process was forked.
    """
    with _lock:
        found = _devices.get(uri)
        if found is None:
            found = _devices[uri] = _make(uri)
    found.check()
    return found


def drivers() -> tuple[str, ...]:
    """Return the names of what IREE's runtime has drivers for; the machine may lack the device."""
    return tuple(sorted(iree.query_available_drivers()))


def tool_flags(uri: str) -> list[str]:
    """Return the options that give one of IREE's tools the device of a URI."""
    threads = _LOCAL_TASK.fullmatch(uri)
    if threads is None:
        return [f"--device={uri}"]
    flags = _task_flags(threads["count"] or "0")
    return ["--device=local-task", *(f"{name}={value}" for name, value in flags.items())]


def threads_of(uri: str) -> int:
    """Return how many threads the device of a URI computes with."""
    match = _LOCAL_TASK.fullmatch(uri)
    if match is None:
        return 1
    return int(match["count"] or 0) or len(os.sched_getaffinity(0))


def register(holder: Closable) -> None:
    """Have `holder` closed at exit, and told of a fork."""
    _open.add(holder)


def waits_for(function: FunctionType) -> None:
    """Have the exit of the interpreter wait for threads that are inside `function`."""
    _calling.add(function.__code__)


def expects_leaks() -> None:
    """Have the bindings say nothing of objects that outlive the interpreter."""
    iree._binding.disable_leak_checker()


def _make(uri: str) -> Device:
    vm = instance()
    try:
        threads = _LOCAL_TASK.fullmatch(uri)
        hal = _other(uri) if threads is None else _local_task(threads["count"] or "0")
    except Exception as error:
        raise LoadError(
            "there is no such device",
            got=f"device={uri!r}",
            expected=" or ".join(f"device={known!r}" for known in KNOWN),
            fix=on_a_gpu(uri)
            if uri in GPUS
            else "device='local-task' uses every core, 'local-task?threads=2' two threads, "
            "'local-sync' the calling thread",
        ) from error
    # Results may live longer than any object of this package, and end in their device's hands: it
    # is never destroyed, and the bindings need not say so.
    expects_leaks()
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(hal))
    return Device(uri, hal, iree.create_hal_module(vm, hal))


def _local_task(threads: str) -> Any:
    """Make a device with worker threads of its own, 0 for one on each core.

    IREE takes their number and habits from flags of the process, when a driver is made. Workers that
    look for work for a moment before they sleep are woken in 12 µs, not in 27.
    """
    flags = _task_flags(threads)
    parse = iree._binding.parse_flags
    try:
        parse(*(f"{name}={value}" for name, value in flags.items()))
        return iree._binding.create_hal_driver("local-task").create_default_device([_ALLOCATOR])
    finally:
        parse(*(f"{name}=0" for name in flags))


def _other(uri: str) -> Any:
    if uri == "local-sync":
        return iree._binding.create_hal_driver(uri).create_default_device([_ALLOCATOR])
    return iree.get_device(uri)


def _task_flags(threads: str) -> dict[str, str]:
    return {"--task_topology_group_count": threads, "--task_worker_spin_us": "50"}


def _lost(uri: str) -> TurbineError:
    return TurbineError(
        f"this process was forked from one that already used device {uri!r}, whose worker threads "
        "did not come along: a call would hang",
        fix="start processes with multiprocessing.get_context('spawn'); or use no worker threads: "
        "load(..., device='local-sync'), torch.compile(..., options={'threads': 1})",
    )


def _after_fork_in_child() -> None:
    for found in _devices.values():
        found.lost = not found.uri.startswith("local-sync")
    if _devices:
        expects_leaks()
    for holder in list(_open):
        holder.after_fork()


def park() -> None:
    """Hold a daemon thread for ever once the interpreter is on its way out; else return at once."""
    if _exiting.is_set() and threading.current_thread() is not threading.main_thread():
        threading.Event().wait()


def _close_all() -> None:
    """Let go of everything native while the interpreter still works.

    Daemon threads may be inside a call. Their calls are waited for (to be killed in there aborts
    the process), and the threads are then left where they stand.
    """
    _exiting.set()
    if _open:
        for holder in list(_open):
            holder.close()
        if threading.active_count() > 1:
            expects_leaks()
            _wait_for_threads()
    _devices.clear()
    _instances.clear()


def _wait_for_threads(longest_call: float = 60.0, longest_walk: float = 0.5) -> None:
    """Wait until no other thread is in a call, and none is on its way out of one, in seconds.

    A thread that has returned from a call drops the tensors of it: PyTorch gives up the interpreter
    and takes it back to do so, where a thread cannot be ended either. So a thread counts as at rest
    only once it stands in `park`, or has not moved for a while.
    """
    start = time.monotonic()
    seen: dict[int, tuple[int, int, float]] = {}
    while (now := time.monotonic()) < start + longest_call:
        waits = False
        for thread, frame in sys._current_frames().items():
            if thread == threading.get_ident() or _is_parked(frame):
                continue
            place = (id(frame), frame.f_lasti)
            if seen.get(thread, ())[:2] != place:
                seen[thread] = (*place, now)
            moves = now < seen[thread][2] + _REST and now < start + longest_walk
            waits = waits or moves or _is_calling(frame)
        if not waits:
            return
        time.sleep(0.001)


def _is_parked(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code is park.__code__:
            return True
        frame = frame.f_back
    return False


def _is_calling(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code in _calling:
            return True
        frame = frame.f_back
    return False


os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)
os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_close_all)
