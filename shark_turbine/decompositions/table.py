# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which operators are taken apart before a program is written, and how users change the choice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from threading import local
from typing import Any

import torch
from torch._C import DispatchKey
from torch._decomp import get_decompositions
from torch._ops import OpOverload, OpOverloadPacket
from torch.export import default_decompositions as default_table

from shark_turbine.errors import DeclarationError

from . import (  # noqa: F401  (the modules of decompositions register them)
    attention,
    bags,
    complex_numbers,
    elementwise,
    fourier,
    geometry,
    indexing,
    names,
    normalization,
    numbers,
    ordering,
    own,
    pooling,
    reductions,
    resizing,
    sorting,
)
from .registry import REQUIRED

Decompositions = dict[Any, Callable[..., Any]]
Operators = Sequence[OpOverload | OpOverloadPacket]


class _Chosen(local):
    """The table in force in this thread; None is the default one."""

    table: Mapping[Any, Callable[..., Any]] | None = None


_chosen = _Chosen()


def default_decompositions() -> Decompositions:
    """Return a new table: composite operators less those of `names.WHOLE`, `names.decomposed()`, then our own."""
    return {**_composites(), **dispatched_decompositions()}


def dispatched_decompositions() -> Decompositions:
    """Return a new table for graphs without composite operators, as AOTAutograd traces them."""
    table: Decompositions = dict(get_decompositions(names.decomposed()))
    table.update(required_decompositions())
    return table


def required_decompositions() -> Decompositions:
    """Return what every table gets: without it a program does not compile, or computes something else."""
    table: Decompositions = dict(REQUIRED)
    # Known only once the libraries that define them have been imported.
    for namespace, name in (
        (torch.ops.transformers, "grouped_mm_fallback"),
        (torch.ops.prims, "fma"),
    ):
        operator = getattr(namespace, name, None)
        if operator is not None:
            table[operator.default] = getattr(own, name)
    return table


@cache
def _composites() -> Mapping[Any, Callable[..., Any]]:
    """PyTorch's own list of how composite operators come apart: half a second to make."""
    whole = set(names.overloads(names.WHOLE))
    return {
        operator: function
        for operator, function in default_table().items()
        if isinstance(operator, OpOverload)
        and operator not in whole
        and operator.has_kernel_for_dispatch_key(DispatchKey.CompositeImplicitAutograd)
    }


def current_aot_decompositions() -> Decompositions:
    """Return a copy of the decompositions in force here: change it freely, nobody else sees it."""
    return default_decompositions() if _chosen.table is None else dict(_chosen.table)


@contextmanager
def extend_aot_decompositions(
    *,
    from_current: bool = True,
    add_ops: Operators | Mapping[OpOverload, Callable[..., Any]] | None = None,
    remove_ops: Operators | None = None,
) -> Iterator[Decompositions]:
    """Change the decompositions for the length of a `with` block, in this thread only.

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
    outer, _chosen.table = _chosen.table, table
    try:
        yield dict(table)
    finally:
        _chosen.table = outer


def _to_table(
    add_ops: Operators | Mapping[OpOverload, Callable[..., Any]] | None,
) -> Decompositions:
    if add_ops is None:
        return {}
    if isinstance(add_ops, Mapping):
        return dict(add_ops)
    found = get_decompositions(list(add_ops))
    for operator in add_ops:
        if not any(overload in found for overload in _overloads([operator])):
            raise DeclarationError(
                f"PyTorch has no decomposition of {operator}",
                got=operator,
                expected="operators that torch._decomp knows, or a mapping from operators to functions",
                fix=f"extend_aot_decompositions(add_ops={{{operator}: my_function}})",
            )
    return dict(found)


def _overloads(operators_: Operators) -> Iterator[OpOverload]:
    for operator in operators_:
        if isinstance(operator, OpOverloadPacket):
            yield from (getattr(operator, name) for name in operator.overloads())
        else:
            yield operator
