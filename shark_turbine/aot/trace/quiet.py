# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""torch's own chatter while it traces: what it prints is raised here as an error, or is no news."""

from __future__ import annotations

import io
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import TextIO

# They print a graph or a stack for failures that are raised as well.
_CHATTY = (
    "torch._dynamo",
    "torch._guards",
    "torch._subclasses.fake_tensor",
    "torch.export",
    "torch.fx.experimental.symbolic_shapes",
)


# torch traces one program at a time: threads that export together break its tables of operators.
_tracing = threading.RLock()


@contextmanager
def quiet_torch() -> Iterator[None]:
    """Trace with torch: its warnings and logged failures are kept to itself, other threads wait.

    Loggers that the user turned on (`TORCH_LOGS`) stay on.
    """
    with _tracing:
        yield from _quiet()


def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _CHATTY]
    quieted = [logger for logger in loggers if logger.getEffectiveLevel() >= logging.WARNING]
    levels = [logger.level for logger in quieted]
    for logger in quieted:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(_WithoutGraphs(sys.stderr)):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(quieted, levels, strict=True):
            logger.setLevel(level)


class _WithoutGraphs(io.TextIOBase):
    """The error stream, less the half-traced graphs that torch.export prints when it fails."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._left_out = False

    def write(self, text: str) -> int:
        # `print` writes the end of a line by itself.
        is_graph = "def forward(self" in text
        if not is_graph and not (self._left_out and text == "\n"):
            self._stream.write(text)
        self._left_out = is_graph
        return len(text)

    def flush(self) -> None:
        self._stream.flush()
