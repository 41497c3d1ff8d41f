# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A model that is exported as it trains, most often because `.eval()` was forgotten."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from shark_turbine.errors import TrainingModeWarning

_MOST_NAMED = 3


def warn_of_training_mode(model: torch.nn.Module, label: str) -> None:
    """Warn once of the layers that compute something else in training mode than after `.eval()`."""
    layers = list(_layers_in_training(model))
    if not layers:
        return
    named = ", ".join(layers[:_MOST_NAMED])
    more = len(layers) - _MOST_NAMED
    warnings.warn(
        f"{label} is exported in training mode, and so computes something else than in use: "
        f"{named}{f' and {more} more' if more > 0 else ''}. Call model.eval() before the export.",
        TrainingModeWarning,
        stacklevel=3,  # the line that calls `aot.export`
    )


def _layers_in_training(model: torch.nn.Module) -> Iterator[str]:
    for path, layer in model.named_modules():
        # Without statistics a BatchNorm is the same in both modes, and so is a dropout of nothing.
        drops = isinstance(layer, _DropoutNd) and layer.p > 0
        learns = isinstance(layer, _BatchNorm) and layer.running_mean is not None
        if layer.training and (drops or learns):
            yield f"{path or 'the model'} ({type(layer).__name__})"
