# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A compiled stage as a graph of its own, which takes and gives row-major memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from .layout import Order, inverse, memory_order
from .partition import is_symbolic

aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Piece:
    """Some operations of a graph, and what crosses their border.

    `inputs` and `outputs` are nodes of the whole graph. Those whose memory is not row-major cross
    the border as `tensor.permute(order)`.
    """

    owner: fx.GraphModule
    nodes: tuple[fx.Node, ...]
    inputs: tuple[fx.Node, ...]
    outputs: tuple[fx.Node, ...]
    input_orders: tuple[Order | None, ...]
    output_orders: tuple[Order | None, ...]


def cut(owner: fx.GraphModule, nodes: Sequence[fx.Node], outputs: Sequence[fx.Node]) -> Piece:
    """Return the piece that computes `outputs` with `nodes` of a graph, in the graph's order.

    Arithmetic on sizes is not among the nodes: the piece does what it needs of it by itself.
    """
    inputs = _Inputs(nodes)
    for node in (*nodes, *outputs):
        inputs.add_sources(node)
    found = tuple(inputs.found)
    return Piece(
        owner,
        tuple(nodes),
        found,
        tuple(outputs),
        tuple(map(_order, found)),
        tuple(map(_order, outputs)),
    )


def to_graph(piece: Piece) -> fx.GraphModule:
    """Write a piece as a new graph."""
    return _Writer(piece).write()


def _order(node: fx.Node) -> Order | None:
    value = node.meta.get("val")
    return memory_order(value) if isinstance(value, torch.Tensor) else None


class _Inputs:
    """Collects what nodes read that is not among them: tensors first come, then sizes."""

    def __init__(self, nodes: Sequence[fx.Node]) -> None:
        self._seen: set[fx.Node] = set(nodes)
        self._tensors: list[fx.Node] = []
        self._sizes: list[fx.Node] = []

    def add_sources(self, node: fx.Node) -> None:
        for source in node.all_input_nodes:
            if source in self._seen:
                continue
            self._seen.add(source)
            if is_symbolic(source) and source.op == "call_function":
                self.add_sources(source)
            elif source.op == "get_attr" or _is_constant(source):
                continue
            elif isinstance(source.meta["val"], torch.Tensor):
                self._tensors.append(source)
            else:
                self._sizes.append(source)

    @property
    def found(self) -> list[fx.Node]:
        """The inputs, without the sizes that are dims of tensors among them."""
        return [*self._tensors, *(size for size in self._sizes if self._dim(size) is None)]

    def _dim(self, size: fx.Node) -> tuple[fx.Node, int] | None:
        return dim_of(size, self._tensors)


def dim_of(size: fx.Node, tensors: Sequence[fx.Node]) -> tuple[fx.Node, int] | None:
    """Return the tensor and dim that have a symbolic size by definition, None where there is none."""
    value = size.meta["val"]
    if not isinstance(value, torch.SymInt):
        return None
    for tensor in tensors:
        for dim, other in enumerate(tensor.meta["val"].shape):
            if isinstance(other, torch.SymInt) and str(other.node.expr) == str(value.node.expr):
                return tensor, dim
    return None


def _is_constant(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return node.op == "placeholder" and (value is None or type(value) in {bool, int, float, str})


class _Writer:
    """Copies nodes into a new graph."""

    def __init__(self, piece: Piece) -> None:
        self._piece = piece
        self._graph = fx.Graph()
        self._copies: dict[fx.Node, Any] = {}
        self._attributes: dict[str, Any] = {}
        self._members = set(piece.nodes)

    def write(self) -> fx.GraphModule:
        piece, graph = self._piece, self._graph
        placeholders = [graph.placeholder(node.name) for node in piece.inputs]
        for node, placeholder, order in zip(
            piece.inputs, placeholders, piece.input_orders, strict=True
        ):
            value = node.meta["val"]
            placeholder.meta["val"] = value if order is None else value.permute(order)
            self._copies[node] = self._permuted(
                placeholder, None if order is None else inverse(order)
            )
        for node in piece.nodes:
            self._copy(node)
        results = [
            self._permuted(self._source(node), order)
            for node, order in zip(piece.outputs, piece.output_orders, strict=True)
        ]
        graph.output(tuple(results))
        return fx.GraphModule(self._attributes, graph)

    def _permuted(self, node: Any, order: Order | None) -> Any:
        if order is None:
            return node
        permuted = self._graph.call_function(aten.permute.default, (node, list(order)))
        permuted.meta["val"] = node.meta["val"].permute(order)
        return permuted

    def _source(self, node: fx.Node) -> Any:
        """Return the copy of what a node reads, made now where it is arithmetic on sizes."""
        if node in self._copies or node in self._members:
            return self._copies[node]
        if node.op == "get_attr":
            self._attributes[str(node.target)] = _attribute(self._piece.owner, str(node.target))
            return self._copy(node)
        if _is_constant(node):
            return node.meta.get("val")
        if node.op == "call_function":
            return self._copy(node)
        return self._dim(node)

    def _copy(self, node: fx.Node) -> fx.Node:
        copies = {source: self._source(source) for source in node.all_input_nodes}
        copy = self._graph.node_copy(node, lambda source: copies[source])
        self._copies[node] = copy
        return copy

    def _dim(self, size: fx.Node) -> Any:
        tensors = [
            node for node in self._piece.inputs if isinstance(node.meta["val"], torch.Tensor)
        ]
        place = dim_of(size, tensors)
        assert place is not None, size
        tensor, dim = place
        copy = self._graph.call_function(aten.sym_size.int, (self._copies[tensor], dim))
        copy.meta["val"] = size.meta["val"]
        self._copies[size] = copy
        return copy


def _attribute(owner: Any, target: str) -> Any:
    for name in target.split("."):
        owner = getattr(owner, name)
    return owner
