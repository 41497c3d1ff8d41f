# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Random numbers in a training step: named, and refused."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload

from shark_turbine.decompositions.graph import graphs
from shark_turbine.errors import DeclarationError

_CHANCES = ("p", "dropout", "dropout_p")
_MODES = ("train", "training")


def refuse_random_numbers(program: torch.export.ExportedProgram, label: str) -> None:
    """Refuse a program that draws random numbers when it is called.

    A compiled program has a generator of its own: it could not draw PyTorch's numbers, and training
    would not be what eager PyTorch does.

    Raises:
        DeclarationError: an operator draws; its module is named.
    """
    for graph_module in graphs(program.graph_module):
        for node in graph_module.graph.nodes:
            if node.op == "call_function" and _draws(node):
                raise _random(node, label)


def _draws(node: fx.Node) -> bool:
    target = node.target
    if not isinstance(target, OpOverload):
        return False
    if torch.Tag.nondeterministic_seeded not in target.tags:
        return False
    given: dict[str, Any] = {}
    for position, argument in enumerate(target._schema.arguments):
        value = node.args[position] if position < len(node.args) else argument.default_value
        given[argument.name] = node.kwargs.get(argument.name, value)
    if any(given[name] is False for name in _MODES if name in given):
        return False
    return not any(given[name] == 0 for name in _CHANCES if name in given)


def _random(node: fx.Node, label: str) -> DeclarationError:
    place, kind = _module_of(node)
    operator = node.target.overloadpacket.__name__  # type: ignore[union-attr]
    shown = f"{place} ({kind})" if kind else place
    return DeclarationError(
        f"the training step draws random numbers, in {shown}",
        where=label,
        got=f"{operator}, in training mode",
        expected="a training step without random numbers: a compiled one could not draw PyTorch's",
        fix=f"{place}.eval() after model.train(): dropout is then left out"
        if "dropout" in kind.lower()
        else "leave it out of what is exported for training (dropout: p=0)",
    )


def _module_of(node: fx.Node) -> tuple[str, str]:
    """Return how a user reaches the innermost module that an operator belongs to, and its class."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    top, *parts = str(path).split(".")
    if top != "model":
        return "the loss", ""
    steps = [f"[{part}]" if part.isdigit() else f".{part}" for part in parts]
    name = kind if isinstance(kind, str) else kind.__name__
    return f"model{''.join(steps)}", name.rpartition(".")[2]
