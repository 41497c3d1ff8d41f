# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One VM instance for the process and one device per URI, made under a lock, and safe across fork."""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import weakref
from dataclasses import dataclass
from typing import Any, Protocol

import iree.runtime as iree

from ..errors import LoadError, TurbineError

KNOWN = ("local-task", "local-sync")


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


def instance() -> Any:
    """Return the VM instance of the process."""
    with _lock:
        if not _instances:
            _instances.append(iree.VmInstance())
        return _instances[0]


def device(uri: str) -> Device:
    """Return the device of a URI, such as `local-task` or `local-sync`.

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


def register(holder: Closable) -> None:
    """Have `holder` closed at exit, and told of a fork."""
    _open.add(holder)


def _make(uri: str) -> Device:
    vm = instance()
    try:
        hal = iree.get_device(uri)
    except Exception as error:
        raise LoadError(
            "there is no such device",
            got=f"device={uri!r}",
            expected=" or ".join(f"device={known!r}" for known in KNOWN),
            fix="device='local-task' uses every core, device='local-sync' the calling thread",
        ) from error
    return Device(uri, hal, iree.create_hal_module(vm, hal))


def _lost(uri: str) -> TurbineError:
    return TurbineError(
        f"this process was forked from one that already used device {uri!r}, whose worker threads "
        "did not come along: a call would hang",
        fix="start processes with multiprocessing.get_context('spawn'), or load(..., "
        "device='local-sync'), which has no threads",
    )


def _after_fork_in_child() -> None:
    for found in _devices.values():
        if found.uri.startswith("local-sync"):
            continue
        found.lost = True
        # To destroy the device would wait for threads that are not in this process.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(found.hal))
        iree._binding.disable_leak_checker()
    for holder in list(_open):
        holder.after_fork()


def _close_all() -> None:
    for holder in list(_open):
        holder.close()
    _devices.clear()
    _instances.clear()


os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)
os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_close_all)
