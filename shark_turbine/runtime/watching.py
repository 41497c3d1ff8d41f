# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Who wants to know of the calls of compiled functions, whoever makes them: for profilers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .function import LoadedFunction

Begin = Callable[["LoadedFunction", Sequence[Any]], Callable[[], None]]

watchers: list[Begin] = []
"""Empty but for moments: calls look whether it is."""


@contextmanager
def watching(watcher: Begin) -> Iterator[None]:
    """Have `watcher(function, values)` called when compiled code begins, and what it returns at its end."""
    watchers.append(watcher)
    try:
        yield
    finally:
        watchers.remove(watcher)


def begin(function: LoadedFunction, values: Sequence[Any]) -> Callable[[], None]:
    """Tell the watchers; return what tells them of the end."""
    ends = [watcher(function, values) for watcher in list(watchers)]

    def end() -> None:
        for each in ends:
            each()

    return end
