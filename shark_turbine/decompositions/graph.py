# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writing operations into a graph that has already been traced, with the types that tracing would give."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from shark_turbine.errors import SourceLocation

_FRAME = re.compile(r'File "([^"]+)", line ([0-9]+)')
_TORCH_FOLDER = str(Path(torch.__file__).parent)


class Builder:
    """Writes operations in front of one node; they inherit its source line."""

    def __init__(self, before: fx.Node) -> None:
        self.node = before
        self._graph = before.graph

    def call(self, target: Any, *arguments: Any, **keywords: Any) -> fx.Node:
        """Write one operation and return its node."""
        with self._graph.inserting_before(self.node):
            written = self._graph.call_function(target, arguments, keywords)
        values = fx.map_arg(arguments, value_of)
        keyword_values = fx.map_arg(keywords, value_of)
        mode = fake_mode(self._graph)
        with mode, torch.no_grad():
            written.meta["val"] = target(*values, **keyword_values)
        for key in ("stack_trace", "nn_module_stack"):
            if key in self.node.meta:
                written.meta[key] = self.node.meta[key]
        return written

    def size(self, tensor: fx.Node, dim: int) -> int | fx.Node:
        """Return a size of a tensor: the number where it is known, else an operation."""
        size = tensor.meta["val"].shape[dim]
        if isinstance(size, int):
            return size
        return self.call(torch.ops.aten.sym_size.int, tensor, dim)

    def replace(self, new: fx.Node) -> None:
        """Put `new` in the place of this builder's node, under its name: signatures refer to names."""
        name = self.node.name
        self.node.replace_all_uses_with(new)
        self._graph.erase_node(self.node)
        new.name = name


def value_of(node: fx.Node) -> Any:
    """Return what tracing knows of a node's value: a fake tensor, a number, or a sequence of them."""
    return node.meta["val"]


def fake_mode(graph: fx.Graph) -> FakeTensorMode:
    """Return the mode under which a graph was traced; a new one for a graph without tensors."""
    for node in graph.nodes:
        for value in _leaves(node.meta.get("val")):
            if isinstance(value, FakeTensor):
                return value.fake_mode
    return FakeTensorMode()


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def graphs(module: fx.GraphModule) -> Iterator[fx.GraphModule]:
    """Yield a graph module and those of its loops and branches."""
    yield module
    for child in module.children():
        if isinstance(child, fx.GraphModule):
            yield from graphs(child)


def calls(graph: fx.Graph) -> list[fx.Node]:
    """Return the operations as they are now: the graph may be changed while walking over them."""
    return [node for node in graph.nodes if node.op == "call_function"]


def source_line(node: fx.Node) -> str:
    """Return `<file>:<line>` of the innermost frame outside PyTorch; empty where none is known.

    The file is named as it is imported: the text goes into artifacts.
    """
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    outside = [frame for frame in frames if not frame[0].startswith(_TORCH_FOLDER)]
    chosen = (outside or frames)[-1:]
    return str(SourceLocation(chosen[0][0], int(chosen[0][1])).without_folders()) if chosen else ""
