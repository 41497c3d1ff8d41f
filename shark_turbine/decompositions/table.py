# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which operators are taken apart before a program is written, and how users change the choice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch._decomp import get_decompositions
from torch._ops import OpOverload, OpOverloadPacket

from . import own
from .names import operators


Decompositions = dict[Any, Callable[..., Any]]
Operators = Sequence[OpOverload | OpOverloadPacket]

_chosen: ContextVar[Mapping[Any, Callable[..., Any]] | None] = ContextVar(
    "shark_turbine_decompositions", default=None
)


def default_decompositions() -> Decompositions:
    """Return a new table: PyTorch's decompositions for the operators of `names.py`, then our own."""
    table: Decompositions = dict(get_decompositions(operators()))
    table.update(own.DECOMPOSITIONS)
    return table


def current_aot_decompositions() -> Decompositions:
    """Return a copy of the decompositions in force here: change it freely, nobody else sees it."""
    chosen = _chosen.get()
    return default_decompositions() if chosen is None else dict(chosen)


@contextmanager
def extend_aot_decompositions(
    *,
    from_current: bool = True,
    add_ops: Operators | Mapping[OpOverload, Callable[..., Any]] | None = None,
    remove_ops: Operators | None = None,
) -> Iterator[Decompositions]:
    """Change the decompositions for the length of a `with` block, in this thread or task only.

    Args:
        from_current: start from the table in force (else from an empty one).
        add_ops: operators to decompose, as PyTorch does; or a mapping from operators to functions.
        remove_ops: operators to leave whole. A packet (`torch.ops.aten.add`) means all overloads.

    Yields a copy of the new table.

    Raises:
        DeclarationError: PyTorch has no decomposition of an operator in `add_ops`.
    """
    table = current_aot_decompositions() if from_current else {}
    table.update(_to_table(add_ops))
    for operator in _overloads(remove_ops or ()):
        table.pop(operator, None)
    token = _chosen.set(table)
    try:
        yield dict(table)
    finally:
        _chosen.reset(token)


def _to_table(
    add_ops: Operators | Mapping[OpOverload, Callable[..., Any]] | None,
) -> Decompositions:
    if add_ops is None:
        return {}
    if isinstance(add_ops, Mapping):
        return dict(add_ops)
    return dict(get_decompositions(list(add_ops)))


def _overloads(operators_: Operators) -> Iterator[OpOverload]:
    for operator in operators_:
        if isinstance(operator, OpOverloadPacket):
            yield from (getattr(operator, name) for name in operator.overloads())
        else:
            yield operator
