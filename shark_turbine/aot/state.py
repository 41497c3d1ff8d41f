# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The tensors that `state_dict()` of a module holds, and which of them are one."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .spec import tensor_identity


def saved_tensors(module: torch.nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
    """Return parameters and persistent buffers by qualified name, tied ones under each name.

    These are the module's own tensor objects, where `state_dict()` gives new ones.
    """
    found: dict[str, torch.Tensor] = {}
    for path, child in module.named_modules(prefix=prefix, remove_duplicate=False):
        dot = f"{path}." if path else ""
        own: dict[str, torch.Tensor] = {}
        own.update(child.named_parameters(recurse=False, remove_duplicate=False))
        for name, buffer in child.named_buffers(recurse=False, remove_duplicate=False):
            if name not in child._non_persistent_buffers_set:
                own[name] = buffer
        found.update((f"{dot}{name}", tensor) for name, tensor in own.items())
    return found


def tied_names(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[str, ...]]:
    """Return for each name all names of the same tensor, in order."""
    groups: dict[object, list[str]] = {}
    for name, tensor in tensors.items():
        groups.setdefault(tensor_identity(tensor), []).append(name)
    return {name: tuple(group) for group in groups.values() for name in group}
