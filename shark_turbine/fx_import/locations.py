# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which line of the user's source a graph node came from, and which `nn.Module` it belongs to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import fx

from shark_turbine import ir
from shark_turbine.dispatches import MODULE_PREFIX
from shark_turbine.errors import SourceLocation

_FRAME = re.compile(r'File "([^"]+)", line ([0-9]+)')
_TORCH_FOLDER = str(Path(torch.__file__).parent)
# TorchDynamo says how it reaches a module: L['self'].layers[0], or G['model'] for a global. A module of
# PyTorch's own that is compiled by itself is L['fn'].
_SELF = re.compile(r"^L\['(?:self|fn)'\]\.?")
_NAMED = re.compile(r"^[LG]\['([^']*)'\]")
_ITEM = re.compile(r"(?:\._modules)?\['?([^'\]]*)'?\]")


def source_location(node: fx.Node) -> SourceLocation | None:
    """Return the innermost line outside PyTorch, or inside it where there is no other."""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    outside = [frame for frame in frames if not frame[0].startswith(_TORCH_FOLDER)]
    chosen = (outside or frames)[-1:]
    return SourceLocation(chosen[0][0], int(chosen[0][1])) if chosen else None


def module_path(node: fx.Node) -> str | None:
    """Return the path of the innermost `nn.Module` that a node belongs to, such as `layers.0.norm`.

    The root is `""`; None where no module is known. A backward node belongs to its forward one's.
    """
    stack = node.meta.get("nn_module_stack") or node.meta.get("fwd_nn_module_stack")
    if not stack:
        return None
    path = str(next(reversed(stack.values()))[0])
    path = _NAMED.sub(r"\1", _SELF.sub("", path))
    return _ITEM.sub(r".\1", path)


def with_module_path(location: Any, node: fx.Node) -> Any:
    """Return an MLIR location with the path of the node's module around it, where there is one."""
    path = module_path(node)
    return (
        location
        if path is None
        else ir.Location.name(f"{MODULE_PREFIX}{path}", location, location.context)
    )
