# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the user calls the dims of an export: the names in `dynamic_shapes`, by torch's symbol."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from shark_turbine import trees

from .graph_types import user_inputs


def dim_names(
    program: torch.export.ExportedProgram,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    dynamic_shapes: Any,
) -> dict[str, str]:
    """Return the name of each symbol that the user named with `torch.export.Dim`.

    Best effort: what cannot be matched has no name, and is called `d0`, `d1`, ...
    """
    if not dynamic_shapes or _has_no_signature(function):
        return {}
    given = _by_position(function, args, kwargs, dynamic_shapes)
    leaves = list(_tensor_leaves([*args, *kwargs.values()], given))
    inputs = [value for value in user_inputs(program) if isinstance(value, torch.Tensor)]
    if len(leaves) != len(inputs):
        return {}
    names: dict[str, str] = {}
    for shape, value in zip(leaves, inputs, strict=True):
        for axis, dim in _dims(shape):
            size = value.shape[axis]
            name = getattr(dim, "__name__", None)
            if isinstance(size, torch.SymInt) and name and name.isidentifier():
                names.setdefault(str(size.node.expr), name)
    return names


def _has_no_signature(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function)
    except ValueError:
        return True
    return False


def _by_position(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], given: Any
) -> list[Any]:
    """Line up `dynamic_shapes`, by name or by position, with the arguments of the call."""
    if not isinstance(given, Mapping):
        return [*given]
    parameters = list(inspect.signature(function).parameters)[: len(args)]
    return [given.get(name) for name in (*parameters, *kwargs)]


def _tensor_leaves(value: Any, given: Any) -> Iterator[Any]:
    """Yield the shape given for each tensor of a structure, in the order of the leaves."""
    if isinstance(value, torch.Tensor):
        yield given
        return
    if trees.is_leaf(value):
        return
    for index, (key, child) in enumerate(trees.children(value)):
        yield from _tensor_leaves(child, _child_of(given, key, index))


def _child_of(given: Any, key: Any, index: int) -> Any:
    if isinstance(given, Mapping):
        return given.get(key)
    if isinstance(given, (list, tuple)) and index < len(given):
        return given[index]
    return None


def _dims(shape: Any) -> Iterator[tuple[int, Any]]:
    if isinstance(shape, Mapping):
        yield from shape.items()
    elif isinstance(shape, (list, tuple)):
        yield from enumerate(shape)
