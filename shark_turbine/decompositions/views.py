# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Views with several dynamic dims, as merges and splits of single dims.

The compiler's lowering of `view` guesses which dims belong together, and takes one dynamic dim for
another: `[t, b, 4, 16]` seen as `[t * b, 64]` comes out as `[t, 64]`. torch knows the sizes as
expressions, so the groups are found here and said one by one.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import sympy
import torch
from torch import fx

from .graph import Builder, calls

aten = torch.ops.aten

_VIEWS = {aten.view.default, aten._unsafe_view.default, aten.reshape.default}


@dataclass(frozen=True, slots=True)
class _Group:
    """Input dims from `start` to `stop` become output dims from `to_start` to `to_stop`."""

    start: int
    stop: int
    to_start: int
    to_stop: int


def split_views(graph: fx.Graph) -> None:
    """Write every view between shapes of which one has two dynamic dims or more as merges and splits."""
    for node in calls(graph):
        if node.target in _VIEWS and isinstance(node.args[0], fx.Node) and _is_ambiguous(node):
            _split(node, node.args[0])


def _is_ambiguous(node: fx.Node) -> bool:
    source: Any = node.args[0]
    shapes = (source.meta["val"].shape, node.meta["val"].shape)
    dynamic = max(sum(not isinstance(size, int) for size in shape) for shape in shapes)
    return dynamic > 1 and _sizes(shapes[0]) != _sizes(shapes[1])


def _split(node: fx.Node, source: fx.Node) -> None:
    shape = node.meta["val"].shape
    groups = list(_groups(_sizes(source.meta["val"].shape), _sizes(shape)))
    builder = Builder(node)
    wanted = _wanted_sizes(builder, node)
    value = source
    # From the last group to the first: the dims before a group keep their numbers.
    for group in reversed(groups):
        merged, parts = group.stop - group.start, group.to_stop - group.to_start
        if merged == parts == 1:
            continue
        if merged == 0:
            for _ in range(parts):
                value = builder.call(aten.unsqueeze.default, value, group.start)
            continue
        if merged > 1:
            value = builder.call(aten.flatten.using_ints, value, group.start, group.stop - 1)
        if parts == 0:
            value = builder.call(aten.squeeze.dim, value, group.start)
        elif parts > 1:
            sizes = _computed(builder, value, group, wanted[group.to_start : group.to_stop])
            value = builder.call(aten.unflatten.int, value, group.start, sizes)
    builder.replace(value)


def _wanted_sizes(builder: Builder, node: fx.Node) -> list[Any]:
    """Return the sizes that a view asks for, -1 replaced where it is known."""
    asked: Any = node.args[1]
    shape = node.meta["val"].shape
    return [
        known if isinstance(known, int) else size for size, known in zip(asked, shape, strict=True)
    ]


def _computed(builder: Builder, merged: fx.Node, group: _Group, sizes: list[Any]) -> list[Any]:
    """Return the sizes that a dim is split into, with arithmetic for a -1: the compiler takes none."""
    if not any(isinstance(size, int) and size == -1 for size in sizes):
        return sizes
    left = builder.size(merged, group.start)
    for size in sizes:
        if isinstance(size, fx.Node) or size != -1:
            left = builder.call(operator.floordiv, left, size)
    return [left if isinstance(size, int) and size == -1 else size for size in sizes]


def _sizes(shape: Sequence[Any]) -> list[sympy.Expr]:
    return [
        sympy.Integer(size) if isinstance(size, int) else sympy.sympify(size.node.expr)
        for size in shape
    ]


def _groups(given: Sequence[sympy.Expr], wanted: Sequence[sympy.Expr]) -> Iterator[_Group]:
    """Find the smallest groups of dims whose products are equal, from the left."""
    start = to_start = 0
    while start < len(given) or to_start < len(wanted):
        stop, to_stop = _next_group(given[start:], wanted[to_start:])
        yield _Group(start, start + stop, to_start, to_start + to_stop)
        start, to_start = start + stop, to_start + to_stop


def _next_group(given: Sequence[sympy.Expr], wanted: Sequence[sympy.Expr]) -> tuple[int, int]:
    """Return how many dims of each side belong together first; all of them if nothing less does."""
    counts = product(range(1, len(given) + 1), range(1, len(wanted) + 1))
    for stop, to_stop in sorted(counts, key=sum):
        is_last = (stop == len(given)) == (to_stop == len(wanted))
        if is_last and sympy.expand(prod(given[:stop]) - prod(wanted[:to_stop])) == 0:
            return stop, to_stop
    return len(given), len(wanted)
