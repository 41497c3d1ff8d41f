# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Training that leaves Python: a model, a loss and an optimizer become functions over shared state."""

from .entry import export_training, training_module

__all__ = ["export_training", "training_module"]
