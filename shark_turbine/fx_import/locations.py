# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which line of the user's source a graph node came from."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import fx

from shark_turbine.errors import SourceLocation

_FRAME = re.compile(r'File "([^"]+)", line ([0-9]+)')
_TORCH_FOLDER = str(Path(torch.__file__).parent)


def source_location(node: fx.Node) -> SourceLocation | None:
    """Return the innermost line outside PyTorch, or inside it where there is no other."""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    outside = [frame for frame in frames if not frame[0].startswith(_TORCH_FOLDER)]
    chosen = (outside or frames)[-1:]
    return SourceLocation(chosen[0][0], int(chosen[0][1])) if chosen else None
