# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From stages to a graph of calls: compiled pieces, and the operations between them in eager."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.fx.graph import _BoxedCodeGen

from .partition import Stage
from .pieces import Piece, cut

Run = Callable[[Sequence[Any]], list[Any]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What runs, in order: pieces, and single operations in eager."""

    graph_module: fx.GraphModule
    steps: tuple[Piece | fx.Node, ...]

    @property
    def pieces(self) -> tuple[Piece, ...]:
        return tuple(step for step in self.steps if isinstance(step, Piece))


def plan(graph_module: fx.GraphModule, stages: Sequence[Stage]) -> Plan:
    """Cut the compiled stages out of a graph; what nobody needs is left out.

    A result that is a view of another one, or of an argument, is not computed: eager makes it.
    """
    output = graph_module.graph.output_node()
    demanded = set(output.all_input_nodes)
    steps: list[Piece | fx.Node] = []

    def demand(node: fx.Node) -> None:
        if node in demanded or node.is_impure():
            steps.append(node)
            demanded.update(node.all_input_nodes)

    for stage in reversed(stages):
        if not stage.is_compiled:
            for node in reversed(stage.nodes):
                demand(node)
            continue
        for node in reversed(stage.outside):
            demand(node)
        piece = _piece(graph_module, stage, demanded.difference(stage.outside))
        if piece is not None:
            steps.append(piece)
            demanded.update(piece.inputs)
    return Plan(graph_module, tuple(reversed(steps)))


def _piece(graph_module: fx.GraphModule, stage: Stage, demanded: set[fx.Node]) -> Piece | None:
    """Return what is demanded of a compiled stage as a piece, without what only others need."""
    outputs = [node for node in stage.nodes if node in demanded]
    needed = set(outputs)
    members = set(stage.nodes)
    for node in reversed(stage.nodes):
        if node in needed or node.is_impure():
            needed.add(node)
            needed.update(_member_sources(node, members))
    nodes = [node for node in stage.nodes if node in needed]
    return cut(graph_module, nodes, outputs) if nodes else None


def _member_sources(node: fx.Node, members: set[fx.Node]) -> set[fx.Node]:
    """Return the members that a node reads, also through arithmetic on sizes."""
    found: set[fx.Node] = set()
    left = list(node.all_input_nodes)
    while left:
        source = left.pop()
        if source in members:
            found.add(source)
        elif source.op == "call_function" and not isinstance(source.meta.get("val"), torch.Tensor):
            left.extend(source.all_input_nodes)
    return found


def assemble(plan: Plan, runs: Mapping[int, Run]) -> Callable[[list[Any]], Any]:
    """Return a function of one list, which it empties, that runs the steps of a plan.

    Args:
        plan: what runs.
        runs: from the place of a piece among the steps to what calls it.
    """
    alone = _alone(plan, runs)
    return _interpreted(plan, runs) if alone is None else alone


def _alone(plan: Plan, runs: Mapping[int, Run]) -> Callable[[list[Any]], Any] | None:
    """Return the short way of the usual case: one piece, whose results and arguments are all."""
    if len(plan.steps) != 1 or not isinstance(plan.steps[0], Piece):
        return None
    piece, run = plan.steps[0], runs[0]
    placeholders = [node for node in plan.graph_module.graph.nodes if node.op == "placeholder"]
    returned = plan.graph_module.graph.output_node().args[0]
    if not isinstance(returned, (list, tuple)) or any(
        isinstance(item, fx.Node) and item not in {*piece.outputs, *placeholders}
        for item in returned
    ):
        return None
    taken = [placeholders.index(node) for node in piece.inputs]
    if tuple(returned) == piece.outputs and taken == list(range(len(placeholders))):

        def run_all(arguments: list[Any]) -> list[Any]:
            values = tuple(arguments)
            arguments.clear()
            return run(values)

        return run_all
    places = {node: place for place, node in enumerate((*placeholders, *piece.outputs))}
    given = [places[item] if isinstance(item, fx.Node) else None for item in returned]

    def run_some(arguments: list[Any]) -> list[Any]:
        values = list(arguments)
        arguments.clear()
        values += run([values[place] for place in taken])
        return [None if place is None else values[place] for place in given]

    constants = [item for item in returned if not isinstance(item, fx.Node) and item is not None]
    return None if constants else run_some


def _interpreted(plan: Plan, runs: Mapping[int, Run]) -> Callable[[list[Any]], Any]:
    """Return the general way: a graph whose code frees each value after its last use."""
    graph = fx.Graph()
    copies: dict[fx.Node, Any] = {}
    for node in plan.graph_module.graph.nodes:
        if node.op in {"placeholder", "get_attr"}:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    for place, step in enumerate(plan.steps):
        if isinstance(step, fx.Node):
            copies[step] = graph.node_copy(step, copies.__getitem__)
            continue
        arguments = [copies[node] for node in step.inputs]
        call = graph.call_function(_Call(place, runs[place]), (arguments,))
        for index, node in enumerate(step.outputs):
            copies[node] = graph.call_function(_item, (call, index))
    graph.output(fx.map_arg(plan.graph_module.graph.output_node().args[0], copies.__getitem__))
    graph.set_codegen(_BoxedCodeGen())
    for node in list(graph.nodes):
        if node.op == "get_attr" and not node.users:
            graph.erase_node(node)
    forward = fx.GraphModule(plan.graph_module, graph).forward

    def run_all(arguments: list[Any]) -> Any:
        return forward(arguments)

    return run_all


def _item(values: list[Any], index: int) -> Any:
    return values[index]


class _Call:
    """A piece as a function that a graph can name."""

    def __init__(self, place: int, run: Run) -> None:
        self.__name__ = f"stage_{place}"
        self._run = run

    def __call__(self, arguments: Sequence[Any]) -> list[Any]:
        return self._run(arguments)
