# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which operations can be compiled: a few that never are, and what the compiler was found to refuse.

There is no list of supported operators. What is not excluded here by its nature is compiled; when
that fails, `probing` finds out which operations are to blame, and `Knowledge` keeps it on disk.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import fx
from torch._ops import HigherOrderOperator, OpOverload

from shark_turbine import dtypes
from shark_turbine.errors import UnsupportedTypeError

from .knowledge import Knowledge
from .partition import OF_VALUES, Kind, is_symbolic

aten = torch.ops.aten

# The same elements in another shape, nothing left out: free in eager.
_RESHAPINGS = {
    aten.alias.default,
    aten.detach.default,
    aten.expand.default,
    aten.permute.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.t.default,
    aten.transpose.int,
    aten.unsqueeze.default,
    aten.view.default,
    aten._unsafe_view.default,
}
# Parts of a tensor: free in eager, but keep all of it alive.
_PARTS = {aten.select.int, aten.slice.Tensor}
# They speak of memory, which a compiled function lays out anew.
_OF_MEMORY = {
    aten.as_strided.default,
    aten.as_strided_scatter.default,
    aten.set_.source_Tensor,
    aten.resize_.default,
}


class Capability:
    """Says where each operation of one graph can run, and why not compiled."""

    def __init__(self, graph: fx.Graph, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._views = free_views(graph)
        self._refused: dict[fx.Node, str] = {}
        self.reasons: dict[fx.Node, str] = {}

    def refuse(self, nodes: Mapping[fx.Node, str]) -> None:
        """Have operations run in eager from now on, for the reasons given."""
        self._refused.update(nodes)

    def kind(self, node: fx.Node) -> Kind:
        """Return where a call of a function can run; `reasons` says why it is not compiled."""
        if node.target is operator.getitem:
            source = node.args[0]
            assert isinstance(source, fx.Node)
            return Kind.EAGER if source in self.reasons else Kind.COMPILED
        if is_symbolic(node):
            return Kind.SYMBOLIC
        reason = self._refused.get(node) or _by_nature(node) or self._knowledge.refusal(node)
        if reason is not None:
            self.reasons[node] = reason
            return Kind.ORDERED if _has_effects(node) else Kind.EAGER
        return Kind.VIEW if node in self._views else Kind.COMPILED


def free_views(graph: fx.Graph) -> frozenset[fx.Node]:
    """Return the views that eager makes for nothing: they touch no element and keep nothing alive.

    A part of a computed tensor is one only where the whole is returned too, or another part of it: in
    eager they share memory, and a program may write to one and read the other.
    """
    roots = {node: _root(node) for node in graph.nodes if node.target in _RESHAPINGS | _PARTS}
    returned = [
        roots.get(node, node)
        for node in graph.output_node().all_input_nodes
        if isinstance(node.meta.get("val"), torch.Tensor)
    ]
    kept = {root for root, times in Counter(returned).items() if times > 1}
    return frozenset(
        node
        for node, root in roots.items()
        if node.target in _RESHAPINGS or root.op == "placeholder" or root in kept
    )


def _root(node: fx.Node) -> fx.Node:
    """Return the tensor that a view shows."""
    while node.target in _RESHAPINGS | _PARTS:
        source = node.args[0]
        assert isinstance(source, fx.Node)
        node = source
    return node


def values(node: fx.Node) -> Iterator[Any]:
    """Yield what a node takes and gives: fake tensors and sizes."""
    for each in (*node.all_input_nodes, node):
        value = each.meta.get("val")
        yield from value if isinstance(value, (list, tuple)) else (value,)


def _by_nature(node: fx.Node) -> str | None:
    """Return why an operation never is compiled, None if it may be."""
    target = node.target
    if isinstance(target, HigherOrderOperator):
        return "an operator over functions"
    if not isinstance(target, OpOverload):
        return "a Python function"
    if torch.Tag.nondeterministic_seeded in target.tags:
        return "random numbers come from PyTorch's generator"
    if target in _OF_MEMORY:
        return "it speaks of memory, not of elements"
    if target in OF_VALUES:
        return "a shape or number depends on values"
    if target.namespace not in {"aten", "prims", "shark_turbine"}:
        return "a custom operator"
    if target._schema.is_mutable:
        return "it writes to its argument"
    if _gives_a_list(node):
        return "it gives a list"
    return next(filter(None, map(_excluded, values(node))), None)


def _excluded(value: Any) -> str | None:
    """Return why no compiled stage takes or gives a value."""
    if isinstance(value, torch.Tensor):
        if value.device.type != "cpu":
            return f"a tensor on {value.device.type}"
        if value.layout is not torch.strided:
            return "a sparse tensor"
        if value.is_complex():
            return "complex numbers"
        if value.is_neg():
            return "a negated view of complex numbers"
        try:
            dtypes.from_torch(value.dtype)
        except UnsupportedTypeError:
            return f"the dtype {str(value.dtype).removeprefix('torch.')}"
        if any(_is_unbacked(size) for size in value.shape):
            return "a shape or number depends on values"
    elif _is_unbacked(value):
        return "a shape or number depends on values"
    elif isinstance(value, torch.ScriptObject):
        return "a script object"
    return None


def _is_unbacked(size: Any) -> bool:
    return isinstance(size, (torch.SymInt, torch.SymFloat, torch.SymBool)) and (
        not size.node.has_hint()
    )


def _gives_a_list(node: fx.Node) -> bool:
    """Tell whether a node gives several values that someone takes as one."""
    return isinstance(node.meta.get("val"), (list, tuple)) and any(
        user.target is not operator.getitem for user in node.users
    )


def _has_effects(node: fx.Node) -> bool:
    target = node.target
    if isinstance(target, OpOverload):
        return torch.Tag.nondeterministic_seeded in target.tags or target._schema.is_mutable
    return True
