# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How much a piece computes, and what follows: the compiler's options and the device."""

from __future__ import annotations

import math
import os
from typing import Any

import torch

from .layout import hint
from .options import Options
from .pieces import Piece

aten = torch.ops.aten

# Microseconds of one thread, from which on waking the others pays: measured on two cores.
_SMALL = 100.0
_FLOPS, _ELEMENTS, _FUNCTIONS = 100e3, 20e3, 600.0  # done in a microsecond

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


def recipe_of(piece: Piece, *, is_frozen: bool) -> tuple[str, ...]:
    """Return the compiler options that suit what a piece computes.

    Packing operands into tiles pays where weights are packed once, and for convolutions; packing
    the weights of a linear layer in every call costs more than it brings. The code generator
    cannot pack some operands of dynamic sizes, so it does without where a size is not known.
    """
    packed = () if _is_dynamic(piece) else ("--iree-opt-data-tiling",)
    if any(node.target in _CONVOLUTIONS for node in piece.nodes):
        return (*packed, "--iree-global-opt-use-im2col-for-convs")
    return packed if is_frozen else ()


def _is_dynamic(piece: Piece) -> bool:
    values = (node.meta.get("val") for node in (*piece.inputs, *piece.nodes))
    return any(
        isinstance(value, torch.SymInt)
        or (isinstance(value, torch.Tensor) and not _is_static(value))
        for value in values
    )


def _is_static(tensor: torch.Tensor) -> bool:
    return all(isinstance(size, int) for size in tensor.shape)


def _microseconds(piece: Piece) -> float:
    """Estimate what a piece takes on one thread, by the hints of its sizes."""
    total = 0.0
    for node in piece.nodes:
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            continue
        written = _count(value)
        total += written / (_FUNCTIONS if node.target in _SLOW else _ELEMENTS)
        if node.target in _MATMULS:
            left: Any = node.args[-2]
            total += 2.0 * written * hint(left.meta["val"].shape[-1]) / _FLOPS
        elif node.target in _CONVOLUTIONS:
            weight: Any = node.args[1]
            inner = _count(weight.meta["val"]) / max(hint(weight.meta["val"].shape[0]), 1)
            total += 2.0 * written * inner / _FLOPS
    return total


def _count(value: torch.Tensor) -> float:
    return math.prod(hint(size) for size in value.shape)
