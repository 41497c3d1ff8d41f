# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Weights in huge pages, for calls that read all of them once: a product with one row of an input.

On Linux, most distributions give pages of 2 MiB only to memory that asks for them
(`/sys/kernel/mm/transparent_hugepage/enabled` is `madvise`), and IREE does not ask. What an artifact
allocates while it starts, mostly weights in the order in which the CPU reads them, is asked for here.
An MLP of 96 MiB, batch 1, on two threads: 2.3 ms a call instead of 3.5.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# From this size on a piece of memory counts: smaller ones are read from the processor's cache.
LARGE = 8 * 2**20
_PAGE = 2 * 2**20
# madvise(2): make huge pages of what is there now, not at the next touch. Linux 6.1.
_MADV_COLLAPSE = 25
_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_MAPPING = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) rw-p [0-9a-f]+ 00:00 0 +(?:\[heap\])?$", re.MULTILINE
)
_RESIDENT = re.compile(r"^Rss: +(\d+) kB$", re.MULTILINE)

Range = tuple[int, int]


def allocate(size: int) -> memoryview:
    """Return zeroed, page-aligned, private memory, in huge pages where it is large."""
    if not size:
        return memoryview(bytearray())
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if size >= LARGE and are_given():
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)


@contextmanager
def for_new_memory() -> Iterator[None]:
    """Put what the process allocates inside into huge pages, in the end: about 1 ms for each MiB."""
    if not are_given():
        yield
        return
    before = _large_mappings()
    yield
    # Where it cannot be done the program is as right as before, and its weights in small pages.
    with suppress(OSError, ValueError):
        _collapse_new(before)


def are_given() -> bool:
    """Say whether the system gives huge pages to who asks, and the user did not say otherwise."""
    if os.environ.get("SHARK_TURBINE_HUGE_PAGES") == "0" or not hasattr(mmap, "MADV_HUGEPAGE"):
        return False
    try:
        return "[madvise]" in _SETTING.read_text()
    except OSError:
        return False


def _collapse_new(before: list[Range]) -> None:
    for found in _large_mappings():
        if found not in before and _is_in_use(found):
            for start, end in _without(found, before):
                _collapse(start, end)


def _large_mappings() -> list[Range]:
    """Return the private writable memory of the process that is no file's."""
    found = _MAPPING.findall(Path("/proc/self/maps").read_text())
    ranges = [(int(start, 16), int(end, 16)) for start, end in found]
    return [(start, end) for start, end in ranges if end - start >= LARGE]


def _is_in_use(mapping: Range) -> bool:
    """Say whether nearly all of a mapping was touched: stacks of threads are not, and stay small."""
    start, end = mapping
    text = Path("/proc/self/smaps").read_text()
    _, _, rest = text.partition(f"{start:x}-{end:x} ")
    resident = _RESIDENT.search(rest)
    return resident is not None and int(resident[1]) * 1024 >= 0.9 * (end - start)


def _without(mapping: Range, others: list[Range]) -> list[Range]:
    """Return the parts of a mapping that were not there before: neighbours are merged into one."""
    parts: list[Range] = []
    position, last = mapping
    for start, end in sorted(others):
        if end <= position or start >= last:
            continue
        if start > position:
            parts.append((position, start))
        position = max(position, end)
    return [*parts, (position, last)] if position < last else parts


def _collapse(start: int, end: int) -> None:
    start, end = -(-start // _PAGE) * _PAGE, end // _PAGE * _PAGE
    if end <= start:
        return
    advise = ctypes.CDLL(None, use_errno=True).madvise
    for advice in (mmap.MADV_HUGEPAGE, _MADV_COLLAPSE):
        # What the kernel cannot give it leaves as it is.
        advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), ctypes.c_int(advice))
