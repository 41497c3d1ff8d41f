# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Saying that a module which is exported is still in training mode."""

from __future__ import annotations

import warnings

import torch
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd


def warn_of_training_mode(module: torch.nn.Module, label: str) -> None:
    """Warn where a module's layers compute otherwise in training than in inference.

    `torch.export` and `torch.onnx.export` keep the mode that a module is in; so do we.
    """
    kinds = sorted({type(layer).__name__ for layer in module.modules() if _differs(layer)})
    if not kinds:
        return
    warnings.warn(
        f"{label} is in training mode, and {', '.join(kinds)} will compute as in training: random zeros, "
        "statistics of the batch. For inference call .eval() on it before the export.",
        UserWarning,
        stacklevel=3,
    )


def _differs(layer: torch.nn.Module) -> bool:
    if not layer.training:
        return False
    if isinstance(layer, _NormBase):
        return layer.track_running_stats
    if isinstance(layer, _DropoutNd):
        return layer.p > 0
    return isinstance(layer, torch.nn.RReLU)
