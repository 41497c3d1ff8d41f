# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Decompositions that PyTorch does not have, or has in a form that does not compile: the list of them.

A decomposition may return NotImplemented for arguments that need none: the operator then stays.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from threading import local
from typing import Any

from torch._ops import OpOverload

Decomposition = Callable[..., Any]

# What every table gets: without it a program does not compile, or computes something else.
REQUIRED: dict[OpOverload, Decomposition] = {}


def required(*operators: OpOverload) -> Callable[[Decomposition], Decomposition]:
    """Register a function as the decomposition of operators."""

    def register(function: Decomposition) -> Decomposition:
        for operator in operators:
            REQUIRED[operator] = _chained(REQUIRED.get(operator), function)
        return function

    return register


def _chained(first: Decomposition | None, second: Decomposition) -> Decomposition:
    """Ask each registered function in turn: an operator may need mending for several reasons."""
    if first is None:
        return second

    def either(*arguments: Any, **keywords: Any) -> Any:
        result = first(*arguments, **keywords)
        return second(*arguments, **keywords) if result is NotImplemented else result

    return either


class _Inside(local):
    """The wrappers that are at work in this thread."""

    def __init__(self) -> None:
        self.names: set[str] = set()


_inside = _Inside()


def wrapping(*operators: OpOverload) -> Callable[[Decomposition], Decomposition]:
    """Register a decomposition that uses the operator itself: there it stays whole."""

    def register(function: Decomposition) -> Decomposition:
        name = function.__qualname__

        @wraps(function)
        def once(*arguments: Any, **keywords: Any) -> Any:
            if name in _inside.names:
                return NotImplemented
            _inside.names.add(name)
            try:
                return function(*arguments, **keywords)
            finally:
                _inside.names.discard(name)

        return required(*operators)(once)

    return register
