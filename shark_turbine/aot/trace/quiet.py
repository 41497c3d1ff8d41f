# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""torch's own chatter while it traces: what it prints is raised here as an error, or is no news."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# They print a graph or a stack for failures that are raised as well.
_CHATTY = (
    "torch._dynamo",
    "torch._guards",
    "torch._subclasses.fake_tensor",
    "torch.export",
    "torch.fx.experimental.symbolic_shapes",
)


@contextmanager
def quiet_torch() -> Iterator[None]:
    """Keep torch's warnings and logged failures to itself for the length of a `with` block.

    Loggers that the user turned on (`TORCH_LOGS`) stay on.
    """
    loggers = [logging.getLogger(name) for name in _CHATTY]
    quieted = [logger for logger in loggers if logger.getEffectiveLevel() >= logging.WARNING]
    levels = [logger.level for logger in quieted]
    for logger in quieted:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(quieted, levels, strict=True):
            logger.setLevel(level)
