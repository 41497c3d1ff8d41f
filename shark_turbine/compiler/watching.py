# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How far the compiler is, for who wants to show it.

The compiler itself does not say. It writes the module down when its kernels are formed (see
`dispatch_map`), and that a file is there can be seen while it goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

KERNELS = "kernels"
CODE = "code"

Listener = Callable[[str], None]

_listeners: list[Listener] = []
# How often a thread looks, in seconds; nobody notices less, and nothing is slower for it.
_GLANCE = 0.05


@contextmanager
def watching_phases(listener: Listener) -> Iterator[None]:
    """Have `listener(phase)` called when a phase of a compilation begins, from any thread.

    `kernels`: torch operators are lowered, fused and divided into kernels; `code`: machine code is
    generated for them. Both begin again where a more cautious recipe is tried. A vmfb that is found in
    the cache has neither.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextmanager
def watched(folder: str) -> Iterator[None]:
    """Tell the listeners of a compilation that writes the module to a folder on its way."""
    if not _listeners:
        yield
        return
    _tell(KERNELS)
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(Path(folder), over), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _watch(folder: Path, over: threading.Event) -> None:
    while not over.wait(_GLANCE):
        if any(folder.rglob("*.mlir")):
            _tell(CODE)
            return


def _tell(phase: str) -> None:
    for listener in list(_listeners):
        listener(phase)
