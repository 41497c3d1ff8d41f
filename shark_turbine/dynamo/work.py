# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How much a piece computes, and what follows: the compiler's options and the device."""

from __future__ import annotations

import math
from typing import Any

import torch

from .layout import hint
from .options import Options
from .pieces import Piece

aten = torch.ops.aten

# Below this much work waking the worker threads costs more than they save.
_SMALL_FLOPS = 4e6
_SMALL_ELEMENTS = 1e5

_MATMULS = {aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default}
_CONVOLUTIONS = {aten.convolution.default, aten.convolution_backward.default}


def device_of(piece: Piece, options: Options) -> str:
    """Return the URI of the device that runs a piece."""
    if options.threads is not None:
        return "local-sync" if options.threads == 1 else f"local-task?threads={options.threads}"
    flops, elements = _work(piece)
    is_small = flops < _SMALL_FLOPS and elements < _SMALL_ELEMENTS
    return "local-sync" if is_small else "local-task"


def recipe_of(piece: Piece, *, is_frozen: bool) -> tuple[str, ...]:
    """Return the compiler options that suit what a piece computes.

    Packing operands into tiles pays where weights are packed once, and for convolutions; packing
    the weights of a linear layer in every call costs more than it brings.
    """
    if any(node.target in _CONVOLUTIONS for node in piece.nodes):
        return ("--iree-opt-data-tiling", "--iree-global-opt-use-im2col-for-convs")
    return ("--iree-opt-data-tiling",) if is_frozen else ()


def _work(piece: Piece) -> tuple[float, float]:
    """Return floating-point operations of the products, and elements written, by the hints of sizes."""
    flops = elements = 0.0
    for node in piece.nodes:
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            continue
        written = _count(value)
        elements += written
        if node.target in _MATMULS:
            left: Any = node.args[-2]
            flops += 2.0 * written * hint(left.meta["val"].shape[-1])
        elif node.target in _CONVOLUTIONS:
            weight: Any = node.args[1]
            flops += 2.0 * written * _count(weight.meta["val"]) / hint(weight.meta["val"].shape[0])
    return flops, elements


def _count(value: torch.Tensor) -> float:
    return math.prod(hint(size) for size in value.shape)
