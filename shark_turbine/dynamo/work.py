# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How much a piece computes, and what follows: the device that runs it."""

from __future__ import annotations

import math
import os
from typing import Any

import torch

from shark_turbine.compiler.work import ELEMENTS, FLOPS, FUNCTIONS

from .layout import hint
from .options import Options
from .pieces import Piece

aten = torch.ops.aten

# Microseconds of one thread, from which on waking the others pays: measured on two cores.
_SMALL = 100.0

_MATMULS = {aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default}
_SLOW = {
    aten.exp.default,
    aten.log.default,
    aten.erf.default,
    aten.gelu.default,
    aten.tanh.default,
    aten.sigmoid.default,
    aten.sin.default,
    aten.cos.default,
    aten.pow.Tensor_Tensor,
    aten._softmax.default,
    aten._log_softmax.default,
}
_CONVOLUTIONS = {aten.convolution.default, aten.convolution_backward.default}


def device_of(piece: Piece, options: Options) -> str:
    """Return the URI of the device that runs a piece."""
    if options.threads is not None:
        return "local-sync" if options.threads == 1 else f"local-task?threads={options.threads}"
    return "local-sync" if os.cpu_count() == 1 or _microseconds(piece) < _SMALL else "local-task"


def _microseconds(piece: Piece) -> float:
    """Estimate what a piece takes on one thread, by the hints of its sizes."""
    total = 0.0
    for node in piece.nodes:
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            continue
        written = _count(value)
        total += written / (FUNCTIONS if node.target in _SLOW else ELEMENTS)
        if node.target in _MATMULS:
            left: Any = node.args[-2]
            total += 2.0 * written * hint(left.meta["val"].shape[-1]) / FLOPS
        elif node.target in _CONVOLUTIONS:
            weight: Any = node.args[1]
            inner = _count(weight.meta["val"]) / max(hint(weight.meta["val"].shape[0]), 1)
            total += 2.0 * written * inner / FLOPS
    return total


def _count(value: torch.Tensor) -> float:
    return math.prod(hint(size) for size in value.shape)
