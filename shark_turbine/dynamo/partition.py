# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which operations run in which stage: compiled and eager stages take turns.

A stage number counts how often a value changed sides on its way: even stages are compiled, odd ones
run in eager. An operation joins the stage of its latest input when that is of its own kind, else
the next one. So stages are as few as the order of the operations allows, and nothing flows back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

import torch
from torch import fx
from torch._ops import OpOverload

# They read numbers out of tensors: what they give is symbolic, what they do is not.
OF_VALUES = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.item.default}


class Kind(Enum):
    """Where an operation can run."""

    COMPILED = auto()
    EAGER = auto()
    # Eager too, and in the program's order: random numbers, prints, assertions of eager.
    ORDERED = auto()
    # Changes how a tensor is seen, not what it holds: free in eager, so it stays where it is.
    VIEW = auto()
    # Arithmetic on sizes: done in Python, and again inside each compiled stage that needs it.
    SYMBOLIC = auto()


@dataclass(slots=True)
class Stage:
    """The operations of one stage in their order.

    In a compiled stage `outside` are those that eager does as well, after it, for whoever needs them
    there: views, and arithmetic on sizes (which is not among `nodes`).
    """

    number: int
    nodes: list[fx.Node] = field(default_factory=list)
    outside: list[fx.Node] = field(default_factory=list)

    @property
    def is_compiled(self) -> bool:
        return self.number % 2 == 0


def partition(graph: fx.Graph, kind_of: Callable[[fx.Node], Kind]) -> list[Stage]:
    """Return the stages of a functional graph in the order in which they run.

    Args:
        graph: a functional graph.
        kind_of: where each call of a function can run.
    """
    kinds = {node: kind_of(node) for node in graph.nodes if node.op == "call_function"}
    numbers = _numbers(graph, kinds)
    stages: dict[int, Stage] = {}
    for node, number in numbers.items():
        stage = stages.setdefault(number, Stage(number))
        if stage.is_compiled and kinds[node] in {Kind.SYMBOLIC, Kind.VIEW}:
            stage.outside.append(node)
        if not stage.is_compiled or kinds[node] is not Kind.SYMBOLIC:
            stage.nodes.append(node)
    return [stages[number] for number in sorted(stages)]


def _numbers(graph: fx.Graph, kinds: Mapping[fx.Node, Kind]) -> dict[fx.Node, int]:
    numbers: dict[fx.Node, int] = {}
    last_ordered = 0
    for node in graph.nodes:
        if node not in kinds:
            continue
        number = max((numbers.get(source, 0) for source in node.all_input_nodes), default=0)
        kind = kinds[node]
        if kind is Kind.ORDERED:
            number = max(number, last_ordered)
        if kind in {Kind.EAGER, Kind.ORDERED}:
            number += number % 2 == 0
        elif kind is Kind.COMPILED:
            number += number % 2
        if kind is Kind.ORDERED:
            last_ordered = number
        numbers[node] = number
    return numbers


def is_symbolic(node: fx.Node) -> bool:
    """Tell whether a node computes a size out of sizes."""
    if node.target in OF_VALUES or "val" not in node.meta:
        return False
    return isinstance(node.meta["val"], (torch.SymInt, torch.SymFloat, torch.SymBool)) or (
        isinstance(node.meta["val"], (bool, int, float)) and not isinstance(node.target, OpOverload)
    )
