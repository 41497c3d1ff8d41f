# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tensors in memory as the external parameters of a module."""

from __future__ import annotations

from collections.abc import Mapping

import iree.runtime as iree
import torch


def parameters_in_memory(tensors: Mapping[str, torch.Tensor]) -> iree.ParameterIndex:
    """Return an index over the memory of tensors, for `load(..., parameters={scope: index})`.

    Nothing is copied here where a tensor is contiguous, so the tensors must keep their memory, and
    it should not change, as long as a module is loaded from the index.

    Args:
        tensors: from keys to tensors on the CPU.
    """
    index = iree.ParameterIndex()
    for key, tensor in tensors.items():
        flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        index.add_buffer(key, flat.numpy())
    return index
