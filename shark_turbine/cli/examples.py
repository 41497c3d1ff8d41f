# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Example arguments for tracing, from `--input` or `--inputs`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from shark_turbine.aot.trace.capture import named_dim
from shark_turbine.errors import CommandLineError

from .arrays import row_of, to_array
from .attributes import load_attribute, of_user
from .input_spec import DynamicDim, InputSpec
from .programs import required_arguments

# Example sizes of dynamic dims: all different, so that none is taken for another.
_SIZES = (6, 10, 14, 22, 26, 34, 38, 46, 58, 62)

Examples = tuple[tuple[Any, ...], dict[str, Any], Any]
"""Arguments by position, arguments by keyword, and which of their dims are dynamic."""


def examples_of(specs: Sequence[InputSpec], program: Any) -> Examples:
    """Make example arguments for a program: zeros, where values do not matter.

    Raises:
        CommandLineError: the specs contradict each other, or cannot be made.
    """
    function = program.forward if isinstance(program, torch.nn.Module) else program
    needed = [] if specs else required_arguments(function)
    if needed:
        raise CommandLineError(
            "the types of the arguments are not said",
            got="no --input and no --inputs",
            expected=f"--input for each of {', '.join(needed)}, such as --input 2x16xf32",
            fix=f"--input '{needed[0]}:batch?x16xf32', with its own sizes and dtype",
        )
    sizes: dict[str, int] = {}
    dims: dict[str, Any] = {}
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    shapes: list[Any] = []
    shape_of: dict[str, Any] = {}
    for spec in specs:
        shape = _dynamic_shape(spec, dims)
        value = _example(spec, sizes)
        if spec.name is not None:
            kwargs[spec.name], shape_of[spec.name] = value, shape
            continue
        if kwargs:
            raise CommandLineError(
                "an input without a name comes after one with a name",
                got=f"--input {spec.text}",
                expected="inputs by position first, then those by name",
            )
        args.append(value)
        shapes.append(shape)
    if not any([*shapes, *shape_of.values()]):
        return tuple(args), kwargs, None
    if not kwargs:
        return tuple(args), kwargs, tuple(shapes)
    # Where some arguments have names, torch.export wants them of all.
    names = list(inspect.signature(function).parameters)
    return tuple(args), kwargs, dict(zip(names, shapes, strict=False)) | shape_of


def _example(spec: InputSpec, sizes: dict[str, int]) -> Any:
    """Return the tensor or number of a spec; `sizes` are those of the dims so far."""
    shape: list[int] = []
    for dim in spec.dims:
        if isinstance(dim, int):
            shape.append(dim)
            continue
        name = dim.name or f"?{len(sizes)}"
        free = (size for size in _SIZES if size not in sizes.values())
        size = sizes.setdefault(name, dim.example or next(free, _SIZES[-1] + 2 * len(sizes)))
        if dim.example not in (None, size):
            raise CommandLineError(
                f"the dim {name} has two example sizes",
                got=f"{size} and {dim.example}",
                expected="one: equal names are equal sizes",
            )
        shape.append(size)
    value = to_array(spec, shape)
    if isinstance(value, (bool, int, float)):
        return value
    return torch.from_numpy(value) if spec.dtype is None else _to_tensor(spec, value)


def _to_tensor(spec: InputSpec, array: Any) -> torch.Tensor:
    row = row_of(spec)
    if row.numpy.isbuiltin == 1:
        return torch.from_numpy(array)
    # numpy has no such numbers of its own.
    return torch.from_numpy(array.astype("float32")).to(row.torch)


def _dynamic_shape(spec: InputSpec, dims: dict[str, Any]) -> dict[int, Any] | None:
    shape: dict[int, Any] = {}
    for axis, dim in enumerate(spec.dims):
        if isinstance(dim, DynamicDim) and dim.name is None:
            shape[axis] = named_dim(None)
        elif isinstance(dim, DynamicDim):
            if dim.name not in dims:
                dims[str(dim.name)] = named_dim(dim.name)
            shape[axis] = dims[str(dim.name)]
    return shape or None


def examples_from(place: str) -> Examples:
    """Return the arguments that an object of a Python module holds, or a function of it returns.

    Raises:
        CommandLineError: it holds none.
    """
    value = load_attribute(place)
    if inspect.isfunction(value):
        value = of_user(f"{value.__name__}()", value)
    match value:
        case tuple() | list():
            return tuple(value), {}, None
        case dict():
            return (), value, None
        case torch.Tensor():
            return (value,), {}, None
        case _:
            raise CommandLineError(
                f"--inputs {place} holds no example inputs",
                got=type(value).__name__,
                expected="a tensor, a tuple or list of arguments, a dict of keyword arguments, or a "
                "function without arguments that returns one of them",
            )
